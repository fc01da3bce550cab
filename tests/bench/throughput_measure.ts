/**
 * What is measured of one program that runs on both hosts of a pair, with iperf3 and ping. Loads end
 * by themselves; every one has a limit besides.
 *
 * @module
 */

import type { Host } from "../lab/namespaces.ts";
import type { Pair } from "../lab/peers/pair.ts";
import type { Running } from "../lab/peers/racer.ts";
import { sleep } from "../lab/processes.ts";
import { processorSeconds, residentMegabytes } from "./compiled.ts";
import type { Sample } from "./throughput_table.ts";

/** What an iperf3 run may take beyond its own seconds. */
const GRACE_MS = 10_000;
const PING_INTERVAL_SECONDS = 0.02;
/** Pings of the idle tunnel; fewer if the seconds given are few. */
const IDLE_PINGS = 100;
/** What comes right after a start is not idle yet. */
export const IDLE_AFTER_MS = 5_000;
/** UDP payload of the flood. */
const FLOOD_BYTES = 64;

/** The parts of iperf3's JSON that are read. */
interface IperfJson {
  readonly "error"?: string;
  readonly "end": {
    readonly "sum_sent"?: { readonly "retransmits"?: number };
    readonly "sum_received"?: { readonly "bytes": number; readonly "bits_per_second": number };
    readonly "sum"?: {
      readonly "packets": number;
      readonly "lost_packets": number;
      readonly "seconds": number;
    };
  };
}

/** What iperf3 says of one run. */
interface IperfReport {
  /** At the receiver. */
  readonly bytes: number;
  /** At the receiver, 10^6 bits per second. */
  readonly megabits: number;
  /** Of TCP, at the sender. */
  readonly retransmits: number;
  /** Of UDP; 0 for TCP. */
  readonly sentPerSecond: number;
  readonly receivedPerSecond: number;
}

/**
 * Takes all figures of one round but the start.
 *
 * @param seconds How long each load lasts.
 * @param failed Told what could not be measured; the rest goes on.
 */
export async function measure(
  pair: Pair,
  running: Running,
  seconds: number,
  failed: (what: string, error: unknown) => void,
): Promise<Sample> {
  const { target, pids } = running;
  const sample: Sample = {};
  const step = async (what: string, take: () => Promise<Sample>) => {
    try {
      Object.assign(sample, await take());
    } catch (error) {
      failed(what, error);
    }
  };
  const time = ["-t", String(seconds)];
  await step("memory idle", async () => {
    if (pids !== undefined) await sleep(IDLE_AFTER_MS);
    return await rss(pids, "rssIdle");
  });
  await step("ping idle", async () => {
    const { average, longest } = await ping(pair.a, target, Math.min(IDLE_PINGS, 50 * seconds));
    return { pingIdle: average, pingIdleMax: longest };
  });
  const before = await lostSoFar(running).catch(() => undefined);
  await step("one TCP stream", async () => {
    const cpu = await Promise.all((pids ?? []).map(processorSeconds));
    const { bytes, megabits: tcp, retransmits } = await iperf(pair, target, seconds, ...time);
    const used = await Promise.all((pids ?? []).map(processorSeconds));
    const [cpuSender, cpuReceiver] = used.map((now, i) => (now - cpu[i]!) / (bytes / 1e9));
    if (cpuSender === undefined || cpuReceiver === undefined) return { tcp, retransmits };
    return { tcp, retransmits, cpuSender, cpuReceiver, cpuBoth: cpuSender + cpuReceiver };
  });
  await step("one TCP stream, reverse", async () => {
    return { reverse: (await iperf(pair, target, seconds, ...time, "-R")).megabits };
  });
  await step("ten TCP streams", async () => {
    return { ten: (await iperf(pair, target, seconds, ...time, "-P", "10")).megabits };
  });
  await step("lost inside", async () => {
    const after = await lostSoFar(running);
    return before === undefined || after === undefined ? {} : { lost: after - before };
  });
  await step("ping under TCP", async () => {
    const load = iperf(pair, target, seconds, ...time);
    load.catch(() => {}); // read below; a failed ping must not leave it unheard
    await sleep(Math.min(700, 300 * seconds));
    const count = Math.max(10, Math.floor((seconds - 1.2) / PING_INTERVAL_SECONDS));
    const asked = await ping(pair.a, target, count).catch((error) => error as Error);
    await load;
    if (asked instanceof Error) throw asked;
    const { average, longest, lostPercent } = asked;
    return { pingLoad: average, pingLoadMax: longest, pingLoadLost: lostPercent };
  });
  await step("64-byte UDP", async () => {
    const flood = [...time, "-u", "-l", String(FLOOD_BYTES), "-b", "0"];
    const { sentPerSecond, receivedPerSecond } = await iperf(pair, target, seconds, ...flood);
    return { udpSent: sentPerSecond, udpReceived: receivedPerSecond };
  });
  await step("memory after load", () => rss(pids, "rssLoaded"));
  return sample;
}

