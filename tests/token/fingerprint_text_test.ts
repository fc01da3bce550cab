/**
 * What a camera reads, and what it is taken for.
 *
 * @module
 */

import { strictEqual, throws } from "node:assert/strict";
import fc from "fast-check";
import { fingerprintHex, fingerprintWords } from "../../lib/token/fingerprint.ts";
import { fingerprintText, judgeFingerprint } from "../../lib/token/fingerprint_text.ts";

const NODE_ID = "0123456789abcdef".repeat(4);
const OTHER = NODE_ID.slice(0, -1) + "e";
const OTHER_WORDS = fingerprintWords("1" + NODE_ID.slice(1));

Deno.test("fingerprintText() is the scheme and all digits", () => {
  strictEqual(fingerprintText(NODE_ID), `tunnelmesh:${NODE_ID}`);
  throws(() => fingerprintText(NODE_ID.slice(1)), RangeError);
});

/** Text, what it is taken for, why. */
const TEXTS: [text: string, verdict: ReturnType<typeof judgeFingerprint>, why: string][] = [
  [fingerprintText(NODE_ID), "match", "a QR code"],
  [`  ${fingerprintText(NODE_ID).toUpperCase()}\n`, "match", "as some cameras give it"],
  [NODE_ID, "match", "hex"],
  [fingerprintHex(NODE_ID), "match", "hex in groups"],
  [NODE_ID.match(/../g)!.join(":"), "match", "hex with colons"],
  [fingerprintWords(NODE_ID), "match", "words"],
  [fingerprintWords(NODE_ID).toUpperCase().replaceAll(" ", "\n "), "match", "words, line by line"],
  [fingerprintWords(NODE_ID).replaceAll(" ", ", "), "match", "words with commas"],
  [fingerprintText(OTHER), "other", "the last digit differs"],
  [OTHER_WORDS, "other", "other words"],
  [fingerprintWords(NODE_ID).split(" ").reverse().join(" "), "other", "words in another order"],
  ["", "unreadable", "nothing"],
  [NODE_ID.slice(0, 63), "unreadable", "a part of the digits must not do"],
  [NODE_ID + "0", "unreadable", "one too many"],
  [fingerprintWords(NODE_ID).split(" ").slice(1).join(" "), "unreadable", "eleven words"],
  [`${fingerprintWords(NODE_ID)} zoo`, "unreadable", "thirteen words"],
  [`tunnelmesh:${fingerprintWords(NODE_ID)}`, "unreadable", "no such code"],
  [`othermesh:${NODE_ID}`, "unreadable", "another scheme"],
  [fingerprintText(NODE_ID) + fingerprintText(NODE_ID), "unreadable", "two codes"],
  [" ".repeat(2000) + NODE_ID, "unreadable", "too long to look at"],
];

Deno.test("judgeFingerprint() takes whole fingerprints in every form", () => {
  for (const [text, verdict, why] of TEXTS) {
    strictEqual(judgeFingerprint(text, NODE_ID), verdict, why);
  }
});

Deno.test("judgeFingerprint() never takes other text for a match, whatever a camera gives", () => {
  const hex = fc.stringMatching(/^[0-9a-f]{64}$/);
  fc.assert(fc.property(fc.oneof(fc.string(), fc.string({ unit: "binary" }), hex), (text) => {
    if (text.toLowerCase().includes(NODE_ID)) return;
    strictEqual(judgeFingerprint(text, NODE_ID) === "match", false);
  }));
});
