/**
 * ChaCha20-Poly1305 (RFC 8439) and XChaCha20-Poly1305 (draft-irtf-cfrg-xchacha-03) for handshakes,
 * cookies and the control channel. Transport data has its own path: transport_aead.ts.
 *
 * By the same WebAssembly, if that passes its self-test: the native library makes a dozen objects for
 * each message, and an exception of each forgery, which strangers would have for nothing.
 *
 * @module
 */

import { chacha20poly1305, hchacha } from "@noble/ciphers/chacha.js";
import { readU32Le } from "../base/integers.ts";
import { checkLength } from "./check.ts";
import { transportAead, WASM_AEAD } from "./transport_aead.ts";
import * as wasm from "./wasm/chacha20_poly1305.wasm";

/** Length of the authentication tag in bytes. */
export const TAG_LENGTH = 16;

/** Places in the module's memory, which never grows: what it says itself, and what is free. */
const AT = { key: 1024, nonceHead: 1140, message: 65_536, ad: 262_144, end: 524_288 } as const;
const MAX_MESSAGE_LENGTH = AT.ad - AT.message;
const MAX_AD_LENGTH = AT.end - AT.ad;

const memory = new Uint8Array(wasm.memory.buffer);

/**
 * Seals a plaintext.
 *
 * @param key 32 bytes.
 * @param nonce 12 bytes, never twice with one key.
 * @param ad Associated data, authenticated but not part of the result; at most 262144 bytes.
 * @param plaintext At most 196592 bytes. Borrowed until the call returns, like everything else.
 * @returns The ciphertext and the 16 bytes of tag after it.
 * @throws {RangeError} If key or nonce have another length, or the rest is too long.
 */
export function sealChaCha(
  key: Uint8Array,
  nonce: Uint8Array,
  ad: Uint8Array,
  plaintext: Uint8Array,
): Uint8Array<ArrayBuffer> {
  const { length } = plaintext;
  check(key, nonce, ad, length + TAG_LENGTH);
  if (transportAead() !== WASM_AEAD) {
    return Uint8Array.from(chacha20poly1305(key, nonce, ad).encrypt(plaintext));
  }
  const [low, high] = load(key, nonce, ad, plaintext);
  wasm.seal(low, high, AT.message, AT.ad, ad.length, AT.message, length);
  return taken(length + TAG_LENGTH, length);
}

/**
 * Opens what {@linkcode sealChaCha} made.
 *
 * @param ciphertext With the tag at its end.
 * @returns The plaintext, or `undefined` if the tag is not right.
 * @throws {RangeError} If key or nonce have another length, or the rest is too long.
 */
export function openChaCha(
  key: Uint8Array,
  nonce: Uint8Array,
  ad: Uint8Array,
  ciphertext: Uint8Array,
): Uint8Array<ArrayBuffer> | undefined {
  check(key, nonce, ad, ciphertext.length);
  const length = ciphertext.length - TAG_LENGTH;
  if (length < 0) return undefined;
  if (transportAead() !== WASM_AEAD) {
    try {
      return Uint8Array.from(chacha20poly1305(key, nonce, ad).decrypt(ciphertext));
    } catch {
      return undefined;
    }
  }
  const [low, high] = load(key, nonce, ad, ciphertext);
  const isRight = wasm.open(low, high, AT.message, AT.ad, ad.length, AT.message, length) === 1;
  const plaintext = taken(length, length);
  return isRight ? plaintext : undefined;
}

/**
 * Seals a plaintext under a nonce long enough to be random.
 *
 * @param key 32 bytes.
 * @param nonce 24 bytes.
 * @returns The ciphertext and the 16 bytes of tag after it.
 * @throws {RangeError} If key or nonce have another length.
 */
export function sealXChaCha(
  key: Uint8Array,
  nonce: Uint8Array,
  ad: Uint8Array,
  plaintext: Uint8Array,
): Uint8Array<ArrayBuffer> {
  const inner = innerKeyAndNonce(key, nonce);
  return sealChaCha(inner.key, inner.nonce, ad, plaintext);
}

/**
 * Opens what {@linkcode sealXChaCha} made.
 *
 * @returns The plaintext, or `undefined` if the tag is not right.
 * @throws {RangeError} If key or nonce have another length.
 */
export function openXChaCha(
  key: Uint8Array,
  nonce: Uint8Array,
  ad: Uint8Array,
  ciphertext: Uint8Array,
): Uint8Array<ArrayBuffer> | undefined {
  const inner = innerKeyAndNonce(key, nonce);
  return openChaCha(inner.key, inner.nonce, ad, ciphertext);
}

/** "expand 32-byte k", the constant of the ChaCha20 state, as little-endian words. */
const SIGMA = Uint32Array.of(0x61707865, 0x3320646e, 0x79622d32, 0x6b206574);

/** Draft §2.3: HChaCha20 of the first 16 nonce bytes gives the key, the other 8 the nonce. */
function innerKeyAndNonce(key: Uint8Array, nonce: Uint8Array) {
  checkLength("an XChaCha20-Poly1305 key", key, 32);
  checkLength("an XChaCha20-Poly1305 nonce", nonce, 24);
  // Copies: noble reads whole words, so the views must be aligned.
  const words = new Uint32Array(8);
  hchacha(SIGMA, wordsOf(key), wordsOf(nonce.subarray(0, 16)), words);
  const innerNonce = new Uint8Array(12);
  innerNonce.set(nonce.subarray(16), 4);
  return { key: new Uint8Array(words.buffer), nonce: innerNonce };
}

function check(key: Uint8Array, nonce: Uint8Array, ad: Uint8Array, sealedLength: number): void {
  checkLength("a ChaCha20-Poly1305 key", key, 32);
  checkLength("a ChaCha20-Poly1305 nonce", nonce, 12);
  if (sealedLength > MAX_MESSAGE_LENGTH) throw new RangeError("Cannot seal or open: too long");
  if (ad.length > MAX_AD_LENGTH) throw new RangeError("Cannot seal or open: too much beside it");
}

/** Lays everything into the module's memory; the halves of the nonce that it is told by number. */
function load(
  key: Uint8Array,
  nonce: Uint8Array,
  ad: Uint8Array,
  message: Uint8Array,
): readonly [low: number, high: number] {
  memory.set(key, AT.key);
  wasm.init();
  for (let i = 0; i < 4; i++) memory[AT.nonceHead + i] = nonce[i]!;
  memory.set(ad, AT.ad);
  memory.set(message, AT.message);
  return [readU32Le(nonce, 4), readU32Le(nonce, 8)];
}

/** Copies the result out; neither the key nor the plaintext stays in the module's memory. */
function taken(length: number, plaintextLength: number): Uint8Array<ArrayBuffer> {
  const result = memory.slice(AT.message, AT.message + length);
  wasm.wipe();
  memory.fill(0, AT.message, AT.message + plaintextLength);
  return result;
}

function wordsOf(bytes: Uint8Array): Uint32Array {
  return new Uint32Array(Uint8Array.from(bytes).buffer);
}
