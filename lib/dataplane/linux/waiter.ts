/**
 * Waits, blocking this thread, until one of a few descriptors can be read or written (poll(2)).
 *
 * `struct pollfd`: `0 fd 4 │ 4 events 2 │ 6 revents 2 = 8`.
 *
 * @module
 */

import { libc } from "../../../ffi/libc.ts";
import { Mem } from "../../../ffi/memory.ts";

const POLLIN = 1;
const POLLOUT = 4;
const SIZE = 8;

/** Waits for descriptors. */
export class Waiter {
  readonly #memory: Mem;
  readonly #pointer;

  /** @param count How many descriptors at most. */
  constructor(count: number) {
    this.#memory = new Mem(count * SIZE);
    this.#pointer = this.#memory.pointer(0);
  }

  /**
   * Waits until one can be read.
   *
   * @param fds Negative ones are ignored.
   * @param timeoutMs -1: for ever.
   * @returns `false` if the time was up.
   */
  readable(fds: readonly number[], timeoutMs: number): boolean {
    for (let i = 0; i < fds.length; i++) this.#set(i, fds[i]!, POLLIN);
    // Safety: the kernel reads and writes `fds.length` entries of a field of this object.
    return libc.poll(this.#pointer, fds.length, timeoutMs) !== 0;
  }

  /** Whether the descriptor at that place could be read when {@linkcode readable} returned. */
  isReady(i: number): boolean {
    return this.#memory.view.getUint16(i * SIZE + 6, true) !== 0;
  }

  /** Waits until one can be written; whether it can. */
  writable(fd: number, timeoutMs: number): boolean {
    this.#set(0, fd, POLLOUT);
    // Safety: as above, one entry.
    return libc.poll(this.#pointer, 1, timeoutMs) > 0;
  }

  #set(i: number, fd: number, events: number): void {
    const { view } = this.#memory;
    view.setInt32(i * SIZE, fd, true);
    view.setUint16(i * SIZE + 4, events, true);
    view.setUint16(i * SIZE + 6, 0, true);
  }
}
