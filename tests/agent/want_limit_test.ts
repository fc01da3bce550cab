/**
 * How often the coordinator hears that peers are wanted.
 *
 * @module
 */

import { strictEqual } from "node:assert/strict";
import { WantLimit } from "../../lib/agent/want_limit.ts";

Deno.test("WantLimit takes each peer now and then, and no more of all than the coordinator does", () => {
  const limit = new WantLimit();
  strictEqual(limit.take("a", 0), true);
  strictEqual(limit.take("b", 100), true);
  strictEqual(limit.take("a", 399), false);
  strictEqual(limit.take("a", 400), true);
  strictEqual(limit.take("b", 450), false);
  let taken = 3;
  for (let i = 0; i < 1_000; i++) if (limit.take(`peer ${i}`, 1_000)) taken++;
  strictEqual(taken, 240);
  strictEqual(limit.take("c", 59_999), false);
  strictEqual(limit.take("c", 60_000), true, "the first one is a minute old");
});
