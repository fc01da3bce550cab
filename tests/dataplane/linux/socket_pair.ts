/**
 * Two connected datagram sockets: a TUN device in a test's hand.
 *
 * @module
 */

const { socketpair, read, write, close, setsockopt } = Deno.dlopen("libc.so.6", {
  socketpair: { parameters: ["i32", "i32", "i32", "buffer"], result: "i32" },
  read: { parameters: ["i32", "buffer", "u32"], result: "i32" },
  write: { parameters: ["i32", "buffer", "u32"], result: "i32" },
  close: { parameters: ["i32"], result: "i32" },
  setsockopt: { parameters: ["i32", "i32", "i32", "buffer", "u32"], result: "i32" },
}).symbols;

const AF_UNIX = 1;
/** SOCK_DGRAM | SOCK_NONBLOCK */
const TYPE = 2 | 0x800;
const SOL_SOCKET = 1;
/** SO_SNDBUFFORCE */
const SEND_BUFFER = 32;

/** A pair of sockets. */
export class SocketPair {
  /** For the data plane. */
  readonly near: number;
  readonly #far: number;
  readonly #buffer = new Uint8Array(70_000);

  constructor() {
    const fds = new Int32Array(2);
    if (socketpair(AF_UNIX, TYPE, 0, fds) < 0) throw new Error("Cannot make a socket pair");
    [this.near, this.#far] = [fds[0]!, fds[1]!];
    const size = new Uint8Array(Int32Array.of(64 << 20).buffer);
    for (const fd of fds) setsockopt(fd, SOL_SOCKET, SEND_BUFFER, size, 4);
  }

  /** The next message from the data plane, if there is one. */
  read(): Uint8Array | undefined {
    const length = read(this.#far, this.#buffer, this.#buffer.length);
    return length < 0 ? undefined : this.#buffer.slice(0, length);
  }

  /** Gives the data plane a message; waits while its queue is full. */
  write(message: Uint8Array): void {
    const bytes = new Uint8Array(message);
    for (let tries = 0; write(this.#far, bytes, bytes.length) < 0; tries++) {
      if (tries > 100_000) throw new Error("Cannot write to the socket pair");
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 0.1);
    }
  }

  /** Closes both. */
  close(): void {
    close(this.near);
    close(this.#far);
  }
}
