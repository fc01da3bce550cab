/**
 * One beat of a worker: wait, blocking this thread, until there is something, then deal with it.
 *
 * It is a class of its own, so that a rehearsal can beat it: what waits, asks the clock and looks
 * for commands is as slow as the rest before it is compiled.
 *
 * @module
 */

import { Waiter } from "./waiter.ts";

/** A half of the data plane, as its worker drives it. */
export interface Loop {
  /** Takes what there is; `false` if there is nothing more. `now`: on the control thread's clock. */
  turn(now: number): boolean;
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
  readonly #fds: readonly number[];
  readonly #waiter: Waiter;
  readonly #offset: number;
  readonly #lookForCommands: () => void;
  #hasMore = false;

  /** Waits for nothing yet. */
  constructor(options: PulseOptions) {
    this.#loop = options.loop;
    this.#fds = [options.eventFd, ...options.sources];
    this.#waiter = new Waiter(this.#fds.length);
    this.#offset = options.offset;
    this.#lookForCommands = options.lookForCommands;
  }

  /**
   * Waits until there is something, unless the last turn left something, and takes a turn.
   *
   * @param timeoutMs -1: waits for ever.
   * @returns `false` if the time was up.
   */
  beat(timeoutMs: number): boolean {
    if (this.#hasMore) this.#lookForCommands();
    else if (!this.#waiter.readable(this.#fds, timeoutMs)) return false;
    else if (this.#waiter.isReady(0)) this.#lookForCommands();
    this.#hasMore = this.#loop.turn(this.now);
    return true;
  }

  /** The control thread's clock. */
  get now(): number {
    return performance.now() + this.#offset;
  }
}
