/**
 * The primitives a protocol needs, as one table that is passed in: so that a test can count calls,
 * and run the same protocol on the native library and on its portable twin (noble.ts).
 *
 * @module
 */

import { openChaCha, openXChaCha, sealChaCha, sealXChaCha } from "./aead.ts";
import { blake2s, type HashName, sha256 } from "./hash.ts";
import { keyedBlake2s } from "./keyed_blake2s.ts";
import { hkdfWith } from "./hkdf.ts";
import { diffieHellman, generateKeyPair, type KeyPair, publicKeyOf } from "./x25519.ts";

/** All inputs of one HKDF call. */
export interface HkdfInput {
  /** Input keying material, any length. */
  readonly ikm: Uint8Array;
  /** Any length, empty for none. */
  readonly salt: Uint8Array;
  /** What the result is for, any length. */
  readonly info: Uint8Array;
  /** Output length in bytes. */
  readonly length: number;
}

/**
 * Every primitive of handshakes, MACs and cookies. Arguments are borrowed until the call returns,
 * results are the caller's.
 */
export interface CryptoBackend {
  /** Names the implementation. */
  readonly name: string;
  /** Makes a fresh X25519 key pair. */
  generateKeyPair(): KeyPair;
  /** Computes the X25519 public key of a private key. */
  publicKeyOf(privateKey: Uint8Array): Uint8Array;
  /** Computes an X25519 shared secret; throws `LowOrderPointError` where it would be zero. */
  diffieHellman(privateKey: Uint8Array, publicKey: Uint8Array): Uint8Array;
  /** SHA-256 of the parts. */
  sha256(...parts: Uint8Array[]): Uint8Array;
  /** BLAKE2s without a key, 32 bytes. */
  blake2s(...parts: Uint8Array[]): Uint8Array;
  /** BLAKE2s with a key of 1 to 32 bytes and 1 to 32 bytes of output. */
  keyedBlake2s(key: Uint8Array, length: number, ...parts: Uint8Array[]): Uint8Array;
  /** HKDF over the hash named. */
  hkdf(hash: HashName, input: HkdfInput): Uint8Array;
  /** ChaCha20-Poly1305, nonce of 12 bytes; the tag is the result's end. */
  seal(
    key: Uint8Array,
    nonce: Uint8Array,
    ad: Uint8Array,
    plaintext: Uint8Array,
  ): Uint8Array;
  /** The reverse; `undefined` if the tag is not right. */
  open(
    key: Uint8Array,
    nonce: Uint8Array,
    ad: Uint8Array,
    ciphertext: Uint8Array,
  ): Uint8Array | undefined;
  /** XChaCha20-Poly1305, nonce of 24 bytes; the tag is the result's end. */
  sealX(
    key: Uint8Array,
    nonce: Uint8Array,
    ad: Uint8Array,
    plaintext: Uint8Array,
  ): Uint8Array;
  /** The reverse; `undefined` if the tag is not right. */
  openX(
    key: Uint8Array,
    nonce: Uint8Array,
    ad: Uint8Array,
    ciphertext: Uint8Array,
  ): Uint8Array | undefined;
}

/** The runtime's native library, with noble where it lacks something. */
export const NATIVE_BACKEND: CryptoBackend = {
  name: "native",
  generateKeyPair,
  publicKeyOf,
  diffieHellman,
  sha256,
  blake2s,
  keyedBlake2s,
  hkdf: hkdfWith,
  seal: sealChaCha,
  open: openChaCha,
  sealX: sealXChaCha,
  openX: openXChaCha,
};
