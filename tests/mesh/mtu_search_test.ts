/**
 * The search for what fits a path, against paths that lose echoes.
 *
 * @module
 */

import { deepStrictEqual, ok, strictEqual } from "node:assert/strict";
import fc from "fast-check";
import { MtuSearch } from "../../lib/mesh/mtu_search.ts";
import { seededRandom } from "../fakes/random.ts";

const OVERHEAD = 60;
const FULL = 1408;

/** Runs a search over a path; returns what it found, and how many steps and echoes it took. */
function search(
  fits: number,
  options: { loss?: number; seed?: number; isDoubtful?: boolean } = {},
) {
  const { loss = 0, seed = 1, isDoubtful = false } = options;
  const random = seededRandom(seed);
  const one = new MtuSearch({ wanted: FULL, overhead: OVERHEAD, isDoubtful });
  let steps = 0;
  let echoes = 0;
  for (let sizes = one.step(); sizes !== undefined; sizes = one.step()) {
    ok(sizes.length > 0 && sizes.length < 25, `${sizes}`);
    deepStrictEqual([...sizes], [...sizes].sort((a, b) => b - a), "largest first");
    steps++;
    echoes += sizes.length;
    for (const size of sizes) if (size <= fits && random() >= loss) one.answered(size);
  }
  return { found: one.proven, steps, echoes };
}

Deno.test("MtuSearch needs one echo where the wanted size fits", () => {
  deepStrictEqual(search(FULL), { found: FULL, steps: 1, echoes: 1 });
  deepStrictEqual(search(9000), { found: FULL, steps: 1, echoes: 1 });
});

Deno.test("MtuSearch finds any size exactly, in a dozen steps", () => {
  for (let fits = 64; fits <= FULL; fits++) {
    const { found, steps, echoes } = search(fits, { isDoubtful: fits % 2 === 0 });
    strictEqual(found, fits);
    ok(steps <= 13 && echoes <= 130, `${fits}: ${steps} steps, ${echoes} echoes`);
  }
});

Deno.test("MtuSearch concludes nothing where nothing is answered, after few echoes", () => {
  const { found, steps, echoes } = search(0);
  deepStrictEqual([found, steps], [0, 3]);
  ok(echoes <= 5, `${echoes} echoes`);
});

Deno.test("MtuSearch never finds more than fits, and mostly all of it, though echoes are lost", () => {
  let exact = 0;
  let narrow = 0;
  const runs = 300;
  for (let seed = 1; seed <= runs; seed++) {
    const fits = 600 + seed * 7 % 808;
    const { found } = search(fits, { loss: 0.02, seed });
    ok(found <= fits, `seed ${seed}: ${found} of ${fits}`);
    if (found === fits) exact++;
    if (found < fits - 64) narrow++;
  }
  ok(exact > 0.9 * runs, `${exact} of ${runs} exact`);
  ok(narrow < 0.02 * runs, `${narrow} of ${runs} much too small`);
});

Deno.test("MtuSearch ends, whatever is answered", () => {
  const answers = fc.array(fc.array(fc.integer({ min: 0, max: 2000 }), { maxLength: 5 }));
  fc.assert(fc.property(answers, fc.integer({ min: 200, max: 9000 }), (answers, wanted) => {
    const one = new MtuSearch({ wanted, overhead: OVERHEAD });
    let steps = 0;
    while (one.step() !== undefined) {
      for (const size of answers[steps] ?? []) one.answered(size);
      ok(++steps < 40);
    }
    ok(one.proven <= wanted, "what was not asked for is not found");
  }));
});
