/**
 * Datagrams in a byte stream (SSH, relay): `length u16 │ datagram`, one after another.
 *
 * No datagram is empty, so a zero length is an error, and with it the stream is lost.
 *
 * @module
 */

import { concatBytes } from "../base/bytes.ts";
import { readU16Le, writeU16Le } from "../base/integers.ts";

/** Bytes before a datagram. */
export const LENGTH_PREFIX_LENGTH = 2;
/** Longest datagram, in bytes. */
export const MAX_DATAGRAM_LENGTH = 0xffff;

/**
 * Encodes datagrams one behind the other.
 *
 * @param datagrams Each 1 to 65535 bytes; copied.
 * @throws {RangeError} when one is empty or longer.
 */
export function encodeLengthPrefixed(...datagrams: readonly Uint8Array[]): Uint8Array {
  let length = 0;
  for (const datagram of datagrams) {
    if (datagram.length === 0 || datagram.length > MAX_DATAGRAM_LENGTH) {
      throw new RangeError(`Cannot encode datagram: length ${datagram.length} is out of range`);
    }
    length += LENGTH_PREFIX_LENGTH + datagram.length;
  }
  const encoded = new Uint8Array(length);
  let at = 0;
  for (const datagram of datagrams) {
    writeU16Le(encoded, at, datagram.length);
    encoded.set(datagram, at + LENGTH_PREFIX_LENGTH);
    at += LENGTH_PREFIX_LENGTH + datagram.length;
  }
  return encoded;
}

/**
 * Decodes a message that holds whole datagrams only.
 *
 * @param message Borrowed: the result holds views into it.
 * @returns The datagrams in order; `undefined` if a length is zero or does not fit the message.
 */
export function decodeLengthPrefixed(message: Uint8Array): Uint8Array[] | undefined {
  const datagrams: Uint8Array[] = [];
  const end = takeWhole(message, datagrams);
  return end === message.length ? datagrams : undefined;
}

/** Cuts a stream into its datagrams. */
export class LengthPrefixDecoder {
  /** The start of a datagram whose rest has not come. */
  #rest: Uint8Array = new Uint8Array(0);
  #isBroken = false;

  /**
   * Takes the next piece of the stream.
   *
   * @param piece Borrowed: the result may hold views into it.
   * @returns The datagrams it completes, in order; `undefined` once a length was zero, and from
   * then on.
   */
  push(piece: Uint8Array): Uint8Array[] | undefined {
    if (this.#isBroken) return undefined;
    const bytes = this.#rest.length === 0 ? piece : concatBytes(this.#rest, piece);
    const datagrams: Uint8Array[] = [];
    const end = takeWhole(bytes, datagrams);
    if (end < 0) {
      this.#isBroken = true;
      return undefined;
    }
    this.#rest = bytes.slice(end);
    return datagrams;
  }
}

/** Takes whole datagrams from the front; returns where they end, or -1 at a zero length. */
function takeWhole(bytes: Uint8Array, datagrams: Uint8Array[]): number {
  let at = 0;
  while (at + LENGTH_PREFIX_LENGTH <= bytes.length) {
    const length = readU16Le(bytes, at);
    if (length === 0) return -1;
    const end = at + LENGTH_PREFIX_LENGTH + length;
    if (end > bytes.length) break;
    datagrams.push(bytes.subarray(at + LENGTH_PREFIX_LENGTH, end));
    at = end;
  }
  return at;
}
