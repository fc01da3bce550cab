/**
 * One stream through the relay against a bare relay of `ws` messages, in TLS: datagrams of a full
 * packet one way, as fast as they are taken, between processes on loopback; and one TCP stream
 * between two whole nodes that have nothing but the relay (path_stack.ts). Rounds are interleaved,
 * for the machine is shared: compare the ratios.
 *
 * ```text
 * deno task bench relay [--rounds N] [--seconds S] [--source]
 * ```
 *
 * @module
 */

import { WebSocket } from "ws";
import { SYSTEM_CLOCK } from "../../lib/base/clock.ts";
import { makeCertificate } from "../../lib/coordinator/tls.ts";
import { RelayTransport } from "../../lib/transport/relay.ts";
import { dialRelay } from "../../lib/transport/relay_dialing.ts";
import { TestRelay } from "../transport/relay_mesh.ts";
import { median } from "./compiled.ts";
import { parseFlags, say } from "./flags.ts";
import { openStack, sayRatio, sayRest, streamOf } from "./path_stack.ts";

const ROUND_MS = 2_000;
/** A packet of 1408 bytes, sealed. */
const DATAGRAM_LENGTH = 1_440;
const BURST = 64;
const BARE_MESSAGE = 32_768;
const WINDOW = 4_000_000;
const ANSWER_EVERY = 100_000;
const SENDER = "aa".repeat(32);
const RECEIVER = "bb".repeat(32);

type Kind = "relay" | "bare";

/** The coordinator's part, in a process of its own: prints its port. */
async function serve(kind: Kind): Promise<void> {
  if (kind === "relay") {
    const relay = await TestRelay.open([SENDER, RECEIVER]);
    // A ticket that both sides can make without asking.
    const refresh = () => {
      for (const nodeId of [SENDER, RECEIVER]) {
        relay.listener.relay.addTicket(nodeId, ticket(nodeId));
      }
    };
    refresh();
    return say(`${relay.port}`);
  }
  const tls = await makeCertificate(["localhost"], Date.now());
  const sockets: WebSocket[] = [];
  Deno.serve({
    hostname: "127.0.0.1",
    port: 0,
    cert: tls.certificate,
    key: tls.key,
    onListen: ({ port }) => say(`${port}`),
  }, (request) => {
    const { socket, response } = Deno.upgradeWebSocket(request);
    const all = sockets as unknown as globalThis.WebSocket[];
    all.push(socket);
    socket.binaryType = "arraybuffer";
    socket.onmessage = ({ data }) => {
      for (const other of all) {
        if (other === socket || other.readyState !== 1) continue;
        if (other.bufferedAmount < 1_000_000) other.send(data);
      }
    };
    return response;
  });
}

function ticket(nodeId: string): Uint8Array {
  return new Uint8Array(32).fill(Number.parseInt(nodeId.slice(0, 2), 16));
}

/** A way to carry messages that begin with a number. */
interface Way {
  send(message: Uint8Array): boolean;
  receive(take: (message: Uint8Array) => void): void;
  close(): void;
}

async function open(kind: Kind, port: number, nodeId: string): Promise<Way> {
  if (kind === "bare") {
    const socket = await bareSocket(port);
    return {
      send: (message) => {
        if (socket.bufferedAmount > 1_000_000) return false;
        socket.send(message.slice());
        return true;
      },
      receive: (take) => socket.on("message", take),
      close: () => socket.terminate(),
    };
  }
  const transport = await connect(port, nodeId);
  const path = transport.pathTo(nodeId === SENDER ? RECEIVER : SENDER)!;
  return {
    send: (message) => transport.send(message, path),
    receive: (take) => transport.start(take),
    close: () => transport.close(),
  };
}

/** The receiving end, in a process of its own: prints what arrived per second. */
async function receive(kind: Kind, port: number): Promise<void> {
  const way = await open(kind, port, RECEIVER);
  let received = 0;
  let sinceAnswer = 0;
  way.receive((message) => {
    received += message.length;
    sinceAnswer += message.length;
    if (sinceAnswer < ANSWER_EVERY) return;
    sinceAnswer = 0;
    way.send(message.slice(0, 8));
  });
  say("ready");
  // The first part of the round is for the sockets to find their pace.
  await new Promise((resolve) => setTimeout(resolve, ROUND_MS / 4));
  const [before, start] = [received, performance.now()];
  await new Promise((resolve) => setTimeout(resolve, ROUND_MS));
  say(`${(received - before) * 8 / (performance.now() - start) / 1_000}`);
  Deno.exit(0);
}

