/**
 * One end of a TCP transfer of pseudo-random bytes; both ends print the SHA-256 of what passed.
 *
 * `listen PORT BYTES` accepts one connection, sends so many bytes and reads to the end;
 * `connect ADDRESS PORT BYTES` does the same from the other side, at the same time. Prints
 * `ready`, then `sent HEX` and `received HEX BYTES`.
 *
 * @module
 */

import { createCipheriv, createHash, randomBytes } from "node:crypto";

const CHUNK_BYTES = 65_536;

const [mode, ...rest] = Deno.args;
const connection = mode === "listen" ? await accept(rest[0]!) : await connect(rest[0]!, rest[1]!);
const bytes = Number(rest.at(-1));
const [sent, received] = await Promise.all([send(), receive()]);
say(`sent ${sent}`);
say(`received ${received}`);
connection.close();

async function accept(port: string): Promise<Deno.TcpConn> {
  const listener = Deno.listen({ hostname: "::", port: Number(port) });
  say("ready");
  const accepted = await listener.accept();
  listener.close();
  return accepted;
}

function connect(hostname: string, port: string): Promise<Deno.TcpConn> {
  return Deno.connect({ hostname, port: Number(port) });
}

async function send(): Promise<string> {
  const hash = createHash("sha256");
  const stream = createCipheriv("aes-256-ctr", randomBytes(32), randomBytes(16));
  const zeros = new Uint8Array(CHUNK_BYTES);
  for (let left = bytes; left > 0; left -= CHUNK_BYTES) {
    let chunk: Uint8Array = stream.update(zeros.subarray(0, Math.min(left, CHUNK_BYTES)));
    hash.update(chunk);
    while (chunk.length > 0) chunk = chunk.subarray(await connection.write(chunk));
  }
  await connection.closeWrite();
  return hash.digest("hex");
}

async function receive(): Promise<string> {
  const hash = createHash("sha256");
  const chunk = new Uint8Array(CHUNK_BYTES);
  let total = 0;
  while (true) {
    const length = await connection.read(chunk);
    if (length === null) break;
    hash.update(chunk.subarray(0, length));
    total += length;
  }
  return `${hash.digest("hex")} ${total}`;
}

function say(line: string): void {
  Deno.stdout.writeSync(new TextEncoder().encode(`${line}\n`));
}
