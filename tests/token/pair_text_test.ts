import { strictEqual } from "node:assert/strict";
import fc from "fast-check";
import { fingerprintHex, fingerprintWords } from "../../lib/token/fingerprint.ts";
import { fingerprintText } from "../../lib/token/fingerprint_text.ts";
import {
  judgePairText,
  type PairJudgement,
  pairText,
  type PairView,
} from "../../lib/token/pair_text.ts";

const LEFT = "0123456789abcdef".repeat(4);
const RIGHT = "fedcba9876543210".repeat(4);
const MALLORY = "0".repeat(64);
const HASH = new Uint8Array(32).fill(7);

/** What the left machine sees when it meets another one. */
function left(peerNodeId: string, handshakeHash = HASH): PairView {
  return { ownNodeId: LEFT, peerNodeId, handshakeHash };
}

/** What the right machine's screen shows when it meets another one. */
function onRight(peerNodeId: string, handshakeHash = HASH): string {
  return pairText({ ownNodeId: RIGHT, peerNodeId, handshakeHash });
}

const OTHER_HASH = new Uint8Array(32).fill(8);

/** What is given to the left machine, which has met right; the judgement, why. */
const ROWS: [text: string, judgement: PairJudgement, why: string][] = [
  [onRight(LEFT), "match", "the other screen, of this handshake"],
  [pairText(left(RIGHT)), "own-screen", "this very screen, scanned by mistake, proves nothing"],
  [`  ${onRight(LEFT).toUpperCase()}\n`, "match", "blanks around it and case do not matter"],
  [onRight(LEFT, OTHER_HASH), "other", "this machine, but in another handshake"],
  [onRight(MALLORY, OTHER_HASH), "other", "right has met somebody else"],
  [onRight(MALLORY), "other", "a third machine under the code of this handshake"],
  [fingerprintText(RIGHT), "match", "the other machine's fingerprint"],
  [fingerprintHex(RIGHT), "match", "the same in hex"],
  [fingerprintWords(RIGHT), "match", "the same in words"],
  [fingerprintText(LEFT), "other", "this machine's own fingerprint proves nothing"],
  [fingerprintText(MALLORY), "other", "a third machine's"],
  [onRight(LEFT).slice(0, -1), "unreadable", "a part of the text"],
  [onRight(LEFT) + "0", "unreadable", "more than the text"],
  [fingerprintHex(RIGHT).slice(0, 39), "unreadable", "a part of the fingerprint"],
  ["", "unreadable", "nothing"],
];

Deno.test("judgePairText() takes what proves this handshake or the other key, and nothing else", () => {
  for (const [text, judgement, why] of ROWS) {
    strictEqual(judgePairText(text, left(RIGHT)), judgement, why);
  }
});

Deno.test("judgePairText() finds out somebody in between, whatever is scanned of the other screen", () => {
  // Left has met mallory, right has met mallory, in two handshakes.
  for (
    const text of [onRight(MALLORY, OTHER_HASH), fingerprintText(RIGHT), fingerprintWords(RIGHT)]
  ) {
    strictEqual(judgePairText(text, left(MALLORY)), "other", text);
  }
});

Deno.test("judgePairText() says unreadable to any text that is no fingerprint", () => {
  // Whoever prints a QR code can send these.
  fc.assert(fc.property(fc.string({ maxLength: 120 }), (text) => {
    strictEqual(judgePairText(text, left(RIGHT)), "unreadable");
    strictEqual(judgePairText(`tunnelmesh:${text}`, left(RIGHT)), "unreadable");
  }));
});