/** Runs iperf3, its server on `b` and its client on `a`. */
export async function iperf(
  { a, b }: Pair,
  target: string,
  seconds: number,
  ...args: string[]
): Promise<IperfReport> {
  const server = b.start(["iperf3", "-s", "-1", "--forceflush"]);
  try {
    await server.shows(/Server listening/);
    const client = ["iperf3", "-c", target, "-J", ...args];
    const { stdout, stderr } = await a.run(client, { timeoutMs: seconds * 1000 + GRACE_MS });
    if (stdout === "") throw new Error(`iperf3 did not end by itself ${stderr}`);
    return reportOf(JSON.parse(stdout) as IperfJson);
  } finally {
    await server.kill();
  }
}

function reportOf({ error, end }: IperfJson): IperfReport {
  if (error !== undefined) throw new Error(`iperf3: ${error}`);
  const { sum_sent: sent, sum_received: received, sum } = end;
  if (received === undefined && sum === undefined) throw new Error("iperf3 reports no sum");
  const arrived = sum === undefined ? 0 : sum.packets - sum["lost_packets"];
  return {
    bytes: received?.bytes ?? 0,
    megabits: (received?.["bits_per_second"] ?? 0) / 1e6,
    retransmits: sent?.retransmits ?? 0,
    sentPerSecond: sum === undefined ? 0 : sum.packets / sum.seconds,
    receivedPerSecond: sum === undefined ? 0 : arrived / sum.seconds,
  };
}

async function ping(from: Host, target: string, count: number) {
  const words = ["ping", "-n", "-q", "-c", String(count), "-i", String(PING_INTERVAL_SECONDS)];
  const { stdout } = await from.run([...words, "-W", "2", target]);
  const [, average, longest] = /^rtt .* = [\d.]+\/([\d.]+)\/([\d.]+)\//m.exec(stdout) ?? [];
  const lost = /([\d.]+)% packet loss/.exec(stdout)?.[1];
  if (average === undefined || lost === undefined) throw new Error(`no answer: ${stdout}`);
  return { average: Number(average), longest: Number(longest), lostPercent: Number(lost) };
}

async function rss(pids: Running["pids"], name: "rssIdle" | "rssLoaded"): Promise<Sample> {
  if (pids === undefined) return {};
  return { [name]: Math.max(...await Promise.all(pids.map(residentMegabytes))) };
}

/**
 * Packets that the program lost so far on either end: dropped by the devices of its namespace, its
 * TUN among them, for want of room in a UDP socket's buffer, and by its own account.
 */
async function lostSoFar({ pids, drops }: Running): Promise<number | undefined> {
  if (pids === undefined) return undefined;
  const ends = await Promise.all(pids.map(async (pid) => {
    const devices = await Deno.readTextFile(`/proc/${pid}/net/dev`);
    const snmp = await Deno.readTextFile(`/proc/${pid}/net/snmp`);
    return deviceDrops(devices) + bufferErrors(snmp);
  }));
  return ends.reduce((a, b) => a + b, await drops?.() ?? 0);
}

/** Column `drop` of both directions, of all devices but the loopback one. */
function deviceDrops(text: string): number {
  let total = 0;
  for (const line of text.split("\n")) {
    const [, name, rest] = /^\s*(\S+):\s*(.*)$/.exec(line) ?? [];
    if (name === undefined || name === "lo") continue;
    const fields = rest!.split(/\s+/).map(Number);
    total += fields[3]! + fields[11]!;
  }
  return total;
}

/** UDP datagrams that found a socket's buffer full, either direction. */
function bufferErrors(text: string): number {
  const [names, values] = text.split("\n").filter((line) => line.startsWith("Udp:"))
    .map((line) => line.split(" "));
  return ["RcvbufErrors", "SndbufErrors"]
    .reduce((sum, name) => sum + Number(values![names!.indexOf(name)]), 0);
}
