/**
 * How long to wait before trying again.
 *
 * @module
 */

const FIRST_MS = 1_000;
const MOST_MS = 60_000;
const REFUSED_MS = 10_000;
/** Each wait is a random part of its length between these, so that a crowd does not come at once. */
const JITTER = { least: 0.5, most: 1.5 };

/** Waits that grow twofold from a second to a minute, with jitter. */
export class Backoff {
  readonly #random: () => number;
  #nextMs = FIRST_MS;

  /** @param random Gives `[0, 1)`; need not be unpredictable. */
  constructor(random: () => number = Math.random) {
    this.#random = random;
  }

  /** The next wait in milliseconds. */
  next(): number {
    const base = this.#nextMs;
    this.#nextMs = Math.min(MOST_MS, base * 2);
    return Math.min(MOST_MS, base * (JITTER.least + this.#random() * (JITTER.most - JITTER.least)));
  }

  /** Starts from the shortest wait again, as after a success. */
  reset(): void {
    this.#nextMs = FIRST_MS;
  }

  /** Makes the next wait a long one, as after an answer that will not change by itself. */
  slowDown(): void {
    this.#nextMs = Math.max(this.#nextMs, REFUSED_MS);
  }
}
