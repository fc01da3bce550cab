/**
 * A `msghdr` for sendmsg and recvmsg, with its iovec array, name and control area in one memory
 * (layouts in ffi/layout.ts).
 *
 * @module
 */

import { IOVEC, MSGHDR } from "../../../ffi/layout.ts";
import { Mem, type Pointer } from "../../../ffi/memory.ts";

/** Where the name stands. */
export const NAME_AT = 64;
/** Room for the name: `sockaddr_in6`, padded. */
export const NAME_SIZE = 32;
/** Where the control messages stand. */
export const CONTROL_AT = NAME_AT + NAME_SIZE;
/** Room for control messages. */
export const CONTROL_SIZE = 160;
const VECTORS_AT = CONTROL_AT + CONTROL_SIZE;

/** A message header and what it points to. */
export class MessageHeader {
  /** All of it; name and control are at {@linkcode NAME_AT} and {@linkcode CONTROL_AT}. */
  readonly memory: Mem;
  /** For sendmsg and recvmsg. */
  readonly pointer: Pointer;
  /** For writev. */
  readonly vectors: Pointer;

  /** @param vectors How many pieces at most. */
  constructor(vectors: number) {
    const memory = new Mem(VECTORS_AT + vectors * IOVEC.size);
    this.memory = memory;
    this.pointer = memory.pointer(0);
    this.vectors = memory.pointer(VECTORS_AT);
    memory.putAddress(NAME_AT, memory.u32, MSGHDR.name >> 2);
    memory.putAddress(VECTORS_AT, memory.u32, MSGHDR.iov >> 2);
    memory.putAddress(CONTROL_AT, memory.u32, MSGHDR.control >> 2);
    memory.u32[MSGHDR.iovCount >> 2] = 1;
  }

  /** Length of the name: set before a call, and after recvmsg what the kernel wrote. */
  set nameLength(bytes: number) {
    this.memory.u32[MSGHDR.nameLength >> 2] = bytes;
  }

  /** Length of the control area in use. */
  set controlLength(bytes: number) {
    this.memory.u32[MSGHDR.controlLength >> 2] = bytes;
  }
  get controlLength(): number {
    return this.memory.u32[MSGHDR.controlLength >> 2]!;
  }

  /** Sets piece `i`: `length` bytes of `memory` from `at` on, which the caller keeps reachable. */
  vector(i: number, memory: Mem, at: number, length: number): void {
    const words = this.memory.u32;
    const word = (VECTORS_AT + i * IOVEC.size) >> 2;
    memory.putAddress(at, words, word + (IOVEC.base >> 2));
    words[word + (IOVEC.length >> 2)] = length;
  }
}
