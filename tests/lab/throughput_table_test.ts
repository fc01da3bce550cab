/**
 * The tables of the race say what the figures say.
 *
 * @module
 */

import { deepStrictEqual, match, strictEqual } from "node:assert/strict";
import {
  aimsTable,
  bestPeer,
  figuresTable,
  medianOf,
  type Sample,
  verdictsOf,
} from "../bench/throughput_table.ts";

function samplesOf(columns: Record<string, Sample[]>): Map<string, Sample[]> {
  return new Map(Object.entries(columns));
}

Deno.test("medianOf() takes the middle, and leaves out what failed", () => {
  const rows: [figures: (number | undefined)[], median: number | undefined][] = [
    [[3, 1, 2], 2],
    [[4, 1, 2, 3], 2.5],
    [[5, undefined, 1], 3],
    [[undefined], undefined],
    [[], undefined],
  ];
  for (const [figures, median] of rows) {
    const samples = figures.map((tcp): Sample => tcp === undefined ? {} : { tcp });
    strictEqual(medianOf(samplesOf({ x: samples }), "x", "tcp"), median, figures.join());
  }
});

Deno.test("bestPeer() is neither the cable nor ours, and the least where less is better", () => {
  const samples = samplesOf({
    "raw": [{ tcp: 9000, pingIdle: 0.01 }],
    "wireguard-go": [{ tcp: 2700, pingIdle: 0.5 }],
    "nebula": [{ tcp: 900, pingIdle: 0.4 }],
    "tunnelmesh": [{ tcp: 4000, pingIdle: 0.1 }],
  });
  deepStrictEqual(bestPeer(samples, "tcp"), { name: "wireguard-go", value: 2700 });
  deepStrictEqual(bestPeer(samples, "pingIdle"), { name: "nebula", value: 0.4 });
  strictEqual(bestPeer(samples, "start"), undefined);
});

Deno.test("verdictsOf() judges on the bound as reached, and beyond it as missed", () => {
  const rows: [ours: Sample, word: string, why: string][] = [
    [{ tcp: 1400 }, "pass", "exactly 1.4 times"],
    [{ tcp: 1399 }, "miss", "a little less"],
    [{}, "no figure", "it failed"],
  ];
  for (const [ours, word, why] of rows) {
    const samples = samplesOf({ "wireguard-go": [{ tcp: 1000 }], "tunnelmesh": [ours] });
    strictEqual(verdictsOf(samples)[0]!.word, word, why);
    strictEqual(verdictsOf(samples)[1]!.word, "no figure", "nebula did not run");
  }
  const samples = samplesOf({ tunnelmesh: [{ rssIdle: 110, rssLoaded: 131, lost: 0 }] });
  const words = Object.fromEntries(verdictsOf(samples).map((one) => [one.measure, one.word]));
  deepStrictEqual(
    [words.rssIdle, words.rssLoaded, words.lost, words.cpuBoth],
    ["pass", "miss", "pass", "no figure"],
  );
});

Deno.test("the tables show median, range, ratios and verdict", () => {
  const samples = samplesOf({
    "wireguard-go": [{ tcp: 2000 }],
    "nebula": [{ tcp: 900 }, { tcp: 1000 }],
    "tunnelmesh": [{ tcp: 4000 }, {}],
  });
  const row = /^\| one TCP stream +\|.*$/m.exec(figuresTable(samples))![0];
  match(row, /\| 950 \(900–1000\) +\| 4000, 1 of 2 rounds +\| 2\.00 +\| 4\.21 +\|$/);
  match(aimsTable(samples), /at least 4.5 × nebula \(950\) +\| 4275 Mbit\/s +\| 4000 +\| miss/);
});
