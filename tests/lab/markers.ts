/**
 * Looks for bytes in other bytes, in every spelling in which they could leak.
 *
 * @module
 */

import { Buffer } from "node:buffer";

/** Fewest bytes of a marker: fewer would be found by chance. */
const MIN_BYTES = 12;

/**
 * How bytes could be written: raw, as hex of either case, as base64 and base64url at each of the
 * three places where they could stand in a longer text.
 *
 * @param marker At least 12 bytes.
 * @returns Spelling by name. Of base64, only the characters that depend on the marker alone.
 */
export function spellingsOf(marker: Uint8Array): Map<string, Uint8Array> {
  if (marker.length < MIN_BYTES) throw new RangeError(`Cannot look for ${marker.length} bytes`);
  const spellings = new Map<string, Uint8Array>([["raw", marker]]);
  const add = (name: string, text: string) => spellings.set(name, new TextEncoder().encode(text));
  const hex = [...marker].map((byte) => byte.toString(16).padStart(2, "0")).join("");
  add("hex", hex);
  add("HEX", hex.toUpperCase());
  for (const before of [0, 1, 2]) {
    const padded = new Uint8Array(before + marker.length);
    padded.set(marker, before);
    const whole = btoa(String.fromCharCode(...padded));
    // Six bits a character: skip those that hold bits from before, and those that hold bits after.
    const first = Math.ceil(before * 8 / 6);
    const end = Math.floor(padded.length * 8 / 6);
    const text = whole.slice(first, end);
    add(`base64+${before}`, text);
    add(`base64url+${before}`, text.replaceAll("+", "-").replaceAll("/", "_"));
  }
  return spellings;
}

/**
 * Finds the spellings of markers in bytes.
 *
 * @param haystack Where to look.
 * @param markers What to look for, by a name that may be shown.
 * @returns `NAME as SPELLING` for each found.
 */
export function findMarkers(
  haystack: Uint8Array,
  markers: ReadonlyMap<string, Uint8Array>,
): string[] {
  const buffer = Buffer.from(haystack.buffer, haystack.byteOffset, haystack.byteLength);
  const found: string[] = [];
  for (const [name, marker] of markers) {
    for (const [spelling, bytes] of spellingsOf(marker)) {
      if (buffer.includes(Buffer.from(bytes))) found.push(`${name} as ${spelling}`);
    }
  }
  return found;
}
