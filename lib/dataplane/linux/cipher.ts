/**
 * Which way of sealing and opening the workers use: libcrypto by its cheapest calls if they pass the
 * self-test, by its usual calls, else the implementation that runs anywhere.
 *
 * @module
 */

import { libcryptoCiphers, type PacketCipher } from "../../../ffi/libcrypto.ts";
import type { Mem } from "../../../ffi/memory.ts";
import { Mem as Memory } from "../../../ffi/memory.ts";
import {
  NOBLE_AEAD,
  selfTestInput,
  type TransportAead,
  transportAead,
} from "../../crypto/transport_aead.ts";
import { DATA_HEADER_LENGTH, TAG_LENGTH } from "../../wire/datagram.ts";

/** A way that needs no native library. */
export function portableCipher(aead: TransportAead): PacketCipher {
  return {
    name: aead.name,
    sealer: (key) => new PortableKeys(aead, key),
    opener: (key) => new PortableKeys(aead, key),
  };
}

/** Every way there is on this machine that passes the self-test, best first; never empty. */
export function packetCiphers(): PacketCipher[] {
  const candidates = [...libcryptoCiphers(), portableCipher(transportAead())];
  return [...candidates.filter(passesSelfTest), portableCipher(NOBLE_AEAD)];
}

class PortableKeys {
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

/** Lengths around the borders of blocks, and those of real packets. */
const LENGTHS = [0, 1, 15, 16, 17, 63, 64, 65, 127, 128, 256, 1384, 1408, 9000];

/**
 * Compares with the reference implementation on one key: packets of several lengths, each opened
 * again, with a forgery before every opening, since the context is used on.
 */
export function passesSelfTest(cipher: PacketCipher): boolean {
  try {
    const { key } = selfTestInput(0);
    const sealer = cipher.sealer(key);
    const opener = cipher.opener(key);
    try {
      return LENGTHS.every((length) => {
        const { counter, header, plaintext } = selfTestInput(length);
        const low = counter >>> 0;
        const high = Math.floor(counter / 0x1_0000_0000);
        const size = DATA_HEADER_LENGTH + length + TAG_LENGTH;
        const expected = new Uint8Array(length + TAG_LENGTH);
        NOBLE_AEAD.seal(key, counter, header, plaintext, expected, 0);
        const [source, out] = [new Memory(length + 1), new Memory(size)];
        source.u8.set(plaintext);
        out.u8.set(header);
        sealer.seal(low, high, out, 0, DATA_HEADER_LENGTH, source, 0, length);
        const sealed = out.u8.slice(DATA_HEADER_LENGTH, size);
        if (!expected.every((byte, i) => byte === sealed[i])) return false;
        out.u8[size - 1]! ^= 1;
        if (opener.open(low, high, out, 0, DATA_HEADER_LENGTH, length)) return false;
        out.u8.set(sealed, DATA_HEADER_LENGTH);
        if (!opener.open(low, high, out, 0, DATA_HEADER_LENGTH, length)) return false;
        return plaintext.every((byte, i) => byte === out.u8[DATA_HEADER_LENGTH + i]);
      });
    } finally {
      sealer.free();
      opener.free();
    }
  } catch {
    return false;
  }
}
