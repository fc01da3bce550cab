/**
 * A node id for people: as groups of hex digits to compare by eye, as words to read aloud.
 *
 * The words are the first 132 bits, 11 bits each, as indices into the English list of BIP-39; there
 * is no checksum word, since they are compared and never typed in.
 *
 * @module
 */

import { wordlist } from "@scure/bip39/wordlists/english.js";

/** Number of words. */
export const FINGERPRINT_WORDS = 12;
/** Hex digits in a group. */
export const FINGERPRINT_GROUP = 4;

const BITS_PER_WORD = 11;

/**
 * A node id in groups of four hex digits, with spaces between.
 *
 * @param nodeId 64 lower-case hex digits.
 * @throws {RangeError} when it is anything else.
 */
export function fingerprintHex(nodeId: string): string {
  requireNodeId(nodeId);
  const groups: string[] = [];
  for (let at = 0; at < nodeId.length; at += FINGERPRINT_GROUP) {
    groups.push(nodeId.slice(at, at + FINGERPRINT_GROUP));
  }
  return groups.join(" ");
}

/**
 * The start of a node id as twelve words, with spaces between.
 *
 * @param nodeId 64 lower-case hex digits.
 * @throws {RangeError} when it is anything else.
 */
export function fingerprintWords(nodeId: string): string {
  requireNodeId(nodeId);
  // 132 bits are exactly 33 hex digits.
  let bits = 0n;
  for (const digit of nodeId.slice(0, FINGERPRINT_WORDS * BITS_PER_WORD / 4)) {
    bits = bits * 16n + BigInt(parseInt(digit, 16));
  }
  const words: string[] = [];
  for (let i = FINGERPRINT_WORDS - 1; i >= 0; i--) {
    words.push(wordlist[Number((bits >> BigInt(i * BITS_PER_WORD)) & 0x7ffn)]!);
  }
  return words.join(" ");
}

function requireNodeId(nodeId: string): void {
  if (!/^[0-9a-f]{64}$/.test(nodeId)) {
    throw new RangeError("Cannot show node id: it must be 64 lower-case hex digits");
  }
}
