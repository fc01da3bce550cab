/**
 * Byte strings: joining, comparing, and their text forms.
 *
 * Hex and base64 are read strictly: one byte string has exactly one text, so that a text can be
 * compared, logged and looked up as it stands. RFC 4648 §4 (base64), §5 (base64url), §8 (hex).
 *
 * @module
 */

const encoder = new TextEncoder();

/**
 * Joins byte strings.
 *
 * @param parts Copied, in order.
 * @returns A new array.
 */
export function concatBytes(...parts: Uint8Array[]): Uint8Array<ArrayBuffer> {
  let length = 0;
  for (const part of parts) length += part.length;
  const joined = new Uint8Array(length);
  let offset = 0;
  for (const part of parts) {
    joined.set(part, offset);
    offset += part.length;
  }
  return joined;
}

/**
 * Compares two byte strings without stopping at the first difference, so that the time taken tells
 * nothing about secret contents. The lengths are not secret.
 *
 * @returns `true` if both have the same length and bytes.
 */
export function equalBytes(a: Uint8Array, b: Uint8Array): boolean {
  if (a.length !== b.length) return false;
  let difference = 0;
  for (let i = 0; i < a.length; i++) difference |= a[i]! ^ b[i]!;
  return difference === 0;
}

/**
 * Orders two byte strings by value, first byte most significant; a prefix comes before what it
 * begins. Not for secrets: it stops at the first difference.
 *
 * @returns Negative, zero or positive, as `Array.prototype.sort` wants it.
 */
export function compareBytes(a: Uint8Array, b: Uint8Array): number {
  const shared = Math.min(a.length, b.length);
  for (let i = 0; i < shared; i++) {
    const difference = a[i]! - b[i]!;
    if (difference !== 0) return difference;
  }
  return a.length - b.length;
}

/**
 * Reports whether there is nothing but zeros, which is no key. Looks at every byte, so that the time
 * taken tells nothing about a secret.
 */
export function isAllZero(bytes: Uint8Array): boolean {
  let any = 0;
  for (const byte of bytes) any |= byte;
  return any === 0;
}

/** Overwrites a secret with zeros. Copies that the runtime made are out of reach. */
export function wipe(bytes: Uint8Array): void {
  bytes.fill(0);
}

/** Encodes text as UTF-8. */
export function utf8(text: string): Uint8Array<ArrayBuffer> {
  return encoder.encode(text);
}

/** Writes bytes as lower-case hex digits. */
export function toHex(bytes: Uint8Array): string {
  return bytes.toHex();
}

/**
 * Reads hex digits, lower or upper case.
 *
 * @throws {SyntaxError} If the text holds anything else, or half a byte.
 */
export function fromHex(text: string): Uint8Array<ArrayBuffer> {
  if (text.length % 2 !== 0 || !/^[0-9a-fA-F]*$/.test(text)) {
    throw new SyntaxError("Cannot read hex: an even number of hex digits is needed");
  }
  return Uint8Array.fromHex(text);
}

/** Writes bytes as base64 with padding. */
export function toBase64(bytes: Uint8Array): string {
  return bytes.toBase64();
}

/**
 * Reads base64.
 *
 * @throws {SyntaxError} If the text is not exactly what {@linkcode toBase64} writes.
 */
export function fromBase64(text: string): Uint8Array<ArrayBuffer> {
  return decodeStrictly(text, "base64", toBase64);
}

/** Writes bytes as base64url without padding. */
export function toBase64Url(bytes: Uint8Array): string {
  return bytes.toBase64({ alphabet: "base64url", omitPadding: true });
}

/**
 * Reads base64url.
 *
 * @throws {SyntaxError} If the text is not exactly what {@linkcode toBase64Url} writes.
 */
export function fromBase64Url(text: string): Uint8Array<ArrayBuffer> {
  return decodeStrictly(text, "base64url", toBase64Url);
}

function decodeStrictly(
  text: string,
  alphabet: "base64" | "base64url",
  encode: (bytes: Uint8Array) => string,
): Uint8Array<ArrayBuffer> {
  let bytes: Uint8Array<ArrayBuffer> | undefined;
  try {
    bytes = Uint8Array.fromBase64(text, { alphabet });
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error;
  }
  // The decoder skips white space and stray bits; writing the result again finds both.
  if (bytes === undefined || encode(bytes) !== text) {
    throw new SyntaxError(`Cannot read ${alphabet}: the text is not a whole ${alphabet} string`);
  }
  return bytes;
}
