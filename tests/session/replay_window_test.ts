import { deepStrictEqual, strictEqual } from "node:assert/strict";
import fc from "fast-check";
import { REPLAY_WINDOW_SIZE, ReplayWindow } from "../../lib/session/replay_window.ts";

const W = REPLAY_WINDOW_SIZE;
const RING = 16_384; // counters this far apart share one bit of the ring

/** One row per datagram, in arrival order: counter, expected verdict, why. */
const ARRIVALS: [counter: number, accepted: boolean, why: string][] = [
  [0, true, "the first counter"],
  [0, false, "replayed"],
  [9, true, "a gap ahead"],
  [8, true, "late inside the gap"],
  [8, false, "late and replayed"],
  [W + 8, true, "slides the window to its edge"],
  [9, false, "on the edge, already seen"],
  [10, true, "one inside the edge, first time"],
  [8, false, "one behind the edge"],
  [4 * W, true, "jumps past the whole ring"],
  [W + 8, false, "everything older is gone"],
  [3 * W + 1, true, "the new trailing edge"],
  [3 * W, false, "one behind the new edge"],
  [4 * W + 1, true, "in order again"],
  [4 * W + RING + 2, true, "one whole ring later"],
  [4 * W + RING + 1, true, "its bit was cleared on the way"],
  [4 * W + RING + 31, true, "across a block"],
  [4 * W + RING + 33, true, "and the next"],
  [4 * W + RING + 33, false, "replayed at the head"],
  [2 ** 50, true, "far beyond 32 bits"],
  [2 ** 50 - W + 1, true, "the edge far beyond 32 bits"],
  [2 ** 50 - W, false, "one behind it"],
  [2 ** 50, false, "replayed far beyond 32 bits"],
];

Deno.test("ReplayWindow.accept() judges a scripted arrival order (T22, T23)", () => {
  const window = new ReplayWindow();
  for (const [counter, accepted, why] of ARRIVALS) {
    strictEqual(window.mayAccept(counter), accepted, why);
    strictEqual(window.mayAccept(counter), accepted, `${why}, asked again`);
    strictEqual(window.accept(counter), accepted, why);
  }
});

Deno.test("ReplayWindow holds exactly 8192 counters", () => {
  strictEqual(W, 8192);
  const window = new ReplayWindow();
  window.accept(W * 3);
  let accepted = 0;
  for (let counter = W * 3; counter >= 0; counter--) if (window.accept(counter)) accepted++;
  strictEqual(accepted, W - 1, "all but the newest, which was there");
});

/** Obviously correct and obviously slow; the property below compares against it. */
class NaiveWindow {
  #seen = new Set<number>();
  #newest = 0;
  accept(counter: number): boolean {
    if (this.#newest - counter >= W || this.#seen.has(counter)) return false;
    this.#seen.add(counter);
    this.#newest = Math.max(this.#newest, counter);
    return true;
  }
}

// Who can choose the order: anybody on the way, by holding and repeating sealed datagrams.
Deno.test("ReplayWindow.accept() agrees with the naive window on any order (T23)", () => {
  const step = fc.oneof(
    fc.integer({ min: -W - 40, max: W + 40 }),
    fc.integer({ min: -40, max: 40 }),
    fc.constantFrom(W - 1, W, W + 1, -W, 1 - W, RING - 1, RING, RING + 1, RING - W),
  );
  fc.assert(
    fc.property(fc.array(step, { maxLength: 400 }), (steps) => {
      const fast = new ReplayWindow();
      const naive = new NaiveWindow();
      let at = 0;
      const verdicts = steps.map((step) => {
        at = Math.max(0, at + step);
        return [at, fast.accept(at), naive.accept(at)] as const;
      });
      deepStrictEqual(verdicts.map((v) => v[1]), verdicts.map((v) => v[2]));
    }),
    { numRuns: 200 },
  );
});
