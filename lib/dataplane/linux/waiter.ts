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
  readonly #count: number;

  /**
   * @param fds Negative ones are ignored.
   * @param forWhat What is waited for.
   */
  constructor(fds: readonly number[], forWhat: "reading" | "writing") {
    this.#memory = new Mem(fds.length * SIZE);
    this.#pointer = this.#memory.pointer(0);
    this.#count = fds.length;
    for (const [i, fd] of fds.entries()) {
      this.#memory.view.setInt32(i * SIZE, fd, true);
      this.#memory.view.setUint16(i * SIZE + 4, forWhat === "reading" ? POLLIN : POLLOUT, true);
    }
  }

  /**
   * Waits until one is ready.
   *
   * @param timeoutMs -1: for ever.
   * @returns Bit i for descriptor i; 0 if the time was up. All of them if a signal came.
   */
  wait(timeoutMs: number): number {
    // Safety: the kernel reads and writes as many entries as a field of this object has.
    const result = libc.poll(this.#pointer, this.#count, timeoutMs);
    if (result <= 0) return result;
    const { view } = this.#memory;
    let ready = 0;
    for (let i = 0; i < this.#count; i++) {
      if (view.getUint16(i * SIZE + 6, true) !== 0) ready |= 1 << i;
    }
    return ready;
  }
}
