import { deepStrictEqual, ok, strictEqual, throws } from "node:assert/strict";
import fc from "fast-check";
import { compareBytes, toHex } from "../../lib/base/bytes.ts";
import { encodeTimestamp, TimestampSource } from "../../lib/session/timestamp.ts";

const NOON = 1_800_000_000_000;

/** Unix time, TAI64N, why. */
const ENCODED: [seconds: number, nanoseconds: number, hex: string, why: string][] = [
  [0, 0, "400000000000000a00000000", "1970, when TAI was ten seconds ahead"],
  [1, 999_999_999, "400000000000000b3b9ac9ff", "the last nanosecond"],
  [2 ** 32 - 11, 0, "40000000ffffffff00000000", "the low half is full"],
  [2 ** 32 - 10, 0, "400000010000000000000000", "and carries"],
];

Deno.test("encodeTimestamp() gives the external TAI64N format", () => {
  for (const [seconds, nanoseconds, hex, why] of ENCODED) {
    strictEqual(toHex(encodeTimestamp(seconds, nanoseconds)), hex, why);
  }
});

Deno.test("TimestampSource follows the clock", () => {
  let now = NOON + 250;
  const source = new TimestampSource({ unixNow: () => now });
  deepStrictEqual(source.next(), encodeTimestamp(NOON / 1000, 250_000_000));
  now += 1_000;
  deepStrictEqual(source.next(), encodeTimestamp(NOON / 1000 + 1, 250_000_000));
});

Deno.test("TimestampSource.next() is greater than all before it, whatever the clock does", () => {
  const clockStep = fc.oneof(fc.integer({ min: -100_000, max: 100_000 }), fc.constant(0));
  fc.assert(fc.property(fc.array(clockStep, { maxLength: 100 }), (steps) => {
    let now = NOON;
    let mark = 0;
    let source = new TimestampSource({ unixNow: () => now, persist: (m) => mark = m });
    let last = source.next();
    steps.forEach((step, i) => {
      now = Math.max(0, now + step);
      // Every seventh time the node restarts with what is on disk.
      if (i % 7 === 6) {
        source = new TimestampSource({ unixNow: () => now, mark, persist: (m) => mark = m });
      }
      const next = source.next();
      ok(compareBytes(next, last) > 0, `${toHex(next)} after ${toHex(last)}`);
      last = next;
    });
  }));
});

Deno.test("TimestampSource writes its mark ahead of what it gives out, in steps", () => {
  let now = NOON;
  const marks: number[] = [];
  const source = new TimestampSource({ unixNow: () => now, persist: (m) => marks.push(m) });
  for (let i = 0; i < 1_000; i++) {
    const timestamp = source.next();
    ok(compareBytes(timestamp, encodeTimestamp(marks.at(-1)!, 0)) < 0, "below the mark");
    now += 100;
  }
  ok(marks.length <= 3, `${marks.length} writes in 100 s`);
});

Deno.test("TimestampSource gets in with a clock that was a day back at the restart", () => {
  let mark = 0;
  const persist = (m: number) => void (mark = m);
  const last = new TimestampSource({ unixNow: () => NOON, persist }).next();
  const yesterday = () => NOON - 86_400_000;
  const next = new TimestampSource({ unixNow: yesterday, mark, persist }).next();
  ok(compareBytes(next, last) > 0);
});

Deno.test("TimestampSource.raise() sets a lower bound and never goes back", () => {
  const source = new TimestampSource({ unixNow: () => 0 });
  source.raise(NOON);
  const raised = source.next();
  ok(compareBytes(raised, encodeTimestamp(NOON / 1000, 0)) >= 0);
  source.raise(NOON - 10_000);
  ok(compareBytes(source.next(), raised) > 0);
});

Deno.test("TimestampSource goes on without a disk, and tries again", () => {
  let isFull = true;
  let mark = 0;
  const source = new TimestampSource({
    unixNow: () => NOON,
    persist(m) {
      if (isFull) throw new Error("No space left");
      mark = m;
    },
  });
  const first = source.next();
  isFull = false;
  const second = source.next();
  ok(compareBytes(second, first) > 0);
  ok(mark > NOON / 1000);
});

Deno.test("TimestampSource refuses a mark that is no time", () => {
  for (const mark of [-1, 1.5, NaN, Infinity]) {
    throws(() => new TimestampSource({ unixNow: () => 0, mark }), RangeError);
  }
});
