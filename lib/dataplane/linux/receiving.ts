/**
 * Receiving what one source has sent, up to 64 KiB of datagrams by one system call (`UDP_GRO`), and
 * reading from its control messages by which path it came.
 *
 * @module
 */

import { ERRNO, SyscallError } from "../../../ffi/errno.ts";
import { CMSGHDR, IN6_PKTINFO, IN_PKTINFO, SOCKET_OPTION } from "../../../ffi/layout.ts";
import { errno, libc } from "../../../ffi/libc.ts";
import type { Mem } from "../../../ffi/memory.ts";
import { CONTROL_AT, CONTROL_SIZE, MessageHeader, NAME_SIZE } from "./message_header.ts";
import { newPathWords, readPathWords } from "./path_words.ts";

/** Most bytes in one batch: what UDP_GRO joins at most. */
export const BATCH_MAX = 65_536;
/** {@linkcode Receiving.receive} found nothing to receive. */
export const NOTHING_THERE = -1;
/** {@linkcode Receiving.receive} learned how a datagram that was sent earlier fared: no batch. */
export const NEWS = -2;

/** The latest batch, and where it came from. */
export class Receiving {
  /** The path by which the batch came. */
  readonly path = newPathWords();
  /** Size of each datagram of the batch but the last; 0 if nobody said where it arrived. */
  stride = 0;
  readonly #memory: Mem;
  readonly #message = new MessageHeader(1);

  /** @param memory Gets each batch, {@linkcode BATCH_MAX} bytes at its start. */
  constructor(memory: Mem) {
    this.#memory = memory;
    this.#message.vector(0, memory, 0, BATCH_MAX);
  }

  /**
   * Receives a batch, and sets `path` and `stride`.
   *
   * @param fd A UDP socket that does not block.
   * @returns Its length in bytes, or {@linkcode NOTHING_THERE}, or {@linkcode NEWS}.
   * @throws {SyscallError} If the descriptor is no socket of ours.
   */
  receive(fd: number, isIpv4: boolean): number {
    const message = this.#message;
    message.nameLength = NAME_SIZE;
    message.controlLength = CONTROL_SIZE;
    // Safety: header, name and control are the message's, the buffer is the memory that this object
    // holds; the kernel writes at most the lengths that the header names.
    const length = libc.recvmsg(fd, message.pointer, 0);
    if (length >= 0) {
      this.stride = this.#readControl(isIpv4, length);
      return length;
    }
    const code = errno();
    if (code === ERRNO.EBADF || code === ERRNO.ENOTSOCK) {
      throw new SyscallError("receive datagrams", code);
    }
    return code === ERRNO.EAGAIN ? NOTHING_THERE : NEWS;
  }

  /** Reads path and segment size; the size of each datagram, or 0 if the own end is unknown. */
  #readControl(isIpv4: boolean, length: number): number {
    const { memory, controlLength } = this.#message;
    const { view } = memory;
    const [infoLevel, infoType] = isIpv4 ? SOCKET_OPTION.IP_PKTINFO : SOCKET_OPTION.IPV6_PKTINFO;
    const [groLevel, groType] = SOCKET_OPTION.UDP_GRO;
    const infoSize = isIpv4 ? IN_PKTINFO.size : IN6_PKTINFO.size;
    let stride = length;
    let hasPath = false;
    const end = CONTROL_AT + controlLength;
    for (let at = CONTROL_AT; at + CMSGHDR.data <= end;) {
      const size = view.getUint32(at + CMSGHDR.length, true);
      const level = view.getInt32(at + CMSGHDR.level, true);
      const type = view.getInt32(at + CMSGHDR.type, true);
      if (size < CMSGHDR.data) break;
      if (level === infoLevel && type === infoType && size >= CMSGHDR.data + infoSize) {
        readPathWords(memory, at + CMSGHDR.data, isIpv4, this.path);
        hasPath = true;
      } else if (level === groLevel && type === groType) {
        stride = view.getInt32(at + CMSGHDR.data, true);
      }
      at += (size + 7) & ~7;
    }
    return hasPath ? stride : 0;
  }
}
