/**
 * The AEAD that runs anywhere as the workers take it. Loaded only where libcrypto is missing: it
 * brings two implementations along.
 *
 * @module
 */

import type { PacketCipher, PacketOpener, PacketSealer } from "../../../ffi/libcrypto.ts";
import type { Mem } from "../../../ffi/memory.ts";
import { type TransportAead, transportAead } from "../../crypto/transport_aead.ts";
import { DATA_HEADER_LENGTH, TAG_LENGTH } from "../../wire/datagram.ts";

/**
 * A way to seal and open that needs no native library.
 *
 * @param aead @default {transportAead()}
 */
export function portableCipher(aead: TransportAead = transportAead()): PacketCipher {
  return {
    name: aead.name,
    sealer: (key) => new PortableKeys(aead, key),
    opener: (key) => new PortableKeys(aead, key),
  };
}

class PortableKeys implements PacketSealer, PacketOpener {
  readonly #aead: TransportAead;
  readonly #key: Uint8Array;
  #opened = new Uint8Array(0);

  constructor(aead: TransportAead, key: Uint8Array) {
    this.#aead = aead;
    this.#key = key.slice();
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
    const header = out.u8.subarray(headerAt, headerAt + DATA_HEADER_LENGTH);
    const plaintext = source.u8.subarray(from, from + length);
    this.#aead.seal(this.#key, low + high * 0x1_0000_0000, header, plaintext, out.u8, at);
  }

  open(low: number, high: number, memory: Mem, headerAt: number, at: number, length: number) {
    const { u8 } = memory;
    if (this.#opened.length < length) this.#opened = new Uint8Array(length + 2048);
    const header = u8.subarray(headerAt, headerAt + DATA_HEADER_LENGTH);
    const sealed = u8.subarray(at, at + length + TAG_LENGTH);
    const counter = low + high * 0x1_0000_0000;
    const opened = this.#aead.open(this.#key, counter, header, sealed, this.#opened, 0);
    if (opened !== length) return false;
    u8.set(this.#opened.subarray(0, length), at);
    return true;
  }

  free(): void {
    this.#key.fill(0);
    this.#opened.fill(0);
    this.#aead.wipe();
  }
}
