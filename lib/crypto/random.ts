/**
 * Random bytes from the operating system.
 *
 * @module
 */

/** Most bytes that one call of `getRandomValues` hands out (Web Cryptography §10.1.1). */
const QUOTA = 65536;

/**
 * Returns fresh random bytes, fit for keys.
 *
 * @param length How many, a non-negative integer.
 */
export function randomBytes(length: number): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(length);
  for (let at = 0; at < length; at += QUOTA) {
    crypto.getRandomValues(bytes.subarray(at, at + QUOTA));
  }
  return bytes;
}
