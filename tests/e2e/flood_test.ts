/**
 * A flood of what strangers can make, while a peer connects and another one transfers.
 *
 * ```
 *   stranger ──┐
 *   client ════╪═ bridge ═══ server          TCP both ways, client to server
 *   late ── delay wire                       connects while the flood is on
 * ```
 *
 * The stranger takes processor time from all the others, as everything runs on one machine: so both
 * are compared with themselves while the same flood goes to a port of the server that nobody has.
 *
 * @module
 */

import { ok, strictEqual } from "node:assert/strict";
import { fromBase64 } from "../../lib/base/bytes.ts";
import { type Host, Lab, pings } from "../lab/namespaces.ts";
import { watchMachine } from "../lab/machine.ts";
import { must, sleep } from "../lab/processes.ts";
import { figure, IS_SOAK, testProgram } from "./mesh.ts";
import { PORT, StaticEnd } from "./static_net.ts";
import { type Flood, garbage, SPOOFED, Stranger } from "./strangers.ts";

const LAB = decodeURIComponent(new URL("../lab/", import.meta.url).pathname);
/** Each way of the late peer's line. */
const DELAY_MS = 100;
const RTT_MS = 2 * DELAY_MS;
const CLOSED_PORT = 9;
const PING_EVERY_MS = 20;
/** How often a peer connects in each flood. */
const CONNECTS = IS_SOAK ? 5 : 2;
/** Of its rate under a flood to a closed port. */
const LEAST_SHARE = IS_SOAK ? 0.8 : 0.4;
/** What the runtime's heap may grow to, and by how much after the first flood. */
const RSS_MAX_BYTES = 512 << 20;
const GROWTH_MAX_BYTES = (IS_SOAK ? 96 : 192) << 20;
/** A slow machine loses an initiation now and then; the next one is sent within a second. */
const SPARE_MS = IS_SOAK ? 0 : 1_000;
/** Share of the machine that others may use; above it a figure says little, and is measured again. */
const MAX_FOREIGN_SHARE = IS_SOAK ? 0.1 : 0;
const ATTEMPTS = 4;

/** What is sent: how many at most, how fast, whether mac1 is right. */
const FLOODS: [name: string, count: number, perSecond: number, hasMac1: boolean][] = [
  ["without mac1", 200_000, IS_SOAK ? 5_000 : 3_000, false],
  ["with mac1", 100_000, IS_SOAK ? 2_500 : 1_500, true],
];
/** Least time that a flood is on; in a soak all of it is sent. */
const WINDOW_MS = IS_SOAK ? 38_000 : 3_000;

for (const plane of ["linux", "portable"] as const) {
  Deno.test(`T4, T5: in a flood a peer connects and a transfer goes on (${plane})`, async () => {
    await using lab = await Lab.create();
    const { server, client, late, stranger } = await describe(lab);
    await server.start("--data-plane", plane);
    await client.start("--data-plane", plane);
    await pings(client.host, "10.9.0.1");
    await pings(late.host, server.host.ipv4);
    const endless = String(1e13);
    const stream = server.host.start(testProgram("tcp_transfer", "listen", "5000", endless));
    await stream.shows(/^ready$/m);
    client.host.start(testProgram("tcp_transfer", "connect", "10.9.0.1", "5000", endless));
    await connects(late);

    const publicKey = fromBase64(server.publicKey);
    // The runtime's heap grows in the first flood to what it needs from then on.
    let warm: number | undefined;
    for (const [name, count, perSecond, hasMac1] of FLOODS) {
      const datagrams = garbage(Math.min(count, 50_000), hasMac1 ? publicKey : undefined);
      const flood = { datagrams, count, perSecond, target: server.host.ipv4 };
      for (let attempt = 1;; attempt++) {
        const foreignShare = await watchMachine();
        const closed = await measure({ server, late }, stranger, { ...flood, port: CLOSED_PORT });
        const open = await measure({ server, late }, stranger, { ...flood, port: PORT });
        const foreign = await foreignShare();
        const what = `${plane}, flood ${name}`;
        figure(`${what}: dropped`, open.drops, `datagrams, ${open.said}`);
        figure(`${what}: a peer connects after`, open.connectMs, `ms (${open.times})`);
        figure(
          `${what}: the same, flood to a closed port`,
          closed.connectMs,
          `ms (${closed.times})`,
        );
        figure(`${what}: transfer`, open.rate, "Mbit/s");
        figure(`${what}: the same, flood to a closed port`, closed.rate, "Mbit/s");
        figure(`${what}: others' share of the machine`, foreign * 100, "%");
        figure(`${what}: memory of the server`, open.rss / 2 ** 20, "MiB afterwards");
        const least = WINDOW_MS / 1000 * perSecond / 2;
        ok(open.drops >= least && closed.drops < least, "the flood came in");
        const isQuick = open.connectMs <= closed.connectMs + 2 * RTT_MS + SPARE_MS;
        warm ??= open.rss;
        ok(open.rss < RSS_MAX_BYTES && open.rss - warm < GROWTH_MAX_BYTES, "something is kept");
        if (isQuick && open.rate >= LEAST_SHARE * closed.rate) break;
        ok(foreign > MAX_FOREIGN_SHARE && attempt < ATTEMPTS, `${what}: see the figures`);
      }
    }
    strictEqual((await server.peer("client")).path.kind, "udp");
    await pings(client.host, "10.9.0.1");
  });
}

