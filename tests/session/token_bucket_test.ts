/**
 * Token buckets against scripted times, and many of them against keys that strangers choose.
 *
 * @module
 */

import { ok, strictEqual } from "node:assert/strict";
import { TokenBucket, TokenBuckets } from "../../lib/session/token_bucket.ts";

const RATE = { perSecond: 10, burst: 3 };

/** One row per ask, in order: moment in ms, verdict, why. */
const ASKS: [now: number, isThere: boolean, why: string][] = [
  [0, true, "full at first"],
  [0, true, "two left"],
  [0, true, "one left"],
  [0, false, "empty"],
  [99, false, "not yet"],
  [100, true, "one came back: refusals cost nothing"],
  [100, false, "and no more"],
  [50, false, "time does not run back"],
  [10_000, true, "full again"],
  [10_000, true, "two left"],
  [10_000, true, "no more than the burst was saved"],
  [10_000, false, "empty"],
];

Deno.test("TokenBucket.take() gives so many per second after a burst", () => {
  const bucket = new TokenBucket(RATE);
  for (const [now, isThere, why] of ASKS) {
    strictEqual(bucket.has(now), isThere, why);
    strictEqual(bucket.take(now), isThere, why);
  }
});

Deno.test("TokenBucket.take() over a long time gives the rate, whatever the steps", () => {
  for (const step of [0.3, 7, 99, 100, 101, 299]) {
    const bucket = new TokenBucket(RATE);
    let taken = 0;
    for (let now = 0; now <= 60_000; now += step) if (bucket.take(now)) taken++;
    ok(Math.abs(taken - 603) <= 1 || taken <= 60_000 / step + 1, `${step}: ${taken}`);
    ok(taken <= 603, `${step}: ${taken}`);
  }
});

Deno.test("TokenBuckets.take() keeps one bucket per key, and no more than its capacity", () => {
  const buckets = new TokenBuckets(RATE, 100);
  for (let i = 0; i < 3; i++) strictEqual(buckets.take("spent", 0), true);
  strictEqual(buckets.take("spent", 0), false);
  strictEqual(buckets.take("other", 0), true, "another key has its own");
  for (let i = 0; i < 10_000; i++) {
    strictEqual(buckets.take(`key ${i}`, 0), true);
    if (i % 50 === 0) strictEqual(buckets.take("spent", 0), false, "who asks is remembered");
  }
  strictEqual(buckets.size, 100);
});
