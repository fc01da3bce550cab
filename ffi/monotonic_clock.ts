/**
 * The monotonic clock as loops of workers read it, once per packet that comes alone: clock_gettime(2)
 * through its fast door costs a third of `performance.now()`, and after a pause, when all of it has left
 * the caches, a tenth.
 *
 * @module
 */

import { libc } from "./libc.ts";
import { Mem } from "./memory.ts";

const CLOCK_MONOTONIC = 1;

/** Reads `CLOCK_MONOTONIC` on a scale of milliseconds that the caller chooses. */
export class MonotonicClock {
  /** `struct timespec`: 0 seconds 8 │ 8 nanoseconds 8. */
  readonly #memory = new Mem(16);
  readonly #words = this.#memory.u32;
  readonly #pointer = this.#memory.pointer(0);
  readonly #offset: number;

  /** @param now What the scale shows at this moment, in milliseconds. */
  constructor(now: number) {
    this.#offset = 0;
    this.#offset = now - this.now;
  }

  /** Milliseconds on that scale; never less than before. */
  get now(): number {
    // Safety: the kernel writes 16 bytes into a field of this object. It cannot fail. The seconds'
    // high half is 0 for the first 136 years after the start of the machine.
    libc.clock_gettime(CLOCK_MONOTONIC, this.#pointer);
    return this.#words[0]! * 1000 + this.#words[2]! / 1e6 + this.#offset;
  }
}
