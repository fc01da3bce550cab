/**
 * HKDF (RFC 5869), which is also the key derivation of Noise (rev. 34 §4.3).
 *
 * @module
 */

import { hkdfSync } from "node:crypto";
import { type HashName, hmac } from "./hash.ts";

/** What goes into HKDF besides the keying material. */
export interface HkdfOptions {
  /**
   * Any length.
   *
   * @default {new Uint8Array(0)}
   */
  readonly salt?: Uint8Array;
  /** What the result is for; any length. */
  readonly info: Uint8Array;
  /**
   * Output length in bytes, at most 255 × 32.
   *
   * @default {32}
   */
  readonly length?: number;
}

const EMPTY = new Uint8Array(0);

/**
 * HKDF-SHA-256.
 *
 * @param ikm Input keying material, borrowed until the call returns.
 * @throws {RangeError} If the length is out of range.
 */
export function hkdf(ikm: Uint8Array, options: HkdfOptions): Uint8Array<ArrayBuffer> {
  const { salt = EMPTY, info, length = 32 } = options;
  return hkdfWith("SHA256", { ikm, salt, info, length });
}

/** HKDF over either of Noise's hashes, all inputs given. */
export function hkdfWith(
  name: HashName,
  input: { ikm: Uint8Array; salt: Uint8Array; info: Uint8Array; length: number },
): Uint8Array<ArrayBuffer> {
  const { ikm, salt, info, length } = input;
  if (!Number.isInteger(length) || length < 1 || length > 255 * 32) {
    throw new RangeError(`Cannot derive ${length} bytes: HKDF gives 1 to 8160`);
  }
  if (name === "SHA256") return new Uint8Array(hkdfSync("sha256", ikm, salt, info, length));
  // The native HKDF does not know BLAKE2s, its HMAC does.
  const prk = hmac(name, salt, ikm);
  const output = new Uint8Array(length);
  let block: Uint8Array = EMPTY;
  for (let at = 0; at < length; at += 32) {
    block = hmac(name, prk, block, info, Uint8Array.of(at / 32 + 1));
    output.set(block.subarray(0, length - at), at);
  }
  return output;
}
