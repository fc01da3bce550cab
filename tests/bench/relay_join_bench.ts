/**
 * How long a join takes while the relay is idle, and while 20 pairs saturate it. Three processes
 * share the machine: the coordinator, the 40 members that send and receive, and the one that joins.
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

const PAIRS = 20;
const JOINS = 40;
const LOAD_MS = 15_000;
const DATAGRAM_LENGTH = 1_440;
/** Datagrams of one turn: what a busy TUN hands over. */
const BURST = 64;

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
    events: { opened: () => opened.resolve() },
  });
  transport.connect();
  await opened.promise;
  return transport;
}

/** Saturates the relay; prints what arrived at the receivers in all, per second. */
async function load(place: Place): Promise<void> {
  const transports: [RelayTransport, string][] = [];
  for (let i = 0; i < 2 * PAIRS; i++) {
    const agent = await join(place, `load${i}`);
    const nodeId = toHex(sha256(agent.staticKey.publicKey));
    transports.push([await relayOf(place, agent), nodeId]);
  }
  let received = 0;
  for (const [transport] of transports) {
    transport.start((datagram) => {
      received += datagram.length;
    });
  }
  say("ready");
  const datagram = new Uint8Array(DATAGRAM_LENGTH).fill(7);
  const start = performance.now();
  while (performance.now() - start < LOAD_MS) {
    for (let pair = 0; pair < PAIRS; pair++) {
      const path = transports[pair]![0].pathTo(transports[pair + PAIRS]![1])!;
      for (let i = 0; i < BURST && transports[pair]![0].send(datagram, path); i++);
    }
    await new Promise((resolve) => setImmediate(resolve));
  }
  say(`${Math.round(received * 8 / (performance.now() - start) / 1_000)}`);
  Deno.exit(0);
}

/** Joins one after the other; returns how long each took, in milliseconds, sorted. */
async function measureJoins(place: Place, name: string): Promise<number[]> {
  const times: number[] = [];
  for (let i = 0; i < JOINS; i++) {
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
  const reader = child.stdout.pipeThrough(new TextDecoderStream()).getReader();
  return { child, line: async () => ((await reader.read()).value ?? "").trim() };
}

async function bench(): Promise<void> {
  const folder = await Deno.makeTempDir();
  const server = spawn("serve", folder);
  try {
    const place = JSON.parse(await server.line()) as Place;
    await measureJoins(place, "warm");
    const idle = await measureJoins(place, "idle");
    const loading = spawn("load", JSON.stringify(place));
    await loading.line();
    await new Promise((resolve) => setTimeout(resolve, 1_000));
    const busy = await measureJoins(place, "busy");
    const megabits = await loading.line();
    await loading.child.stdin.close();
    await loading.child.status;
    const median = (times: number[]) => times[times.length >> 1]!;
    figure("join, relay idle, median", median(idle), "ms");
    figure("join, relay idle, slowest", idle.at(-1)!, "ms");
    figure(`join, ${PAIRS} pairs saturate the relay, median`, median(busy), "ms");
    figure(`join, ${PAIRS} pairs saturate the relay, slowest`, busy.at(-1)!, "ms");
    figure("relayed meanwhile", Number(megabits), "Mbit/s");
    const writer = server.child.stdin.getWriter();
    await writer.write(new Uint8Array(1));
    say(await server.line());
    await writer.close();
    await server.child.status;
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

function figure(what: string, value: number, unit: string): void {
  say(`figure: ${what}: ${Number(value.toPrecision(3))} ${unit}`);
}

function say(line: string): void {
  Deno.stdout.writeSync(new TextEncoder().encode(`${line}\n`));
}

const [part, argument] = Deno.args;
if (part === "serve") await serve(argument!);
else if (part === "load") await load(JSON.parse(argument!));
else {
  await bench();
  Deno.exit(0);
}
