/**
 * ChaCha20-Poly1305 (RFC 8439) for transport data, without allocation per packet.
 *
 * WebAssembly with SIMD: three times as fast as the runtime's own library through its JavaScript
 * interface, twelve times as fast as noble. The module's source lies beside it in `wasm/`. It must
 * pass a self-test before it is used; a machine where it does not gets noble.
 *
 * The nonce is four zero bytes and the counter, little-endian (docs/protocol.md §3).
 *
 * @module
 */

import { KNOWN_TAGS, selfTestInput } from "./transport_aead_answers.ts";
import { chacha20poly1305 } from "@noble/ciphers/chacha.js";
import { equalBytes } from "../base/bytes.ts";
import { checkLength } from "./check.ts";
import * as wasm from "./wasm/chacha20_poly1305.wasm";

/** Length of the authentication tag in bytes. */
const TAG_LENGTH = 16;

/** Longest plaintext in bytes: an IP packet cannot be longer. */
export const MAX_TRANSPORT_PLAINTEXT = 65535;

/** Longest associated data in bytes. */
const MAX_HEADER_LENGTH = 64;

/** Seals and opens transport data. One thread, one object: calls do not overlap. */
export interface TransportAead {
  /** `wasm` or `noble`, as shown in the status. */
  readonly name: string;
  /**
   * Seals one packet.
   *
   * @param key 32 bytes.
   * @param counter `[0, 2**53)`, never twice with one key.
   * @param header Associated data, at most 64 bytes.
   * @param plaintext At most 65535 bytes; may lie in `out`, where the ciphertext goes.
   * @param out Gets the ciphertext and 16 bytes of tag, from `outOffset` on.
   * @throws {RangeError} If something is too long, or `out` too short.
   */
  seal(
    key: Uint8Array,
    counter: number,
    header: Uint8Array,
    plaintext: Uint8Array,
    out: Uint8Array,
    outOffset: number,
  ): void;
  /**
   * Opens one packet.
   *
   * @param key 32 bytes.
   * @param counter `[0, 2**53)`.
   * @param header Associated data, at most 64 bytes.
   * @param ciphertext With the tag at its end; may lie in `out`, where the plaintext goes.
   * @param out Gets the plaintext from `outOffset` on, and nothing if the tag is not right.
   * @returns Length of the plaintext, -1 if the tag is not right.
   * @throws {RangeError} If something is too long, or `out` too short.
   */
  open(
    key: Uint8Array,
    counter: number,
    header: Uint8Array,
    ciphertext: Uint8Array,
    out: Uint8Array,
    outOffset: number,
  ): number;
  /** Forgets the last key and packet. Call it when a key was retired. */
  wipe(): void;
}

/** Places in the module's memory: its key, and what is free for the caller. */
const KEY_AT = 1024;
const HEADER_AT = 65536;
const PACKET_AT = HEADER_AT + MAX_HEADER_LENGTH;

/** Views up to this length are kept; longer packets pay for one. */
const KEPT_VIEW_LENGTH = 2048;

class WasmAead implements TransportAead {
  readonly name = "wasm";
  /** The module's memory never grows, so views of it last. */
  readonly #memory = new Uint8Array(wasm.memory.buffer);
  /** View of the first n bytes of the packet, by n. */
  readonly #views = Array.from<Uint8Array | undefined>({ length: KEPT_VIEW_LENGTH + 1 });

  seal(
    key: Uint8Array,
    counter: number,
    header: Uint8Array,
    plaintext: Uint8Array,
    out: Uint8Array,
    outOffset: number,
  ): void {
    const length = plaintext.length;
    checkRoom(length, header, out.length - outOffset - TAG_LENGTH);
    this.#load(key, header, plaintext);
    wasm.seal(
      counter % 0x1_0000_0000,
      Math.floor(counter / 0x1_0000_0000),
      PACKET_AT,
      HEADER_AT,
      header.length,
      PACKET_AT,
      length,
    );
    out.set(this.#packet(length + TAG_LENGTH), outOffset);
  }

  open(
    key: Uint8Array,
    counter: number,
    header: Uint8Array,
    ciphertext: Uint8Array,
    out: Uint8Array,
    outOffset: number,
  ): number {
    const length = ciphertext.length - TAG_LENGTH;
    if (length < 0) return -1;
    checkRoom(length, header, out.length - outOffset);
    this.#load(key, header, ciphertext);
    const isAuthentic = wasm.open(
      counter % 0x1_0000_0000,
      Math.floor(counter / 0x1_0000_0000),
      PACKET_AT,
      HEADER_AT,
      header.length,
      PACKET_AT,
      length,
    );
    if (isAuthentic !== 1) return -1;
    out.set(this.#packet(length), outOffset);
    return length;
  }

  wipe(): void {
    wasm.wipe();
    this.#memory.fill(0, HEADER_AT, PACKET_AT + MAX_TRANSPORT_PLAINTEXT + TAG_LENGTH);
  }

  #load(key: Uint8Array, header: Uint8Array, packet: Uint8Array): void {
    checkLength("a transport key", key, 32);
    // Always: an array that is the same one as last time may hold another key by now.
    this.#memory.set(key, KEY_AT);
    wasm.init();
    this.#memory.set(header, HEADER_AT);
    this.#memory.set(packet, PACKET_AT);
  }

  #packet(length: number): Uint8Array {
    const kept = this.#views[length];
    if (kept !== undefined) return kept;
    const view = this.#memory.subarray(PACKET_AT, PACKET_AT + length);
    if (length <= KEPT_VIEW_LENGTH) this.#views[length] = view;
    return view;
  }
}

