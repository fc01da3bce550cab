/**
 * Short packets apart: a cipher that seals and opens them in WebAssembly and leaves the others to
 * libcrypto. What libcrypto does around the cipher (its parameters are found by name, its provider is
 * behind tables) costs more than a short packet itself, and twice that after a pause, when all of it
 * has to come from memory again.
 *
 * @module
 */

import type { PacketCipher, PacketOpener, PacketSealer } from "../../../ffi/libcrypto.ts";
import type { Mem } from "../../../ffi/memory.ts";
import * as wasm from "../../crypto/wasm/chacha20_poly1305.wasm";
import { DATA_HEADER_LENGTH, TAG_LENGTH } from "../../wire/datagram.ts";

/**
 * Longest plaintext that goes this way, in bytes. Ours: the module makes four blocks of key stream at
 * once, of which the first is the tag's; past the other three libcrypto is faster.
 */
export const SHORT_MAX = 192;

/** Places in the module's memory (its source says which are its own). */
const KEY_AT = 1024;
const HEADER_AT = 65_536;
const PACKET_AT = HEADER_AT + DATA_HEADER_LENGTH;
const KEY_WORDS = 8;

/** The module's memory never grows, so the view lasts. */
const view = new DataView(wasm.memory.buffer);

/** The same cipher, quicker with short packets. */
export function withShortPackets(cipher: PacketCipher): PacketCipher {
  return {
    name: cipher.name,
    sealer: (key) => new ShortSealer(key, cipher.sealer(key)),
    opener: (key) => new ShortOpener(key, cipher.opener(key)),
  };
}

class ShortSealer implements PacketSealer {
  readonly #key: Uint32Array;
  readonly #long: PacketSealer;

  constructor(key: Uint8Array, long: PacketSealer) {
    this.#key = wordsOf(key);
    this.#long = long;
  }

  seal(
    low: number,
    high: number,
    out: Mem,
    headerAt: number,
    at: number,
    source: Mem,
    from: number,
    length: number,
  ): void {
    if (length > SHORT_MAX) {
      return this.#long.seal(low, high, out, headerAt, at, source, from, length);
    }
    load(this.#key);
    copy(out.view, headerAt, view, HEADER_AT, DATA_HEADER_LENGTH);
    copy(source.view, from, view, PACKET_AT, length);
    wasm.seal(low, high, PACKET_AT, HEADER_AT, DATA_HEADER_LENGTH, PACKET_AT, length);
    copy(view, PACKET_AT, out.view, at, length + TAG_LENGTH);
  }

  free(): void {
    forget(this.#key);
    this.#long.free();
  }
}

class ShortOpener implements PacketOpener {
  readonly #key: Uint32Array;
  readonly #long: PacketOpener;

  constructor(key: Uint8Array, long: PacketOpener) {
    this.#key = wordsOf(key);
    this.#long = long;
  }

  open(
    low: number,
    high: number,
    memory: Mem,
    headerAt: number,
    at: number,
    length: number,
  ): boolean {
    if (length > SHORT_MAX) return this.#long.open(low, high, memory, headerAt, at, length);
    load(this.#key);
    copy(memory.view, headerAt, view, HEADER_AT, DATA_HEADER_LENGTH);
    copy(memory.view, at, view, PACKET_AT, length + TAG_LENGTH);
    const isAuthentic = wasm.open(
      low,
      high,
      PACKET_AT,
      HEADER_AT,
      DATA_HEADER_LENGTH,
      PACKET_AT,
      length,
    );
    if (isAuthentic !== 1) return false;
    copy(view, PACKET_AT, memory.view, at, length);
    return true;
  }

  free(): void {
    forget(this.#key);
    this.#long.free();
  }
}

function wordsOf(key: Uint8Array): Uint32Array {
  const { buffer, byteOffset } = key;
  const bytes = new DataView(buffer, byteOffset, KEY_WORDS * 4);
  return Uint32Array.from({ length: KEY_WORDS }, (_, i) => bytes.getUint32(i * 4, true));
}

function load(key: Uint32Array): void {
  // Always: all keys of a thread share the module, and it has other users (transport_aead.ts, aead.ts).
  for (let i = 0; i < KEY_WORDS; i++) view.setUint32(KEY_AT + i * 4, key[i]!, true);
  wasm.init();
}

/** Wipes a key, and what the module has of keys and of the latest packets. */
function forget(key: Uint32Array): void {
  // Behind the latest packet stands the rest of a longer one of before.
  for (let i = 0; i < SHORT_MAX + TAG_LENGTH; i++) view.setUint8(PACKET_AT + i, 0);
  wasm.wipe();
  key.fill(0);
}

/** Word by word: for so few bytes any function of the runtime costs more than it saves. */
function copy(from: DataView, at: number, to: DataView, toAt: number, length: number): void {
  const words = length & ~3;
  for (let i = 0; i < words; i += 4) to.setUint32(toAt + i, from.getUint32(at + i, true), true);
  for (let i = words; i < length; i++) to.setUint8(toAt + i, from.getUint8(at + i));
}
