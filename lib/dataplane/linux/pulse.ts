/**
 * One beat of a worker: wait, blocking this thread, until there is something, then deal with it.
 *
 * It is a class of its own, so that a rehearsal can beat it: what waits, asks the clock and looks
 * for commands is as slow as the rest before it is compiled.
 *
 * @module
 */

import { MonotonicClock } from "../../../ffi/monotonic_clock.ts";
import { Waiter } from "./waiter.ts";

/** All sources: for a turn that was not waited for. */
const EVERYTHING = -1;

/** Ours: what comes so long after the rest hardly has company, so a loop does not look for it. */
export const PAUSE_MS = 1;

/** A half of the data plane, as its worker drives it. */
export interface Loop {
  /**
   * Takes what there is.
   *
   * @param now On the control thread's clock.
   * @param ready Bit i for the source i that has something.
   * @returns `false` if it is worth waiting now.
   */
  turn(now: number, ready: number): boolean;
}

/** What a {@linkcode Pulse} beats with. */
export interface PulseOptions {
  readonly loop: Loop;
  /** Readable when there are commands. */
  readonly eventFd: number;
  /** Readable when the loop has something to do; negative ones are ignored. */
  readonly sources: readonly number[];
  /** From this thread's clock to the control thread's, in ms. */
  readonly offset: number;
  /** Carries out the commands that there are. */
  readonly lookForCommands: () => void;
}

/** Drives a loop. */
export class Pulse {
  readonly #loop: Loop;
  readonly #waiter: Waiter;
  readonly #clock: MonotonicClock;
  readonly #lookForCommands: () => void;
  #hasMore = false;
  #isStopped = false;

  /** Waits for nothing yet. */
  constructor(options: PulseOptions) {
    this.#loop = options.loop;
    this.#waiter = new Waiter([options.eventFd, ...options.sources], "reading");
    this.#clock = new MonotonicClock(performance.now() + options.offset);
    this.#lookForCommands = options.lookForCommands;
  }

  /**
   * Waits until there is something, unless the last turn left something, and takes a turn.
   *
   * @param timeoutMs -1: waits for ever.
   * @returns `false` if the time was up.
   */
  beat(timeoutMs: number): boolean {
    let ready = EVERYTHING;
    if (!this.#hasMore) {
      ready = this.#waiter.wait(timeoutMs);
      if (ready === 0) return false;
    }
    if ((ready & 1) !== 0) this.#lookForCommands();
    this.#hasMore = this.#loop.turn(this.#clock.now, ready >> 1);
    return true;
  }

  /**
   * Beats until the time was up once, or somebody stopped it. The loop is here and not in the worker,
   * who would run it once and so never have it compiled.
   *
   * @param timeoutMs -1: waits for ever.
   */
  run(timeoutMs: number): void {
    while (!this.#isStopped && this.beat(timeoutMs));
  }

  /** Ends {@linkcode run}, now and for good. */
  stop(): void {
    this.#isStopped = true;
  }

  /** Waits no more. Once. */
  close(): void {
    this.#waiter.close();
  }

  /** The control thread's clock. */
  get now(): number {
    return this.#clock.now;
  }
}
