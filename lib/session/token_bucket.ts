/**
 * Token buckets: so many per second, after so many at once. Time is passed in.
 *
 * @module
 */

/** How fast a bucket fills, and how much it holds. */
export interface BucketRate {
  /** Tokens that come back per second. */
  readonly perSecond: number;
  /** Tokens of a full bucket. */
  readonly burst: number;
}

/** One bucket, full at first. */
export class TokenBucket {
  readonly #rate: BucketRate;
  #tokens: number;
  #filledAt = -Infinity;

  /** Starts full. */
  constructor(rate: BucketRate) {
    this.#rate = rate;
    this.#tokens = rate.burst;
  }

  /** Whether {@linkcode take} would succeed at this moment. */
  has(now: number): boolean {
    const { perSecond, burst } = this.#rate;
    if (now > this.#filledAt) {
      const gained = (now - this.#filledAt) / 1000 * perSecond;
      this.#tokens = Math.min(burst, this.#tokens + gained);
      this.#filledAt = now;
    }
    return this.#tokens >= 1;
  }

  /** Takes a token, if there is one. A refusal costs nothing. */
  take(now: number): boolean {
    if (!this.has(now)) return false;
    this.#tokens--;
    return true;
  }
}

/**
 * A bucket for each of many keys that strangers choose. Keeps at most `capacity` of them; past it
 * the one that was asked for longest ago goes, which is full again if keys do not come faster than
 * `capacity` in the time that a bucket takes to fill: whoever brings many keys then gains nothing
 * for one of them, and takes nothing from another.
 */
export class TokenBuckets {
  readonly #rate: BucketRate;
  readonly #capacity: number;
  /** In the order in which they were last asked for. */
  readonly #byKey = new Map<string, TokenBucket>();

  /** @param capacity At least 1. */
  constructor(rate: BucketRate, capacity: number) {
    this.#rate = rate;
    this.#capacity = capacity;
  }

  /** How many are kept. */
  get size(): number {
    return this.#byKey.size;
  }

  /** Takes a token of a key, if there is one. */
  take(key: string, now: number): boolean {
    const bucket = this.#byKey.get(key) ?? new TokenBucket(this.#rate);
    this.#byKey.delete(key);
    this.#byKey.set(key, bucket);
    if (this.#byKey.size > this.#capacity) {
      const [oldest] = this.#byKey.keys();
      this.#byKey.delete(oldest!);
    }
    return bucket.take(now);
  }
}
