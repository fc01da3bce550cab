/**
 * Node ids as people see them.
 *
 * @module
 */

import { notStrictEqual, strictEqual, throws } from "node:assert/strict";
import { fingerprintHex, fingerprintWords } from "../../lib/token/fingerprint.ts";

const NODE_ID = "0123456789abcdef".repeat(4);

Deno.test("fingerprintHex() shows all 64 digits in groups of four", () => {
  strictEqual(fingerprintHex(NODE_ID), Array(4).fill("0123 4567 89ab cdef").join(" "));
});

/** Node id, its words, why. First and last word of the list are numbers 0 and 2047. */
const WORDS: [nodeId: string, words: string, why: string][] = [
  ["0".repeat(64), Array(12).fill("abandon").join(" "), "all zeros"],
  ["f".repeat(64), Array(12).fill("zoo").join(" "), "all ones"],
  ["002".padEnd(64, "0"), "ability" + " abandon".repeat(11), "the 11th bit ends the first word"],
  ["001ff8".padEnd(64, "0"), "abandon zone" + " abandon".repeat(10), "bits 11 to 21: 2046"],
  [
    "0".repeat(32) + "1".padEnd(32, "f"),
    "abandon ".repeat(11) + "ability",
    "the 132nd bit ends it",
  ],
];

Deno.test("fingerprintWords() writes 11 bits per word", () => {
  for (const [nodeId, words, why] of WORDS) strictEqual(fingerprintWords(nodeId), words, why);
});

Deno.test("fingerprintWords() differs where the first 132 bits differ", () => {
  const words = fingerprintWords(NODE_ID);
  for (let at = 0; at < 33; at++) {
    const other = NODE_ID.slice(0, at) + (NODE_ID[at] === "0" ? "1" : "0") + NODE_ID.slice(at + 1);
    notStrictEqual(fingerprintWords(other), words, `digit ${at}`);
  }
});

Deno.test("fingerprintHex() and fingerprintWords() refuse what is no node id", () => {
  for (const text of ["", NODE_ID.slice(1), NODE_ID + "0", NODE_ID.toUpperCase(), "g".repeat(64)]) {
    throws(() => fingerprintHex(text), RangeError);
    throws(() => fingerprintWords(text), RangeError);
  }
});