async function connect(port: number, nodeId: string): Promise<RelayTransport> {
  const opened = Promise.withResolvers<void>();
  const transport: RelayTransport = new RelayTransport({
    clock: SYSTEM_CLOCK,
    dial: (events) => dialRelay({ url: `wss://127.0.0.1:${port}/relay`, tlsVerify: false }, events),
    askTicket: () => {
      queueMicrotask(() => transport.takeTicket(ticket(nodeId)));
      return true;
    },
    isPeer: () => true,
    events: { opened: () => opened.resolve() },
  });
  transport.connect();
  await opened.promise;
  return transport;
}

async function bareSocket(port: number): Promise<WebSocket> {
  const socket = new WebSocket(`wss://127.0.0.1:${port}/`, {
    rejectUnauthorized: false,
    perMessageDeflate: false,
    generateMask: () => {},
  });
  await new Promise((resolve) => socket.on("open", resolve));
  return socket;
}

/** Sends until told to stop, with a window as TCP has one, so that nothing is sent in vain. */
async function send(kind: Kind, port: number, isOver: () => boolean): Promise<void> {
  const way = await open(kind, port, SENDER);
  const message = new Uint8Array(kind === "bare" ? BARE_MESSAGE : DATAGRAM_LENGTH).fill(7);
  const view = new DataView(message.buffer);
  let sent = 0;
  let answered = 0;
  let answeredAt = performance.now();
  way.receive((answer) => {
    answered = new DataView(answer.buffer, answer.byteOffset).getFloat64(0);
    answeredAt = performance.now();
  });
  while (!isOver()) {
    let isTaken = true;
    for (let i = 0; isTaken && i < BURST * DATAGRAM_LENGTH; i += message.length) {
      view.setFloat64(0, sent);
      isTaken = sent - answered < WINDOW && way.send(message);
      if (isTaken) sent += message.length;
    }
    // The last ones of a window may be lost, or too few for an answer.
    if (performance.now() - answeredAt > 50) answered = sent;
    // Asking again at once would take the processor from those who are to make room.
    await new Promise((resolve) => isTaken ? setImmediate(resolve) : setTimeout(resolve, 1));
  }
  way.close();
}

/** A process of this file, and the lines that it prints. */
function spawn(...args: string[]) {
  const child = new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", "--no-check", import.meta.filename!, ...args],
    stdout: "piped",
  }).spawn();
  const reader = child.stdout.pipeThrough(new TextDecoderStream()).getReader();
  const line = async () => ((await reader.read()).value ?? "").trim();
  const end = async () => {
    await reader.cancel();
    try {
      child.kill();
    } catch {
      // It has ended by itself.
    }
    await child.status;
  };
  return { line, end };
}

async function bench(): Promise<void> {
  const flags = parseFlags({ rounds: 4, seconds: 4 }, {}, ["source"]);
  await using stack = await openStack("relay", flags.source);
  const figures: Record<Kind | "stack", number[]> = { relay: [], bare: [], stack: [] };
  for (let round = 0; round < flags.rounds; round++) {
    figures.stack.push(await streamOf(stack, flags.seconds));
    for (const kind of ["bare", "relay"] as const) {
      const server = spawn("serve", kind);
      const port = Number(await server.line());
      const receiver = spawn("receive", kind, `${port}`);
      await receiver.line();
      let isOver = false;
      const sending = send(kind, port, () => isOver);
      const megabits = Number(await receiver.line());
      isOver = true;
      await sending;
      await receiver.end();
      await server.end();
      figures[kind].push(megabits);
      say(`${kind}: ${megabits.toFixed(0)} Mbit/s`);
    }
  }
  say(`figure: bare ws relay, messages of 32 KiB: ${median(figures.bare).toFixed(0)} Mbit/s`);
  sayRatio(`relay, datagrams of ${DATAGRAM_LENGTH}`, figures.relay, figures.bare);
  sayRatio("one TCP stream of whole nodes by the relay", figures.stack, figures.bare);
  await sayRest(stack, flags.seconds);
}

const [part, kind, port] = Deno.args;
if (part === "serve") await serve(kind as Kind);
else if (part === "receive") await receive(kind as Kind, Number(port));
else {
  await bench();
  Deno.exit(0);
}
