/**
 * The receiver indices this node has given out.
 *
 * Indices are random and used once, so that an observer cannot tell which sessions belong together
 * and a stranger cannot guess one.
 *
 * @module
 */

import { readU32Le } from "../base/integers.ts";

/** Maps unsigned 32-bit indices to what they stand for. */
export class IndexTable<T> {
  readonly #random: (length: number) => Uint8Array;
  readonly #entries = new Map<number, T>();

  /** @param random Returns that many random bytes. */
  constructor(random: (length: number) => Uint8Array) {
    this.#random = random;
  }

  /** How many indices are taken. */
  get size(): number {
    return this.#entries.size;
  }

  /** Takes an index that is free, for `value`. */
  allocate(value: T): number {
    for (;;) {
      const index = readU32Le(this.#random(4), 0);
      if (this.#entries.has(index)) continue;
      this.#entries.set(index, value);
      return index;
    }
  }

  /** Lets a taken index stand for something else; used when a handshake becomes a keypair. */
  reassign(index: number, value: T): void {
    if (this.#entries.has(index)) this.#entries.set(index, value);
  }

  /** What an index stands for; `undefined` if it is free. */
  get(index: number): T | undefined {
    return this.#entries.get(index);
  }

  /** Gives an index back; harmless if it is free. */
  free(index: number): void {
    this.#entries.delete(index);
  }
}
