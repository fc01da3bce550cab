/**
 * How far apart two words are, to suggest the key that was meant.
 *
 * @module
 */

/**
 * Levenshtein distance: the fewest single-character insertions, deletions and replacements that
 * turn one word into the other.
 *
 * @param a Any text.
 * @param b Any text.
 * @returns 0 exactly if both are equal; at most the longer length.
 *
 * @example
 * ```ts
 * import { strictEqual } from "node:assert/strict";
 * strictEqual(editDistance("lisen", "listen"), 1);
 * ```
 */
export function editDistance(a: string, b: string): number {
  let above = Array.from({ length: b.length + 1 }, (_, column) => column);
  for (let row = 1; row <= a.length; row++) {
    const current = [row];
    for (let column = 1; column <= b.length; column++) {
      const replaced = above[column - 1]! + (a[row - 1] === b[column - 1] ? 0 : 1);
      current.push(Math.min(replaced, above[column]! + 1, current[column - 1]! + 1));
    }
    above = current;
  }
  return above[b.length]!;
}

/**
 * The candidate that a mistyped word most likely stands for.
 *
 * @param word What was typed; upper and lower case, `-` and `_` make no difference.
 * @param candidates What would have been right.
 * @returns The nearest one, the first of equals; `undefined` only without candidates.
 */
export function nearestOf(word: string, candidates: readonly string[]): string | undefined {
  const plain = (text: string) => text.toLowerCase().replaceAll(/[-_]/g, "");
  let nearest: string | undefined;
  let least = Infinity;
  for (const candidate of candidates) {
    const distance = editDistance(plain(word), plain(candidate));
    if (distance < least) {
      least = distance;
      nearest = candidate;
    }
  }
  return nearest;
}
