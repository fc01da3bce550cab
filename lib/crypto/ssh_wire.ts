/**
 * The data types that SSH keys and signatures are written in: RFC 4251 §5.
 *
 * ```
 * uint32   4 bytes, big-endian
 * string   uint32 length ‖ bytes
 * mpint    string: big-endian, no needless leading zero, first bit is the sign
 * ```
 *
 * @module
 */

import { concatBytes } from "../base/bytes.ts";

/** Bytes that are not what RFC 4251 or the format above it says they are. */
export class SshFormatError extends Error {
  /** Always `"SshFormatError"`. */
  override readonly name = "SshFormatError";
}

/** Reads RFC 4251 values one after another; what it returns is borrowed from its input. */
export class SshReader {
  #offset = 0;
  readonly #bytes: Uint8Array;

  /**
   * Starts at the first byte.
   *
   * @param bytes Borrowed as long as the reader or anything it returned is used.
   */
  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
  }

  /** Whether every byte has been read. */
  get isAtEnd(): boolean {
    return this.#offset === this.#bytes.length;
  }

  /**
   * Reads that many bytes as they are.
   *
   * @param length Not negative.
   * @returns Borrowed bytes.
   * @throws {SshFormatError} If fewer are left.
   */
  bytes(length: number): Uint8Array {
    const end = this.#offset + length;
    if (end > this.#bytes.length) throw new SshFormatError("Cannot read SSH data: it is cut short");
    const taken = this.#bytes.subarray(this.#offset, end);
    this.#offset = end;
    return taken;
  }

  /** Reads a `uint32`. @throws {SshFormatError} If the data is cut short. */
  uint32(): number {
    const [a, b, c, d] = this.bytes(4);
    return (a! << 24 | b! << 16 | c! << 8 | d!) >>> 0;
  }

  /** Reads a `string`, borrowed. @throws {SshFormatError} If the data is cut short. */
  string(): Uint8Array {
    return this.bytes(this.uint32());
  }

  /** Reads a `string` that holds ASCII. @throws {SshFormatError} If it holds something else. */
  text(): string {
    const bytes = this.string();
    if (bytes.some((byte) => byte < 0x20 || byte > 0x7e)) {
      throw new SshFormatError("Cannot read SSH data: a name is not ASCII");
    }
    return String.fromCharCode(...bytes);
  }

  /**
   * Reads a positive `mpint`.
   *
   * @returns Its big-endian bytes without a leading zero, borrowed.
   * @throws {SshFormatError} If it is zero, negative, or not in its shortest form.
   */
  positiveMpint(): Uint8Array {
    const bytes = this.string();
    const [first, second] = bytes;
    if (first === undefined || first >= 0x80) {
      throw new SshFormatError("Cannot read SSH data: a number is not positive");
    }
    if (first !== 0) return bytes;
    if (second === undefined || second < 0x80) {
      throw new SshFormatError("Cannot read SSH data: a number is not in its shortest form");
    }
    return bytes.subarray(1);
  }

  /** Insists that nothing is left. @throws {SshFormatError} If something is. */
  end(): void {
    if (!this.isAtEnd) throw new SshFormatError("Cannot read SSH data: bytes are left over");
  }
}

/**
 * Writes a `uint32`.
 *
 * @param value `[0, 2**32)`
 * @returns 4 bytes.
 */
export function sshUint32(value: number): Uint8Array {
  return Uint8Array.of(value >>> 24, value >>> 16, value >>> 8, value);
}

/**
 * Writes a `string`.
 *
 * @param value Bytes, or text that is encoded as UTF-8; copied.
 * @returns Length and bytes.
 */
export function sshString(value: Uint8Array | string): Uint8Array {
  const bytes = typeof value === "string" ? new TextEncoder().encode(value) : value;
  return concatBytes(sshUint32(bytes.length), bytes);
}

/**
 * Writes a positive `mpint`.
 *
 * @param value Big-endian bytes, of any length, not all zero; copied.
 * @returns The shortest form, with its length.
 */
export function sshMpint(value: Uint8Array): Uint8Array {
  const shortest = withoutLeadingZeros(value);
  return sshString(shortest[0]! >= 0x80 ? concatBytes(Uint8Array.of(0), shortest) : shortest);
}

/**
 * Brings a big-endian number to an exact length: leading zeros are trimmed or added.
 *
 * @param value Big-endian bytes of any length; copied.
 * @param length Wanted length in bytes.
 * @returns That many bytes.
 * @throws {SshFormatError} If the number needs more.
 */
export function toFixedLength(value: Uint8Array, length: number): Uint8Array {
  const shortest = withoutLeadingZeros(value);
  if (shortest.length > length) {
    throw new SshFormatError("Cannot read SSH data: a number is too large for its curve");
  }
  const fixed = new Uint8Array(length);
  fixed.set(shortest, length - shortest.length);
  return fixed;
}

function withoutLeadingZeros(value: Uint8Array): Uint8Array {
  let start = 0;
  while (start < value.length - 1 && value[start] === 0) start++;
  return value.subarray(start);
}