interface Ends {
  readonly server: StaticEnd;
  readonly late: StaticEnd;
}

/** What becomes of a transfer and of connecting while a flood is on. */
async function measure({ server, late }: Ends, stranger: Stranger, flood: Flood) {
  const before = sum((await server.status()).drops);
  const process = await stranger.flood(flood);
  await sleep(300);
  const [rate, times] = await Promise.all([rateOf(server, WINDOW_MS), connects(late)]);
  ok(process.code === undefined || IS_SOAK, `the flood was on all the while: ${process.stderr}`);
  if (IS_SOAK) strictEqual(await process.ended, 0, process.stderr);
  else await process.stop();
  await sleep(300);
  return {
    rate,
    connectMs: IS_SOAK ? median(times) : Math.min(...times),
    times: times.map(Math.round).join(", "),
    drops: sum((await server.status()).drops) - before,
    rss: await rss(server),
    said: process.stdout.trim(),
  };
}

/** Milliseconds from the first packet to the first answer, by a new session each time. */
async function connects(late: StaticEnd): Promise<number[]> {
  const times = [];
  for (let i = 0; i < CONNECTS; i++) {
    await late.start();
    const asking = ["ping", "-n", "-i", String(PING_EVERY_MS / 1000), "10.9.0.1"];
    const pinging = late.host.start(asking);
    // A single packet may be lost among those of the transfer; the session was there for the next.
    const [, number, ms] = await pinging.shows(/icmp_seq=(\d+) .* time=([\d.]+) ms/, 20_000)
      .catch(() => [undefined, Infinity, 0]);
    times.push((Number(number) - 1) * PING_EVERY_MS + Number(ms));
    await pinging.stop();
    strictEqual(await late.process.stop(), 0);
  }
  return times;
}

/** What the client's session carries, both ways together. */
async function rateOf(server: StaticEnd, windowMs: number): Promise<number> {
  const carried = async () => {
    const { rxBytes, txBytes } = await server.peer("client");
    return { bytes: rxBytes + txBytes, at: performance.now() };
  };
  const before = await carried();
  await sleep(windowMs);
  const after = await carried();
  return (after.bytes - before.bytes) * 8 / 1000 / (after.at - before.at);
}

async function rss(end: StaticEnd): Promise<number> {
  const status = await Deno.readTextFile(`/proc/${end.process.pid}/status`);
  return Number(/VmRSS:\s+(\d+) kB/.exec(status)![1]) * 1024;
}

function sum(counts: Readonly<Record<string, number>>): number {
  return Object.values(counts).reduce((total, count) => total + count, 0);
}

function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[Math.floor((values.length - 1) / 2)]!;
}

async function describe(lab: Lab) {
  const [hub, guest, other, attacker] = [
    await lab.addHost("server"),
    await lab.addHost("client"),
    await lab.addHost("late"),
    await lab.addHost("stranger"),
  ];
  // Whoever is answered there hears nothing of it, and nobody has to be found first.
  await hub.must(["ip", "route", "add", SPOOFED.prefix, "via", attacker.ipv4]);
  await longLine(lab, other);
  const server = new StaticEnd(hub, lab.folder, {
    listen: `[::]:${PORT}`,
    addresses: ["10.9.0.1/24"],
  });
  const dials = (host: Host, address: string) =>
    new StaticEnd(host, lab.folder, {
      addresses: [`${address}/24`],
      allowedPeers: [{
        name: "server",
        publicKey: server.publicKey,
        allowedIps: ["10.9.0.1/32"],
        endpoint: `${hub.ipv4}:${PORT}`,
      }],
    });
  const [client, late] = [dials(guest, "10.9.0.2"), dials(other, "10.9.0.3")];
  server.config = {
    ...server.config,
    allowedPeers: [client, late].map(({ host, publicKey }, i) => ({
      name: host.name,
      publicKey,
      clientIp: `10.9.0.${2 + i}`,
    })),
  };
  return { server, client, late, stranger: await Stranger.on(attacker, lab.folder) };
}

/** Puts a long line in place of a host's cable. */
async function longLine(lab: Lab, host: Host): Promise<void> {
  await must(["gcc", "-O2", "-Wall", "-o", `${lab.folder}/delaywire`, `${LAB}delaywire.c`]);
  const net = host.namespace.replace(/-[^-]+$/, "-net");
  await host.must(["ip", "link", "del", "eth0"]);
  const ends = [host.namespace, "eth0", net, "long"];
  const cable = host.start([`${lab.folder}/delaywire`, ...ends, `delay=${DELAY_MS}`]);
  await cable.shows(/^ready$/m);
  await must(["ip", "-n", net, "link", "set", "long", "master", "br0", "up"]);
  await host.must(["ip", "address", "add", `${host.ipv4}/24`, "dev", "eth0"]);
}
