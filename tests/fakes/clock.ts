/**
 * A clock that stands still until a test moves it.
 *
 * What must hold: callbacks run in order of their moments, equal ones in the order they were asked
 * for, and a callback sees `now()` at its own moment, not at the moment advanced to.
 *
 * @module
 */

import type { Clock } from "../../lib/base/clock.ts";

/** One wake-up that was asked for. */
interface WakeUp {
  readonly at: number;
  readonly order: number;
  readonly callback: () => void;
}

/** How many callbacks one step may run before it counts as a loop that never ends. */
const MAX_CALLBACKS = 1_000_000;

/** A {@linkcode Clock} moved by hand. */
export class FakeClock implements Clock {
  #now: number;
  #unixOffset: number;
  #order = 0;
  readonly #wakeUps = new Set<WakeUp>();

  /** Starts at `now` ms, which is `unixNow` ms since 1970. */
  constructor(now = 1_000, unixNow = 1_800_000_000_000) {
    this.#now = now;
    this.#unixOffset = unixNow - now;
  }

  now(): number {
    return this.#now;
  }

  unixNow(): number {
    return this.#now + this.#unixOffset;
  }

  schedule(at: number, callback: () => void): () => void {
    const wakeUp = { at: Math.max(at, this.#now), order: this.#order++, callback };
    if (at !== Infinity) this.#wakeUps.add(wakeUp);
    return () => void this.#wakeUps.delete(wakeUp);
  }

  /** Sets the machine's clock by `ms`, backwards too; `now()` does not move. */
  stepUnix(ms: number): void {
    this.#unixOffset += ms;
  }

  /** How many wake-ups are outstanding. */
  get pending(): number {
    return this.#wakeUps.size;
  }

  /** Moves `ms` on and runs what falls due on the way, what that schedules included. */
  advance(ms: number): void {
    const until = this.#now + ms;
    for (let calls = 0;; calls++) {
      if (calls > MAX_CALLBACKS) throw new Error("The callbacks keep scheduling each other");
      const next = this.#next();
      if (next === undefined || next.at > until) break;
      this.#run(next);
    }
    this.#now = until;
  }

  /**
   * Runs wake-ups one by one until `condition` holds.
   *
   * @param maxMs How far to go at most.
   * @returns The milliseconds it took, or `undefined` if it never held.
   */
  advanceUntil(condition: () => boolean, maxMs: number): number | undefined {
    const startedAt = this.#now;
    const until = startedAt + maxMs;
    for (let calls = 0; !condition(); calls++) {
      if (calls > MAX_CALLBACKS) throw new Error("The callbacks keep scheduling each other");
      const next = this.#next();
      if (next === undefined || next.at > until) {
        this.#now = until;
        return undefined;
      }
      this.#run(next);
    }
    return this.#now - startedAt;
  }

  #run(wakeUp: WakeUp): void {
    this.#wakeUps.delete(wakeUp);
    this.#now = wakeUp.at;
    wakeUp.callback();
  }

  #next(): WakeUp | undefined {
    let first: WakeUp | undefined;
    for (const wakeUp of this.#wakeUps) {
      if (
        first === undefined || wakeUp.at < first.at ||
        (wakeUp.at === first.at && wakeUp.order < first.order)
      ) first = wakeUp;
    }
    return first;
  }
}
