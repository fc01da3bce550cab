/**
 * What a person may type at the question of a pairing.
 *
 * @module
 */

import { deepStrictEqual } from "node:assert/strict";
import { type Answer, answerOf } from "../../lib/cli/pair_screen.ts";

/** A line, what it means at the first question, and at one where 4827 says yes. */
const LINES: [
  line: string,
  first: Answer["kind"] | undefined,
  later: Answer["kind"] | undefined,
][] = [
  ["y", "yes", "late-yes"],
  [" Yes\r", "yes", "late-yes"],
  ["4827", "text", "yes"],
  [" 4827 ", "text", "yes"],
  ["4828", "text", "text"],
  ["48", "text", "text"],
  ["y 4827", "text", "text"],
  ["n", "no", "no"],
  ["NO", "no", "no"],
  ["", undefined, undefined],
  ["  ", undefined, undefined],
  ["yep", "text", "text"],
  ["tunnelmesh:0123", "text", "text"],
];

Deno.test("T35: answerOf() takes no yes that may have been meant for the machine before", () => {
  for (const [line, first, later] of LINES) {
    deepStrictEqual(answerOf(line, undefined)?.kind, first, `"${line}" at the first`);
    deepStrictEqual(answerOf(line, "4827")?.kind, later, `"${line}" at a later one`);
  }
});
