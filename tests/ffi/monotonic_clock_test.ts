import { ok } from "node:assert/strict";
import { MonotonicClock } from "../../ffi/monotonic_clock.ts";

/** What either clock may round away. */
const TOLERANCE_MS = 1;

Deno.test("MonotonicClock runs as performance.now() does, from the value given on", async () => {
  const start = 5_000_000.25;
  const before = performance.now();
  const clock = new MonotonicClock(start);
  const after = performance.now();
  // Over more than a second, so that the seconds count on at least once.
  for (let i = 0; i < 21; i++) {
    const from = performance.now();
    const shown = clock.now - start;
    const to = performance.now();
    const [least, most] = [from - after - TOLERANCE_MS, to - before + TOLERANCE_MS];
    ok(shown >= least && shown <= most, `${shown} ms, and not ${least} to ${most}`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
});

Deno.test("MonotonicClock.now never goes back, and starts no earlier than told", () => {
  const clock = new MonotonicClock(-7);
  let latest = -7;
  let differs = 0;
  for (let i = 0; i < 100_000; i++) {
    const { now } = clock;
    if (now < latest) throw new Error(`${now} after ${latest}`);
    if (now > latest) differs++;
    latest = now;
  }
  ok(differs > 100, "it shows far less than a millisecond");
});
