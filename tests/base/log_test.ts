/**
 * Lines of the log.
 *
 * @module
 */

import { deepStrictEqual, match, ok, strictEqual } from "node:assert/strict";
import {
  isLogLevel,
  LOG_LEVELS,
  type LogFields,
  type LogLevel,
  logOf,
  startLog,
} from "../../lib/base/log.ts";

function linesOf(level: LogLevel, body: () => void, hasColour = false): string[] {
  const lines: string[] = [];
  startLog({ level, write: (line) => lines.push(line), hasColour });
  body();
  return lines;
}

Deno.test("logOf() writes time, level, area, message and fields on one line", () => {
  const [line] = linesOf("info", () => {
    logOf("mesh").warning("Peer is silent", { peer: "laptop", endpoint: "[::1]:5", count: 3 });
  });
  match(line!, /^\d{4}-\d\d-\d\dT[\d:.]{12}Z warning mesh: /);
  ok(line!.endsWith(" Peer is silent peer=laptop endpoint=[::1]:5 count=3\n"), line);
});

Deno.test("startLog() drops what is below its level", () => {
  for (const [i, level] of LOG_LEVELS.entries()) {
    const lines = linesOf(level, () => {
      for (const each of LOG_LEVELS) logOf("test")[each](`at ${each}`);
    });
    deepStrictEqual(
      lines.map((line) => line.trim().split(" ").at(-1)),
      LOG_LEVELS.slice(i),
      level,
    );
  }
});

Deno.test("startLog() colours levels only where it is asked to", () => {
  const plain = linesOf("info", () => logOf("test").info("hello"));
  const coloured = linesOf("info", () => logOf("test").info("hello"), true);
  ok(!plain[0]!.includes("\x1b"));
  ok(coloured[0]!.includes("\x1b[32minfo\x1b[0m"));
});

/** Values that remote parties choose: value, how it is written, why. */
const VALUES: [value: string, written: string, why: string][] = [
  ["laptop-2", "laptop-2", "plain words stay bare"],
  ["", '""', "an empty value is seen"],
  ["a b", '"a b"', "a space would look like the next field"],
  ["a peer=b", '"a peer=b"', "so would a whole field"],
  ["x\n2026 error forged", '"x\\n2026 error forged"', "one line stays one line"],
  ["\x1b[2J", '"\\u001b[2J"', "no command reaches the terminal"],
  ["\x9b2J", '"\\u009b2J"', "nor one in the C1 range"],
  ["a\u202eb", '"a\\u202eb"', "nor text that turns its direction"],
];

Deno.test("logOf() writes a value so that it stays one value", () => {
  for (const [value, written, why] of VALUES) {
    const [line] = linesOf("info", () => logOf("test").info("Joined", { name: value }));
    ok(line!.endsWith(` Joined name=${written}\n`), why + ": " + line);
  }
});

Deno.test("logOf() leaves out undefined fields and withholds what is no plain value (T36)", () => {
  const smuggled = { peer: undefined, reason: new Uint8Array([1, 2, 3]) } as unknown as LogFields;
  const [line] = linesOf("info", () => logOf("test").info("Tried", smuggled));
  ok(line!.endsWith(" Tried reason=(withheld)\n"), line);
});

Deno.test("logOf() leaves braces in a message alone", () => {
  const [line] = linesOf("info", () => logOf("test").info("Got {peer}", { peer: "x" }));
  ok(line!.includes("Got {peer} peer=x"), line);
});

Deno.test("isLogLevel() knows the levels and nothing else", () => {
  for (const level of LOG_LEVELS) ok(isLogLevel(level));
  for (const text of ["", "Info", "trace", "toString"]) strictEqual(isLogLevel(text), false, text);
});
