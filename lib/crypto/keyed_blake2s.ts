/**
 * BLAKE2s with a key (RFC 7693 §2.5), by WebAssembly: the MAC of whatever strangers send, whose price
 * is what a flood costs. The native library has none with a key, and noble's takes seven times as
 * long, more while it is cold. The module's source lies beside it in `wasm/`.
 *
 * @module
 */

import { concatBytes } from "../base/bytes.ts";
import * as wasm from "./wasm/blake2s.wasm";

/** Places in the module's memory, which never grows. */
const KEY_AT = 2048;
const HASH_AT = 2112;
const MESSAGE_AT = 65536;
/** Longest message in bytes. */
const MAX_LENGTH = 65536;
/** Longest key and longest output in bytes. */
const MAX_SIZE = 32;

const memory = new Uint8Array(wasm.memory.buffer);

/**
 * BLAKE2s with a key of the parts, one after the other.
 *
 * @param key 1 to 32 bytes, borrowed until the call returns.
 * @param length Output length in bytes, 1 to 32.
 * @param parts At most 65536 bytes together.
 * @throws {RangeError} If key, length or parts are out of range.
 */
export function keyedBlake2s(
  key: Uint8Array,
  length: number,
  ...parts: Uint8Array[]
): Uint8Array<ArrayBuffer> {
  const message = parts.length === 1 ? parts[0]! : concatBytes(...parts);
  if (!isSize(key.length)) throw new RangeError("Cannot hash: a BLAKE2s key has 1 to 32 bytes");
  if (!isSize(length)) throw new RangeError("Cannot hash: BLAKE2s gives 1 to 32 bytes");
  if (message.length > MAX_LENGTH) throw new RangeError("Cannot hash: more than 65536 bytes");
  memory.set(key, KEY_AT);
  memory.set(message, MESSAGE_AT);
  wasm.hash(key.length, length, message.length);
  return memory.slice(HASH_AT, HASH_AT + length);
}

function isSize(length: number): boolean {
  return Number.isInteger(length) && length >= 1 && length <= MAX_SIZE;
}
