/**
 * A socket to the kernel's routing tables, by NETLINK_ROUTE (netlink(7)): one request, all its
 * answers. What is asked is for netlink.ts to say.
 *
 * The kernel answers while the request is being sent, so nothing waits.
 *
 * @module
 */

import { ERRNO, SyscallError } from "./errno.ts";
import { AF, SOCK, SOCKET_OPTION } from "./layout.ts";
import { check, errno, libc } from "./libc.ts";
import { Mem } from "./memory.ts";
import {
  type NetlinkMessage,
  type NetlinkRequest,
  NLM_F,
  NLMSG,
  readMessages,
} from "./netlink_message.ts";

const NETLINK_ROUTE = 0;
const RECEIVE_BYTES = 64 * 1024; // the kernel fills dump answers up to 32 KiB

const REMEDY: Readonly<Record<number, string>> = {
  [ERRNO.EPERM]: "run as root or with CAP_NET_ADMIN",
};

/** Asks the kernel, one request at a time. */
export class NetlinkSocket {
  readonly #fd: number;
  readonly #buffer = new Mem(RECEIVE_BYTES);
  readonly #bufferPointer = this.#buffer.pointer(0);
  #sequence = 0;
  #isClosed = false;

  /**
   * Opens the socket, in the network namespace of the calling thread.
   *
   * @throws {SyscallError} If the kernel has no rtnetlink or descriptors are used up.
   */
  constructor() {
    // Safety: integers only.
    const fd = libc.socket(AF.NETLINK, SOCK.RAW | SOCK.CLOEXEC, NETLINK_ROUTE);
    this.#fd = check(fd, "open a netlink socket");
    const [level, name] = SOCKET_OPTION.NETLINK_GET_STRICT_CHK;
    // Safety: 4 bytes, read before the call returns. Kernels before 4.20 lack it and only filter less.
    libc.setsockopt(this.#fd, level, name, Uint8Array.of(1, 0, 0, 0), 4);
  }

  /**
   * Reads a whole table, again if it changed meanwhile.
   *
   * @param attempt What was attempted, for the error; called only on failure.
   * @param read Reads one message; `undefined` for what is left out.
   * @throws {SyscallError} If it is refused.
   */
  dump<T>(
    request: NetlinkRequest,
    attempt: () => string,
    read: (message: NetlinkMessage) => T | undefined,
  ): T[] {
    let messages: NetlinkMessage[];
    let isConsistent: boolean;
    let triesLeft = 5; // a table that changes all the time is read as it comes
    do {
      messages = this.exchange(request, attempt);
      isConsistent = messages.every((message) => (message.flags & NLM_F.DUMP_INTR) === 0);
    } while (!isConsistent && --triesLeft > 0);
    return messages.map(read).filter((item) => item !== undefined);
  }

  /**
   * Sends a request and reads until its end: an acknowledgement, an error, or all parts.
   *
   * @param attempt As in {@linkcode dump}; may ask for an interface's name.
   * @throws {SyscallError} If it is refused.
   */
  exchange(request: NetlinkRequest, attempt: () => string): NetlinkMessage[] {
    if (this.#isClosed) throw new TypeError("the netlink socket is closed");
    const sequence = this.#sequence = (this.#sequence + 1) >>> 0;
    const bytes = request.finish(sequence);
    // Safety: the request is read before the call returns.
    if (libc.sendBuffer(this.#fd, bytes, bytes.length, 0) < 0) throw failure(errno(), attempt);
    const answers: NetlinkMessage[] = [];
    for (;;) {
      // Safety: the kernel writes at most RECEIVE_BYTES into a field of this object.
      const length = libc.recv(this.#fd, this.#bufferPointer, RECEIVE_BYTES, 0);
      if (length < 0) throw failure(errno(), attempt);
      // Copied, since answers of several reads are held at once.
      const answer = this.#buffer.u8.slice(0, length);
      for (const message of readMessages(answer)) {
        if (message.sequence !== sequence) continue; // left over from a request that threw
        if (message.type === NLMSG.ERROR || message.type === NLMSG.DONE) {
          const code = message.body.byteLength >= 4 ? -message.body.getInt32(0, true) : 0;
          if (code > 0) throw failure(code, attempt);
          return answers;
        }
        answers.push(message);
        // A single look-up is answered by one message and nothing after it.
        if ((message.flags & NLM_F.MULTI) === 0) return answers;
      }
    }
  }

  /** Closes the socket. Safe to call twice. */
  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    // Safety: our own descriptor, closed once.
    libc.close(this.#fd);
  }
}

function failure(code: number, attempt: () => string): SyscallError {
  return new SyscallError(attempt(), code, REMEDY[code]);
}
