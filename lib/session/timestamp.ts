/**
 * Timestamps of initiations: TAI64N, so that a responder takes each initiation once.
 *
 * ```text
 * 2^62 + 10 + unix seconds, u64 big-endian │ nanoseconds u32 big-endian
 * ```
 *
 * A responder takes only a strictly greater one per peer, so a node whose clock starts wrong or
 * steps back would be locked out. Hence a high-water mark on disk, written ahead in steps: every
 * timestamp ever sent lies below it. Ordering is all that matters; nothing trusts the time.
 *
 * @see https://cr.yp.to/libtai/tai64.html
 * @module
 */

import { writeU32Be } from "../base/integers.ts";

/** Length of a timestamp in bytes. */
export const TIMESTAMP_LENGTH = 12;

/** 2^62, and the ten leap seconds by which TAI was ahead in 1970, in two halves. */
const LABEL_HIGH = 0x4000_0000;
const LABEL_LOW = 10;
const NANOSECONDS = 1_000_000_000;
/** How far ahead the mark is written: one write per minute at most, and after each start. */
const STEP_SECONDS = 60;

/** What a {@linkcode TimestampSource} needs. */
export interface TimestampSourceOptions {
  /** Milliseconds since 1970; may step. */
  readonly unixNow: () => number;
  /**
   * The mark that `persist` got last, in unix seconds; 0 on the first start of a node.
   *
   * @default {0}
   */
  readonly mark?: number;
  /**
   * Makes a mark (unix seconds) durable before it returns. If it throws, timestamps go on without
   * it and the next one tries again: a full disk must not end sessions.
   */
  readonly persist?: (mark: number) => void;
}

/** Gives out timestamps, each greater than all before it. */
export class TimestampSource {
  readonly #unixNow: () => number;
  readonly #persist: ((mark: number) => void) | undefined;
  /** The last one given out, or a bound that all must exceed. */
  #seconds: number;
  #nanoseconds = 0;
  #mark: number;

  /** @throws {RangeError} when the mark is not a number of seconds. */
  constructor(options: TimestampSourceOptions) {
    const mark = options.mark ?? 0;
    if (!Number.isSafeInteger(mark) || mark < 0) {
      throw new RangeError(`Cannot use timestamp mark: must be unix seconds, is ${mark}`);
    }
    this.#unixNow = options.unixNow;
    this.#persist = options.persist;
    this.#seconds = mark;
    this.#mark = mark;
  }

  /**
   * Sets a lower bound, such as the coordinator's time: it never sets the clock back.
   *
   * @param unixMs Milliseconds since 1970.
   */
  raise(unixMs: number): void {
    const seconds = Math.floor(unixMs / 1000);
    const nanoseconds = Math.floor((unixMs - seconds * 1000) * 1_000_000);
    if (seconds > this.#seconds || (seconds === this.#seconds && nanoseconds > this.#nanoseconds)) {
      this.#seconds = seconds;
      this.#nanoseconds = nanoseconds;
    }
  }

  /** The next timestamp: 12 bytes, the caller's. */
  next(): Uint8Array {
    // "The sender uses max(clock, last sent + 1)"
    if (++this.#nanoseconds === NANOSECONDS) {
      this.#seconds++;
      this.#nanoseconds = 0;
    }
    this.raise(this.#unixNow());
    if (this.#seconds >= this.#mark) this.#writeAhead();
    return encodeTimestamp(this.#seconds, this.#nanoseconds);
  }

  #writeAhead(): void {
    const mark = this.#seconds + STEP_SECONDS;
    try {
      this.#persist?.(mark);
      this.#mark = mark;
    } catch {
      // Said by whoever persists. The bound on disk stays behind until a later one succeeds.
    }
  }
}

/**
 * Encodes a moment as TAI64N, without regard to leap seconds.
 *
 * @param seconds Unix seconds, `[0, 2**53)`.
 * @param nanoseconds `[0, 10**9)`.
 */
export function encodeTimestamp(seconds: number, nanoseconds: number): Uint8Array {
  const timestamp = new Uint8Array(TIMESTAMP_LENGTH);
  const label = seconds + LABEL_LOW;
  writeU32Be(timestamp, 0, LABEL_HIGH + Math.floor(label / 0x1_0000_0000));
  writeU32Be(timestamp, 4, label);
  writeU32Be(timestamp, 8, nanoseconds);
  return timestamp;
}