/** The last resort, and the twin that the tests compare with. */
class NobleAead implements TransportAead {
  readonly name = "noble";

  seal(
    key: Uint8Array,
    counter: number,
    header: Uint8Array,
    plaintext: Uint8Array,
    out: Uint8Array,
    outOffset: number,
  ): void {
    checkRoom(plaintext.length, header, out.length - outOffset - TAG_LENGTH);
    out.set(chacha20poly1305(key, nonceOf(counter), header).encrypt(plaintext), outOffset);
  }

  open(
    key: Uint8Array,
    counter: number,
    header: Uint8Array,
    ciphertext: Uint8Array,
    out: Uint8Array,
    outOffset: number,
  ): number {
    const length = ciphertext.length - TAG_LENGTH;
    if (length < 0) return -1;
    checkRoom(length, header, out.length - outOffset);
    let plaintext: Uint8Array;
    try {
      plaintext = chacha20poly1305(key, nonceOf(counter), header).decrypt(ciphertext);
    } catch {
      return -1;
    }
    out.set(plaintext, outOffset);
    return length;
  }

  wipe(): void {}
}

/** WebAssembly, self-tested or not: {@linkcode transportAead} is what a data plane asks for. */
export const WASM_AEAD: TransportAead = new WasmAead();

/** noble. */
export const NOBLE_AEAD: TransportAead = new NobleAead();

let chosen: TransportAead | undefined;

/** The fastest of them that works on this machine, tested once per thread. */
export function transportAead(): TransportAead {
  return chosen ??= firstThatWorks([WASM_AEAD], NOBLE_AEAD);
}

/**
 * Chooses an implementation.
 *
 * @param candidates Tried in order.
 * @param lastResort Taken untested if none of them passes.
 */
export function firstThatWorks(
  candidates: readonly TransportAead[],
  lastResort: TransportAead,
): TransportAead {
  return candidates.find(passesSelfTest) ?? lastResort;
}

/** Whether an implementation gives the known answers and refuses forgeries. */
export function passesSelfTest(aead: TransportAead): boolean {
  try {
    return KNOWN_TAGS.every(([length, tag]) =>
      sealsAndOpens(aead, length, Uint8Array.fromHex(tag))
    );
  } catch {
    return false;
  } finally {
    aead.wipe();
  }
}

/** Known answer, back again, a forgery, and that the forgery left nothing behind. */
function sealsAndOpens(aead: TransportAead, length: number, tag: Uint8Array): boolean {
  const { key, counter, header, plaintext } = selfTestInput(length);
  const sealed = new Uint8Array(length + TAG_LENGTH);
  const opened = new Uint8Array(length);
  aead.seal(key, counter, header, plaintext, sealed, 0);
  if (!equalBytes(sealed.subarray(length, length + tag.length), tag)) return false;
  sealed[length >> 1]! ^= 1;
  if (aead.open(key, counter, header, sealed, opened, 0) !== -1) return false;
  if (opened.some((byte) => byte !== 0)) return false;
  sealed[length >> 1]! ^= 1;
  return aead.open(key, counter, header, sealed, opened, 0) === length &&
    equalBytes(opened, plaintext);
}

function checkRoom(length: number, header: Uint8Array, room: number): void {
  if (length > MAX_TRANSPORT_PLAINTEXT) {
    throw new RangeError("Cannot seal or open: packet too long");
  }
  if (header.length > MAX_HEADER_LENGTH) throw new RangeError("Cannot seal or open: long header");
  if (room < length) throw new RangeError("Cannot seal or open: no room for the result");
}

function nonceOf(counter: number): Uint8Array {
  const nonce = new Uint8Array(12);
  new DataView(nonce.buffer).setBigUint64(4, BigInt(counter), true);
  return nonce;
}
