/**
 * A node id as text that a camera reads off another screen, and the judgement of what was read.
 *
 * ```text
 * tunnelmesh:0123…cdef        in QR codes: the scheme and all 64 digits
 * 0123 4567 …                 as `fingerprintHex` writes it; blanks, colons and case do not matter
 * ability abandon …           as `fingerprintWords` writes it: all twelve
 * ```
 *
 * What must hold: a part of a fingerprint matches nothing; the words stand for 132 bits, for which
 * nobody finds a second key.
 *
 * @module
 */

import { FINGERPRINT_WORDS, fingerprintHex, fingerprintWords } from "./fingerprint.ts";

/** What the text in a QR code starts with. */
export const FINGERPRINT_SCHEME = "tunnelmesh:";

/** Longest text that is looked at. */
const MAX_TEXT = 1024;

/**
 * A node id as the text of a QR code.
 *
 * @param nodeId 64 lower-case hex digits.
 * @throws {RangeError} when it is anything else.
 */
export function fingerprintText(nodeId: string): string {
  return FINGERPRINT_SCHEME + fingerprintHex(nodeId).replaceAll(" ", "");
}

/**
 * Says whether what was scanned, copied or read aloud is the fingerprint of a node.
 *
 * @param text Text of a QR code, all the words or all the hex digits.
 * @param nodeId 64 lower-case hex digits.
 * @returns `unreadable` if the text is no fingerprint at all, or only a part of one.
 * @throws {RangeError} when `nodeId` is no node id.
 *
 * @example
 * ```ts
 * import { strictEqual } from "node:assert/strict";
 * const nodeId = "0123456789abcdef".repeat(4);
 * strictEqual(judgeFingerprint(fingerprintText(nodeId), nodeId), "match");
 * strictEqual(judgeFingerprint("0123 4567", nodeId), "unreadable");
 * ```
 */
export function judgeFingerprint(text: string, nodeId: string): "match" | "other" | "unreadable" {
  const words = fingerprintWords(nodeId);
  if (text.length > MAX_TEXT) return "unreadable";
  const plain = text.trim().toLowerCase();
  const spelled = plain.split(/[^a-z]+/).filter((word) => word !== "");
  if (/^[a-z\s,-]+$/.test(plain) && spelled.length === FINGERPRINT_WORDS) {
    return spelled.join(" ") === words ? "match" : "other";
  }
  const isCode = plain.startsWith(FINGERPRINT_SCHEME);
  const digits = (isCode ? plain.slice(FINGERPRINT_SCHEME.length) : plain).replace(/[\s:-]/g, "");
  if (!/^[0-9a-f]{64}$/.test(digits)) return "unreadable";
  return digits === nodeId ? "match" : "other";
}
