/**
 * What the trie promises beyond what AllowedIps asks of it.
 *
 * @module
 */

import { deepStrictEqual, strictEqual } from "node:assert/strict";
import { find, insert, newTrie, overlapping, remove } from "../../lib/route/trie.ts";

/** An IPv4 prefix as words. */
function words(w0: number, length: number) {
  return { w0: w0 >>> 0, w1: 0, w2: 0, w3: 0, length };
}

const TEN = 0x0a00_0000;

Deno.test("remove() takes prefixes that are not there, and leaves the others", () => {
  const trie = newTrie<string>();
  insert(trie, words(TEN, 8), "a");
  insert(trie, words(TEN + 0x0001_0000, 16), "b");
  remove(trie, words(TEN, 7));
  remove(trie, words(TEN, 9));
  remove(trie, words(TEN + 0x0100_0000, 8));
  remove(trie, words(TEN + 0x0003_0000, 16));
  remove(trie, words(TEN, 32));
  strictEqual(find(trie, TEN + 1, 0, 0, 0), "a");
  strictEqual(find(trie, TEN + 0x0001_0001, 0, 0, 0), "b");
});

Deno.test("remove() leaves no node behind", () => {
  const trie = newTrie<string>();
  const prefixes = [words(TEN, 8), words(TEN, 16), words(TEN + 1, 32), words(TEN + 2, 32)];
  for (const order of [prefixes, prefixes.toReversed()]) {
    prefixes.forEach((prefix) => insert(trie, prefix, "a"));
    for (const prefix of order) remove(trie, prefix);
    deepStrictEqual([trie.zero, trie.one, trie.value], [undefined, undefined, undefined]);
  }
});

Deno.test("overlapping() goes from the shortest holder to all that lies inside", () => {
  const trie = newTrie<string>();
  insert(trie, words(0, 0), "all");
  insert(trie, words(TEN, 8), "ten");
  insert(trie, words(TEN + 0x0001_0000, 16), "inside");
  insert(trie, words(TEN + 0x0100_0000, 8), "beside");
  const values = (w0: number, length: number) =>
    [...overlapping(trie, words(w0, length))].map((node) => node.value);
  deepStrictEqual(values(TEN, 8), ["all", "ten", "inside"]);
  deepStrictEqual(values(TEN + 0x0002_0000, 16), ["all", "ten"]);
  deepStrictEqual(values(0x0b00_0000, 32), ["all", "beside"]);
});
