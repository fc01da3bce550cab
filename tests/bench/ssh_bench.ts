/**
 * One stream over the SSH transport against bare `ssh2`, each between two processes on loopback:
 * datagrams of a full packet one way, as fast as they are taken, and the datagrams lost on the way;
 * and one TCP stream between two whole nodes that have nothing but SSH (path_stack.ts). Rounds are
 * interleaved, for the machine is shared: compare the ratios.
 *
 * ```text
 * deno task bench ssh [--rounds N] [--seconds S] [--source]
 * ```
 *
 * @module
 */

import { connect, createServer } from "node:net";
import { SYSTEM_CLOCK } from "../../lib/base/clock.ts";
import { loadSshKey } from "../../lib/crypto/ssh_key.ts";
import { serveSsh, SshClientConnection, type SshStream } from "../../lib/crypto/ssh_transport.ts";
import { SshTransport } from "../../lib/transport/ssh.ts";
import { createSshKey } from "../../lib/crypto/ssh_key.ts";
import { median } from "./compiled.ts";
import { parseFlags, say } from "./flags.ts";
import { openStack, sayRatio, sayRest, streamOf } from "./path_stack.ts";

const ROUND_MS = 2_000;
/** A packet of 1408 bytes, sealed. */
const DATAGRAM_LENGTH = 1_440;
const BURST = 64;
const BARE_WRITE = 65_536;

type Kind = "transport" | "bare";

/** The far end: counts bytes until it sees a short datagram or write, then says how many. */
async function serve(kind: Kind, keyText: string): Promise<void> {
  const hostKey = (await loadSshKey(keyText)).publicKey;
  let received = 0;
  if (kind === "transport") {
    const transport = await SshTransport.open({
      clock: SYSTEM_CLOCK,
      hostKey: keyText,
      clientKey: keyText,
      clientKeyOwner: () => "client",
      hostKeysOf: () => [hostKey],
      listen: { port: 0, host: "127.0.0.1" },
    });
    transport.start((datagram, path) => {
      received += datagram.length;
      if (datagram.length > 8) return;
      transport.send(new TextEncoder().encode(`${received}`), path);
      received = 0;
    });
    return say(`${transport.port}`);
  }
  const server = createServer({ noDelay: true }, async (socket) => {
    const served = await serveSsh(socket, { hostKey: keyText, isClientKey: () => true });
    served?.stream.start({
      data: (bytes) => {
        received += bytes.length;
        if (received % BARE_WRITE !== 1) return;
        served.stream.write(new TextEncoder().encode(`${received}`), () => {});
        received = 0;
      },
      closed: () => {},
    });
  });
  server.listen({ port: 0, host: "127.0.0.1" }, () => {
    const address = server.address();
    say(`${typeof address === "object" ? address?.port : ""}`);
  });
}

/** Sends datagrams for a while; returns megabits per second that arrived, and what was lost. */
async function sendDatagrams(port: number, keyText: string): Promise<[number, number]> {
  const hostKey = (await loadSshKey(keyText)).publicKey;
  const opened = Promise.withResolvers<void>();
  const transport = await SshTransport.open({
    clock: SYSTEM_CLOCK,
    hostKey: keyText,
    clientKey: keyText,
    clientKeyOwner: () => undefined,
    hostKeysOf: () => [hostKey],
    events: { opened: () => opened.resolve(), failed: (_, errors) => opened.reject(errors[0]) },
  });
  const answered = Promise.withResolvers<number>();
  transport.start((datagram) => answered.resolve(Number(new TextDecoder().decode(datagram))));
  transport.setPeer("server", [{ user: "bench", host: "127.0.0.1", port }]);
  transport.want("server");
  await opened.promise;
  const path = transport.pathTo("server")!;
  const datagram = new Uint8Array(DATAGRAM_LENGTH).fill(7);
  let sent = 0;
  const start = performance.now();
  while (performance.now() - start < ROUND_MS) {
    let taken = 0;
    while (taken < BURST && transport.send(datagram, path)) taken++;
    sent += taken * DATAGRAM_LENGTH;
    await new Promise((resolve) => setImmediate(resolve));
  }
  while (!transport.send(Uint8Array.of(0), path)) {
    await new Promise((resolve) => setTimeout(resolve, 1));
  }
  const arrived = await answered.promise;
  const seconds = (performance.now() - start) / 1000;
  await transport.close();
  return [arrived * 8 / seconds / 1e6, sent + 1 - arrived];
}

/** As {@linkcode sendDatagrams}, writes of 64 KiB into the bare channel. */
async function sendBare(port: number, keyText: string): Promise<[number, number]> {
  const hostKey = (await loadSshKey(keyText)).publicKey;
  const socket = connect({ host: "127.0.0.1", port, noDelay: true });
  const connection = await SshClientConnection.open({
    socket,
    user: "bench",
    privateKey: keyText,
    hostKeys: [hostKey],
  });
  const stream: SshStream = await connection.openService();
  const answered = Promise.withResolvers<number>();
  stream.start({
    data: (bytes) => answered.resolve(Number(new TextDecoder().decode(bytes))),
    closed: () => {},
  });
  const bytes = new Uint8Array(BARE_WRITE).fill(7);
  const start = performance.now();
  while (performance.now() - start < ROUND_MS) {
    while (stream.queuedBytes < 2_000_000) stream.write(bytes, () => {});
    await new Promise((resolve) => setImmediate(resolve));
  }
  stream.write(Uint8Array.of(0), () => {});
  const arrived = await answered.promise;
  const seconds = (performance.now() - start) / 1000;
  stream.close();
  return [arrived * 8 / seconds / 1e6, 0];
}

async function bench(): Promise<void> {
  const { privateText } = createSshKey("bench");
  const flags = parseFlags({ rounds: 4, seconds: 4 }, {}, ["source"]);
  await using stack = await openStack("ssh", flags.source);
  const figures: Record<Kind | "stack", number[]> = { transport: [], bare: [], stack: [] };
  for (let round = 0; round < flags.rounds; round++) {
    figures.stack.push(await streamOf(stack, flags.seconds));
    for (const kind of ["bare", "transport"] as const) {
      const child = new Deno.Command(Deno.execPath(), {
        args: ["run", "-A", "--no-check", import.meta.filename!, kind, privateText],
        stdout: "piped",
      }).spawn();
      const reader = child.stdout.pipeThrough(new TextDecoderStream()).getReader();
      const port = Number((await reader.read()).value);
      const run = kind === "bare" ? sendBare : sendDatagrams;
      const [megabits, lost] = await run(port, privateText);
      figures[kind].push(megabits);
      say(`${kind}: ${megabits.toFixed(0)} Mbit/s, ${lost} bytes lost after they were taken`);
      reader.cancel();
      child.kill();
      await child.status;
    }
  }
  say(`figure: bare ssh2, writes of 64 KiB: ${median(figures.bare).toFixed(0)} Mbit/s`);
  sayRatio(`SSH transport, datagrams of ${DATAGRAM_LENGTH}`, figures.transport, figures.bare);
  sayRatio("one TCP stream of whole nodes by SSH", figures.stack, figures.bare);
  await sayRest(stack, flags.seconds);
}

if (import.meta.main) {
  const [kind, keyText] = Deno.args;
  if (kind === undefined || kind.startsWith("--")) {
    await bench();
    Deno.exit(0);
  }
  await serve(kind as Kind, keyText!);
}
