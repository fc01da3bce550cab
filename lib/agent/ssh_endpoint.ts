/**
 * Peers that come by the system's SSH server: its forced command joins their stream with the running
 * agent, over a Unix socket in the state folder.
 *
 * ```
 * peer ══ sshd ── ssh-endpoint serve ── ssh.sock ── agent
 *                 { clientKey, from } \n, then the stream as it is
 * ```
 *
 * Only the owner of the state folder can connect (owner_socket.ts), so the key that the first line
 * names is the one that `sshd` found in the line of `authorized_keys`. What must hold here: the agent
 * asks the roster whose it is, and takes nothing from a key that is nobody's.
 *
 * @module
 */

import { fromBase64, toBase64, utf8 } from "../base/bytes.ts";
import type { SshStream, SshStreamEvents } from "../crypto/ssh_transport.ts";
import { AgentError } from "./errors.ts";
import { connectToOwner, OwnerListener, tryClose, writeAll } from "./owner_socket.ts";

/** Socket in the state folder. */
export const SSH_SOCKET = "ssh.sock";

const MAX_GREETING_BYTES = 4_096;
const GREETING_TIMEOUT_MS = 5_000;
const READ_BYTES = 65_536;

/** Takes over a stream; closes it if the key is nobody's. */
export type StreamTaker = (stream: SshStream, clientKey: Uint8Array, from: string) => void;

/** The agent's side of the socket. */
export class SshEndpointListener {
  readonly #listener: OwnerListener;
  readonly #take: StreamTaker;

  /**
   * Starts to listen. The caller holds the folder's lock.
   *
   * @param state Path of the state folder.
   * @throws {AgentError} `storage` if the socket cannot be made.
   */
  constructor(state: string, take: StreamTaker) {
    this.#take = take;
    this.#listener = new OwnerListener(state, SSH_SOCKET, (connection) => this.#greet(connection));
  }

  /** Stops listening and removes the socket; streams that were taken live on. Safe to call twice. */
  close(): void {
    this.#listener.close();
  }

  async #greet(connection: Deno.UnixConn): Promise<void> {
    const timer = setTimeout(() => tryClose(connection), GREETING_TIMEOUT_MS);
    try {
      const { line, rest } = await readLine(connection);
      const { clientKey, from } = JSON.parse(line);
      this.#take(new UnixStream(connection, rest), fromBase64(clientKey), String(from));
    } catch {
      tryClose(connection);
    } finally {
      clearTimeout(timer);
    }
  }
}

/**
 * The forced command: joins its standard input and output with the running agent, until either side
 * ends.
 *
 * @param state Path of the agent's state folder.
 * @param clientKey Binary key that the peer proved.
 * @param from Where the peer came from.
 * @throws {AgentError} `not-running` if no agent runs there.
 */
export async function joinSshEndpoint(
  state: string,
  clientKey: Uint8Array,
  from: string,
): Promise<void> {
  let connection: Deno.UnixConn;
  try {
    connection = await connectToOwner(state, SSH_SOCKET);
  } catch (cause) {
    throw new AgentError(
      "not-running",
      `Cannot reach the agent on state folder "${state}": it is not running, or takes no peers by ` +
        "SSH; start it",
      { cause },
    );
  }
  await writeAll(connection, utf8(JSON.stringify({ clientKey: toBase64(clientKey), from }) + "\n"));
  const out = connection.readable.pipeTo(Deno.stdout.writable, { preventClose: true });
  const in_ = Deno.stdin.readable.pipeTo(connection.writable, { preventClose: true });
  await Promise.race([out, in_]).catch(() => {}); // either end is the end
  tryClose(connection);
  await out.catch(() => {});
}

/** A Unix connection as a stream of SSH. */
class UnixStream implements SshStream {
  readonly #connection: Deno.UnixConn;
  readonly #first: Uint8Array;
  readonly #waiting: { readonly bytes: Uint8Array; readonly written: () => void }[] = [];
  #queuedBytes = 0;
  #isWriting = false;
  #events: SshStreamEvents | undefined;
  #isClosed = false;

  /** @param first What came behind the greeting. */
  constructor(connection: Deno.UnixConn, first: Uint8Array) {
    this.#connection = connection;
    this.#first = first;
  }

  get queuedBytes(): number {
    return this.#queuedBytes;
  }

  start(events: SshStreamEvents): void {
    this.#events = events;
    this.#read();
  }

  write(bytes: Uint8Array, written: () => void): void {
    if (this.#isClosed) return;
    this.#queuedBytes += bytes.length;
    this.#waiting.push({ bytes, written });
    if (!this.#isWriting) this.#drain();
  }

  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    tryClose(this.#connection);
  }

  async #read(): Promise<void> {
    const chunk = new Uint8Array(READ_BYTES);
    if (this.#first.length > 0) this.#events?.data(this.#first);
    try {
      while (!this.#isClosed) {
        const length = await this.#connection.read(chunk);
        if (length === null) break;
        this.#events?.data(chunk.subarray(0, length));
      }
    } catch {
      // A broken connection is a closed one.
    }
    this.#end();
  }

  async #drain(): Promise<void> {
    this.#isWriting = true;
    try {
      await Promise.resolve(); // `written` never before `write` has returned
      for (let next = this.#waiting.shift(); next !== undefined; next = this.#waiting.shift()) {
        await writeAll(this.#connection, next.bytes);
        this.#queuedBytes -= next.bytes.length;
        if (!this.#isClosed) next.written();
      }
    } catch {
      this.#end();
    }
    this.#isWriting = false;
  }

  #end(): void {
    const events = this.#events;
    this.#events = undefined;
    this.close();
    events?.closed();
  }
}

async function readLine(
  connection: Deno.UnixConn,
): Promise<{ readonly line: string; readonly rest: Uint8Array }> {
  const buffer = new Uint8Array(MAX_GREETING_BYTES);
  for (let length = 0; length < buffer.length;) {
    const count = await connection.read(buffer.subarray(length));
    if (count === null) break;
    length += count;
    const end = buffer.subarray(0, length).indexOf(0x0a);
    if (end < 0) continue;
    const line = new TextDecoder().decode(buffer.subarray(0, end));
    return { line, rest: buffer.slice(end + 1, length) };
  }
  throw new AgentError("failed", "Cannot take a stream: it has no first line");
}
