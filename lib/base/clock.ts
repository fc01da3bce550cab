/**
 * Time as something that is passed in, so that tests can own it.
 *
 * @module
 */

/** A source of time and of wake-ups. */
export interface Clock {
  /** Milliseconds on a clock that never steps back; only differences mean anything. */
  now(): number;
  /** Milliseconds since 1970-01-01 UTC; may step when the machine's clock is set. */
  unixNow(): number;
  /**
   * Calls `callback` once, at or after a moment.
   *
   * @param at Moment on the scale of {@linkcode Clock.now}; the past means "as soon as possible".
   * @param callback Called without arguments, never before `schedule` has returned.
   * @returns Cancels the call; harmless afterwards.
   */
  schedule(at: number, callback: () => void): () => void;
}

/** The machine's own clocks. */
export const SYSTEM_CLOCK: Clock = {
  now: () => performance.now(),
  unixNow: () => Date.now(),
  schedule(at, callback) {
    const timer = setTimeout(callback, Math.max(0, at - performance.now()));
    return () => clearTimeout(timer);
  },
};
