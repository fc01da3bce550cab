/**
 * How long a join takes while the relay is idle, and while pairs saturate it, in turns, for the
 * machine is shared; how fairly the pairs share the relay, and what that costs the coordinator.
 * Three processes: the coordinator, the members that send and receive, and the one that joins.
 *
 * ```text
 * deno task bench relay_join [--pairs N] [--rounds N] [--joins N]
 * ```
 *
 * By default 20 pairs. `--pairs 200 --joins 2` is for memory and fairness.
 *
 * @module
 */

import { toHex } from "../../lib/base/bytes.ts";
import { SYSTEM_CLOCK } from "../../lib/base/clock.ts";
import { Coordinator } from "../../lib/coordinator/coordinator.ts";
import { sha256 } from "../../lib/crypto/hash.ts";
import { RelayTransport } from "../../lib/transport/relay.ts";
import { dialRelay } from "../../lib/transport/relay_dialing.ts";
import { connect } from "../coordinator/connect.ts";
import { helloOf, SimulatedAgent } from "../coordinator/simulated_agent.ts";
import { median, residentMegabytes } from "./compiled.ts";
import { parseFlags, say } from "./flags.ts";

/** The load runs so long before the first join. */
const SETTLE_MS = 1_000;
const DATAGRAM_LENGTH = 1_440;
/** Datagrams of one turn of all pairs: 64 of 20, what a busy TUN hands over. */
const BURST = 1_280;

interface Place {
  readonly url: string;
  readonly token: string;
}

async function serve(folder: string): Promise<void> {
  const quiet = { debug() {}, info() {}, warning() {}, error() {} };
  const coordinator = await Coordinator.start({
    stateFolder: folder,
    listen: [{ hostname: "127.0.0.1", port: 0 }],
    tls: { kind: "self-signed", names: [] },
    udpPorts: [],
    software: "bench",
    clock: SYSTEM_CLOCK,
    log: quiet,
    verifyStatement: () => true,
    onFailed: (error) => {
      throw error;
    },
  });
  const url = `https://127.0.0.1:${coordinator.listening[0]!.port}`;
  say(JSON.stringify({ url, token: coordinator.token() } satisfies Place));
  for await (const _ of Deno.stdin.readable) say(JSON.stringify(coordinator.status().relay));
  await coordinator.stop();
  Deno.exit(0);
}

async function join({ url, token }: Place, name: string): Promise<SimulatedAgent> {
  const agent = connect(new SimulatedAgent({ token, hello: helloOf(name) }), url);
  await agent.until(() => agent.said("presence") !== undefined || agent.closed !== undefined);
  if (agent.closed) throw new Error(`refused: ${agent.closed.code} ${agent.closed.reason}`);
  return agent;
}

async function relayOf({ url }: Place, agent: SimulatedAgent): Promise<RelayTransport> {
  const opened = Promise.withResolvers<void>();
  const target = { url: `${url.replace("http", "ws")}/relay`, tlsVerify: false };
  const transport: RelayTransport = new RelayTransport({
    clock: SYSTEM_CLOCK,
    dial: (events) => dialRelay(target, events),
    askTicket: () => {
      agent.say({ kind: "relay-ticket" });
      agent.until(() => agent.said("relay-ticket") !== undefined)
        .then(() => transport.takeTicket(agent.said("relay-ticket")!.ticket));
      return true;
    },
    isPeer: () => true,
    events: {
      opened: () => opened.resolve(),
      // Standard output is for what the bench reads.
      closed: (reason) => Deno.stderr.writeSync(new TextEncoder().encode(`ended: ${reason}\n`)),
    },
  });
  transport.connect();
  await opened.promise;
  return transport;
}

/** Saturates the relay between two bytes of standard input; prints what each pair got in between. */
async function load(place: Place, pairs: number): Promise<void> {
  const transports: [RelayTransport, string][] = [];
  for (let i = 0; i < 2 * pairs; i++) {
    const agent = await join(place, `load${i}`);
    const nodeId = toHex(sha256(agent.staticKey.publicKey));
    transports.push([await relayOf(place, agent), nodeId]);
  }
  const received = new Array<number>(pairs).fill(0);
  for (const [i, [transport]] of transports.entries()) {
    transport.start((datagram) => received[i % pairs]! += datagram.length);
  }
  const burst = Math.ceil(BURST / pairs);
  let isLoading = false;
  let since = 0;
  say("ready");
  (async () => {
    for await (const _ of Deno.stdin.readable) {
      isLoading = !isLoading;
      if (isLoading) {
        since = performance.now();
        received.fill(0);
      } else {
        const seconds = (performance.now() - since) / 1_000;
        say(JSON.stringify(received.map((bytes) => bytes * 8 / 1e6 / seconds)));
      }
    }
    Deno.exit(0);
  })();
  const datagram = new Uint8Array(DATAGRAM_LENGTH).fill(7);
  for (;;) {
    let isAnyTaken = false;
    for (let pair = 0; isLoading && pair < pairs; pair++) {
      const [from, path] = [
        transports[pair]![0],
        transports[pair]![0].pathTo(transports[pair + pairs]![1]),
      ];
      for (let i = 0; path !== undefined && i < burst && from.send(datagram, path); i++) {
        isAnyTaken = true;
      }
    }
    // Asking again at once would take the processor from those who are to make room.
    await new Promise((resolve) => isAnyTaken ? setImmediate(resolve) : setTimeout(resolve, 1));
  }
}

