/**
 * Hashes and MACs: SHA-2 (FIPS 180-4), BLAKE2s (RFC 7693) and HMAC (RFC 2104).
 *
 * Native; keyed BLAKE2s, which the library lacks, is in keyed_blake2s.ts.
 *
 * @module
 */

import { createHmac, hash as hashOnce } from "node:crypto";
import { concatBytes } from "../base/bytes.ts";

/** A hash function that Noise protocols may name. */
export type HashName = "SHA256" | "BLAKE2s";

/** The native library's names. */
export const NATIVE_HASH = { SHA256: "sha256", BLAKE2s: "blake2s256" } as const satisfies Record<
  HashName,
  string
>;

/** SHA-256 of the parts, one after the other; 32 bytes. */
export function sha256(...parts: Uint8Array[]): Uint8Array<ArrayBuffer> {
  return digest("sha256", parts);
}

/** SHA-512 of the parts, one after the other; 64 bytes. */
export function sha512(...parts: Uint8Array[]): Uint8Array<ArrayBuffer> {
  return digest("sha512", parts);
}

/** Unkeyed BLAKE2s of the parts, one after the other; 32 bytes. */
export function blake2s(...parts: Uint8Array[]): Uint8Array<ArrayBuffer> {
  return digest("blake2s256", parts);
}

/** HMAC-SHA-256 of the parts, one after the other; 32 bytes. The key may have any length. */
export function hmacSha256(key: Uint8Array, ...parts: Uint8Array[]): Uint8Array<ArrayBuffer> {
  return hmac("SHA256", key, ...parts);
}

/** HMAC over either of Noise's hashes; 32 bytes. The key may have any length. */
export function hmac(
  name: HashName,
  key: Uint8Array,
  ...parts: Uint8Array[]
): Uint8Array<ArrayBuffer> {
  const state = createHmac(NATIVE_HASH[name], key);
  for (const part of parts) state.update(part);
  return Uint8Array.from(state.digest());
}

function digest(algorithm: string, parts: Uint8Array[]): Uint8Array<ArrayBuffer> {
  // One native call costs less than three: parts are joined first.
  const whole = parts.length === 1 ? parts[0]! : concatBytes(...parts);
  return Uint8Array.from(hashOnce(algorithm, whole, "buffer"));
}
