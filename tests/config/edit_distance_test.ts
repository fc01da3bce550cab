/**
 * The distance between words, and the word that was meant.
 *
 * @module
 */

import { strictEqual } from "node:assert/strict";
import fc from "fast-check";
import { editDistance, nearestOf } from "../../lib/config/edit_distance.ts";

Deno.test("editDistance() counts the changes between two words", () => {
  const rows: [string, string, number, string][] = [
    ["", "", 0, "nothing to change"],
    ["", "abc", 3, "three inserted"],
    ["abc", "", 3, "three deleted"],
    ["lisen", "listen", 1, "one inserted"],
    ["ranch", "range", 2, "two replaced"],
    ["kitten", "sitting", 3, "the book's example"],
  ];
  for (const [a, b, distance, why] of rows) strictEqual(editDistance(a, b), distance, why);
});

Deno.test("editDistance() agrees with its recursive definition", () => {
  const naive = (a: string, b: string): number => {
    if (!a || !b) return a.length + b.length;
    const [restA, restB] = [a.slice(1), b.slice(1)];
    return Math.min(
      naive(restA, restB) + (a[0] === b[0] ? 0 : 1),
      naive(restA, b) + 1,
      naive(a, restB) + 1,
    );
  };
  const word = fc.string({ unit: fc.constantFrom("a", "b", "c"), maxLength: 5 });
  fc.assert(fc.property(word, word, (a, b) => editDistance(a, b) === naive(a, b)));
});

Deno.test("nearestOf() finds the word that was meant", () => {
  const keys = ["listen", "udpPort", "name", "range"];
  strictEqual(nearestOf("udp-port", keys), "udpPort", "hyphens and case make no difference");
  strictEqual(nearestOf("lsiten", keys), "listen");
  strictEqual(nearestOf("nmae", keys), "name");
  strictEqual(nearestOf("x", []), undefined);
});