/** Joins one after the other; returns how long each took, in milliseconds, sorted. */
async function measureJoins(place: Place, name: string, joins: number): Promise<number[]> {
  const times: number[] = [];
  for (let i = 0; i < joins; i++) {
    const startedAt = performance.now();
    const agent = await join(place, `${name}${i}`);
    times.push(performance.now() - startedAt);
    agent.hangUp();
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  return times.sort((a, b) => a - b);
}

function spawn(...args: string[]) {
  const child = new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", "--no-check", import.meta.filename!, ...args],
    stdin: "piped",
    stdout: "piped",
  }).spawn();
  const lines = child.stdout.pipeThrough(new TextDecoderStream())
    .pipeThrough(new TextLineStream()).getReader();
  const writer = child.stdin.getWriter();
  return {
    pid: child.pid,
    line: async () => (await lines.read()).value ?? "",
    tell: () => writer.write(new Uint8Array(1)),
    end: async () => {
      await writer.close();
      await child.status;
    },
  };
}

async function bench(): Promise<void> {
  const flags = parseFlags({ pairs: 20, rounds: 5, joins: 8 });
  const folder = await Deno.makeTempDir();
  const server = spawn("serve", folder);
  try {
    const text = await server.line();
    const place = JSON.parse(text) as Place;
    await measureJoins(place, "warm", 10);
    const memory = [await residentMegabytes(server.pid)];
    const loading = spawn("load", text, String(flags.pairs));
    await loading.line();
    memory.push(await residentMegabytes(server.pid));
    const [idle, busy, ratios, totals, fairness]: number[][] = [[], [], [], [], []];
    for (let round = 0; round < flags.rounds; round++) {
      const before = await measureJoins(place, `idle${round}-`, flags.joins);
      await loading.tell();
      await new Promise((resolve) => setTimeout(resolve, SETTLE_MS));
      const during = await measureJoins(place, `busy${round}-`, flags.joins);
      await loading.tell();
      const rates = JSON.parse(await loading.line()) as number[];
      memory.push(await residentMegabytes(server.pid));
      idle!.push(...before);
      busy!.push(...during);
      ratios!.push(median(during) / median(before));
      totals!.push(rates.reduce((sum, rate) => sum + rate));
      fairness!.push(jain(rates));
    }
    const load = `${flags.pairs} pairs saturate the relay`;
    figure("join, relay idle, median", median(idle!), "ms");
    figure("join, relay idle, slowest", Math.max(...idle!), "ms");
    figure(`join, ${load}, median`, median(busy!), "ms");
    figure(`join, ${load}, slowest`, Math.max(...busy!), "ms");
    figure("the one as a multiple of the other, median of rounds", median(ratios!), "");
    figure("relayed meanwhile, all pairs", median(totals!), "Mbit/s");
    figure("fairness among the pairs (Jain; 1: all alike)", median(fairness!), "");
    const [alone, connected, ...loaded] = memory;
    figure("coordinator, VmRSS, nobody connected", alone!, "MB");
    figure(`coordinator, VmRSS, ${2 * flags.pairs} members on the relay`, connected!, "MB");
    figure("coordinator, VmRSS, under load, most", Math.max(...loaded), "MB");
    await loading.end();
    await server.tell();
    say(await server.line());
    await server.end();
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

/** Jain's index: 1 if all are alike, 1/n if one has everything. */
function jain(rates: readonly number[]): number {
  const sum = rates.reduce((a, b) => a + b);
  return sum ** 2 / (rates.length * rates.reduce((a, b) => a + b ** 2, 0));
}

/** Cuts text into its lines. */
class TextLineStream extends TransformStream<string, string> {
  constructor() {
    let rest = "";
    super({
      transform: (text, controller) => {
        const lines = (rest + text).split("\n");
        rest = lines.pop()!;
        for (const line of lines) controller.enqueue(line);
      },
    });
  }
}

function figure(what: string, value: number, unit: string): void {
  say(`figure: ${what}: ${Number(value.toPrecision(3))} ${unit}`.trimEnd());
}

const [part, argument, pairs] = Deno.args;
if (part === "serve") await serve(argument!);
else if (part === "load") await load(JSON.parse(argument!), Number(pairs));
else {
  await bench();
  Deno.exit(0);
}
