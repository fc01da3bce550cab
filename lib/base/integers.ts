/**
 * Unsigned integers in bytes. `Le` is little-endian (our own formats), `Be` network byte order.
 *
 * Bounds are the caller's: these stand in packet loops, after a length check.
 *
 * @module
 */

/** Reads 16 bits, little-endian. */
export function readU16Le(bytes: Uint8Array, offset: number): number {
  return bytes[offset]! | (bytes[offset + 1]! << 8);
}

/** Reads 16 bits, network byte order. */
export function readU16Be(bytes: Uint8Array, offset: number): number {
  return (bytes[offset]! << 8) | bytes[offset + 1]!;
}

/** Reads 32 bits, little-endian. */
export function readU32Le(bytes: Uint8Array, offset: number): number {
  return (bytes[offset]! | (bytes[offset + 1]! << 8) | (bytes[offset + 2]! << 16) |
    (bytes[offset + 3]! << 24)) >>> 0;
}

/** Reads 32 bits, network byte order. */
export function readU32Be(bytes: Uint8Array, offset: number): number {
  return ((bytes[offset]! << 24) | (bytes[offset + 1]! << 16) | (bytes[offset + 2]! << 8) |
    bytes[offset + 3]!) >>> 0;
}

/** Reads 64 bits, little-endian; exact below 2**53, rounded above. */
export function readU64Le(bytes: Uint8Array, offset: number): number {
  return readU32Le(bytes, offset) + readU32Le(bytes, offset + 4) * 0x1_0000_0000;
}

/** Writes 16 bits, little-endian. */
export function writeU16Le(bytes: Uint8Array, offset: number, value: number): void {
  bytes[offset] = value;
  bytes[offset + 1] = value >>> 8;
}

/** Writes 16 bits, network byte order. */
export function writeU16Be(bytes: Uint8Array, offset: number, value: number): void {
  bytes[offset] = value >>> 8;
  bytes[offset + 1] = value;
}

/** Writes 32 bits, little-endian. */
export function writeU32Le(bytes: Uint8Array, offset: number, value: number): void {
  bytes[offset] = value;
  bytes[offset + 1] = value >>> 8;
  bytes[offset + 2] = value >>> 16;
  bytes[offset + 3] = value >>> 24;
}

/** Writes 32 bits, network byte order. */
export function writeU32Be(bytes: Uint8Array, offset: number, value: number): void {
  bytes[offset] = value >>> 24;
  bytes[offset + 1] = value >>> 16;
  bytes[offset + 2] = value >>> 8;
  bytes[offset + 3] = value;
}

/** Writes 64 bits, little-endian, of an integer in `[0, 2**53)`. */
export function writeU64Le(bytes: Uint8Array, offset: number, value: number): void {
  writeU32Le(bytes, offset, value);
  writeU32Le(bytes, offset + 4, Math.floor(value / 0x1_0000_0000));
}
