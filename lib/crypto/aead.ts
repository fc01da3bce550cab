/**
 * ChaCha20-Poly1305 (RFC 8439) and XChaCha20-Poly1305 (draft-irtf-cfrg-xchacha-03) for handshakes,
 * cookies and the control channel. Transport data has its own path: transport_aead.ts.
 *
 * @module
 */

import { createCipheriv, createDecipheriv } from "node:crypto";
import { hchacha } from "@noble/ciphers/chacha.js";
import { checkLength } from "./check.ts";

/** Length of the authentication tag in bytes. */
export const TAG_LENGTH = 16;

const ALGORITHM = "chacha20-poly1305";
const TAG = { authTagLength: TAG_LENGTH };

/**
 * Seals a plaintext.
 *
 * @param key 32 bytes.
 * @param nonce 12 bytes, never twice with one key.
 * @param ad Associated data, authenticated but not part of the result.
 * @param plaintext Borrowed until the call returns, like everything else.
 * @returns The ciphertext and the 16 bytes of tag after it.
 * @throws {RangeError} If key or nonce have another length.
 */
export function sealChaCha(
  key: Uint8Array,
  nonce: Uint8Array,
  ad: Uint8Array,
  plaintext: Uint8Array,
): Uint8Array<ArrayBuffer> {
  checkLength("a ChaCha20-Poly1305 key", key, 32);
  checkLength("a ChaCha20-Poly1305 nonce", nonce, 12);
  const cipher = createCipheriv(ALGORITHM, key, nonce, TAG);
  cipher.setAAD(ad, { plaintextLength: plaintext.length });
  const sealed = new Uint8Array(plaintext.length + TAG_LENGTH);
  if (plaintext.length > 0) sealed.set(cipher.update(plaintext));
  cipher.final();
  sealed.set(cipher.getAuthTag(), plaintext.length);
  return sealed;
}

/**
 * Opens what {@linkcode sealChaCha} made.
 *
 * @param ciphertext With the tag at its end.
 * @returns The plaintext, or `undefined` if the tag is not right.
 * @throws {RangeError} If key or nonce have another length.
 */
export function openChaCha(
  key: Uint8Array,
  nonce: Uint8Array,
  ad: Uint8Array,
  ciphertext: Uint8Array,
): Uint8Array<ArrayBuffer> | undefined {
  checkLength("a ChaCha20-Poly1305 key", key, 32);
  checkLength("a ChaCha20-Poly1305 nonce", nonce, 12);
  const length = ciphertext.length - TAG_LENGTH;
  if (length < 0) return undefined;
  const decipher = createDecipheriv(ALGORITHM, key, nonce, TAG);
  decipher.setAAD(ad, { plaintextLength: length });
  decipher.setAuthTag(ciphertext.subarray(length));
  const plaintext = new Uint8Array(length);
  if (length > 0) plaintext.set(decipher.update(ciphertext.subarray(0, length)));
  try {
    decipher.final();
  } catch {
    plaintext.fill(0);
    return undefined;
  }
  return plaintext;
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

function wordsOf(bytes: Uint8Array): Uint32Array {
  return new Uint32Array(Uint8Array.from(bytes).buffer);
}
