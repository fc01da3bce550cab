import { deepStrictEqual, strictEqual, throws } from "node:assert/strict";
import { DEFAULT_LIMITS, lowerLimits } from "../../lib/session/limits.ts";

Deno.test("lowerLimits() lowers what is named and leaves the rest", () => {
  deepStrictEqual(lowerLimits({}), DEFAULT_LIMITS);
  deepStrictEqual(lowerLimits({ rekeyAfterMs: 5_000 }), { ...DEFAULT_LIMITS, rekeyAfterMs: 5_000 });
  strictEqual(lowerLimits({ ofALaterVersion: 1 }).rekeyAfterMs, 120_000);
});

/** What is refused, and why. */
const REFUSED: [lowered: Record<string, number>, why: string][] = [
  [{ rekeyAfterMs: 120_001 }, "raised"],
  [{ rejectAfterMessages: 2 ** 50 + 2 }, "raised"],
  [{ keepaliveMs: 0 }, "zero"],
  [{ keepaliveMs: 0.5 }, "not whole"],
  [{ rekeyAfterMessages: 15 }, "so few that nothing but handshakes would pass"],
  [{ rejectAfterMs: 60_000 }, "rejected before it is replaced"],
  [{ wipeAfterMs: 100_000 }, "wiped before it is rejected"],
  [{ rejectAfterMessages: 100 }, "rejected before it is replaced, by count"],
];

Deno.test("lowerLimits() raises nothing and keeps the order", () => {
  for (const [lowered, why] of REFUSED) throws(() => lowerLimits(lowered), RangeError, why);
});
