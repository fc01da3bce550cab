/**
 * A cipher key and its nonce: the CipherState object of Noise.
 *
 * @see https://noiseprotocol.org/noise.html#the-cipherstate-object (revision 34, §5.1)
 * @module
 */

import { wipe } from "../base/bytes.ts";
import { type CryptoBackend, NATIVE_BACKEND } from "../crypto/backend.ts";
import { HandshakeError } from "./errors.ts";

/** Longest Noise message in bytes (§3). */
export const MAX_MESSAGE_LENGTH = 65535;
/** Length of the authentication tag in bytes. */
export const TAG_LENGTH = 16;

/** Reserved for rekeying (§5.1), so no message may have it. */
const MAX_NONCE = 2n ** 64n - 1n;

/** Seals or opens the messages of one direction, each under the next nonce. */
export class CipherState {
  readonly #crypto: CryptoBackend;
  readonly #key: Uint8Array;
  #nonce: bigint;
  /** Four zero bytes, then the nonce little-endian (§12.3); overwritten by every call. */
  readonly #nonceBytes = new Uint8Array(12);
  readonly #nonceView = new DataView(this.#nonceBytes.buffer);

  /**
   * Takes a key.
   *
   * @param key 32 bytes, owned from now on.
   * @param crypto Does the work.
   * @param nonce First nonce, `[0, 2**64)`.
   */
  constructor(key: Uint8Array, crypto: CryptoBackend = NATIVE_BACKEND, nonce = 0n) {
    this.#key = key;
    this.#crypto = crypto;
    this.#nonce = nonce;
  }

  /** The nonce of the next message. */
  get nonce(): bigint {
    return this.#nonce;
  }

  /**
   * Sets the nonce, for transports that lose messages (§11.4). Sealing twice under one nonce gives
   * both messages away.
   *
   * @param nonce `[0, 2**64)`.
   * @throws {RangeError} If it is out of range.
   */
  setNonce(nonce: bigint): void {
    if (nonce < 0n || nonce > MAX_NONCE) throw new RangeError("Cannot set a nonce beyond 64 bits");
    this.#nonce = nonce;
  }

  /**
   * Seals a message and advances the nonce.
   *
   * @param ad Associated data, borrowed until the call returns.
   * @param plaintext At most 65519 bytes, borrowed until the call returns.
   * @returns 16 bytes more than the plaintext.
   * @throws {HandshakeError} `nonce-exhausted`, `message-too-long`.
   */
  encryptWithAd(ad: Uint8Array, plaintext: Uint8Array): Uint8Array {
    if (plaintext.length > MAX_MESSAGE_LENGTH - TAG_LENGTH) {
      throw new HandshakeError("message-too-long");
    }
    const sealed = this.#crypto.seal(this.#key, this.#nextNonce(), ad, plaintext);
    this.#nonce++;
    return sealed;
  }

  /**
   * Opens a message and advances the nonce; a failure leaves the nonce where it was.
   *
   * @param ad Associated data, borrowed until the call returns.
   * @param ciphertext 16 to 65535 bytes, borrowed until the call returns.
   * @returns 16 bytes less than the ciphertext.
   * @throws {HandshakeError} `bad-tag`, `message-too-short`, `message-too-long`, `nonce-exhausted`.
   */
  decryptWithAd(ad: Uint8Array, ciphertext: Uint8Array): Uint8Array {
    if (ciphertext.length < TAG_LENGTH) throw new HandshakeError("message-too-short");
    if (ciphertext.length > MAX_MESSAGE_LENGTH) throw new HandshakeError("message-too-long");
    const plaintext = this.#crypto.open(this.#key, this.#nextNonce(), ad, ciphertext);
    if (plaintext === undefined) throw new HandshakeError("bad-tag");
    this.#nonce++;
    return plaintext;
  }

  /** A second state with the same key and nonce, which goes its own way. */
  clone(): CipherState {
    return new CipherState(Uint8Array.from(this.#key), this.#crypto, this.#nonce);
  }

  /** Hands out a copy of the key, for a data plane that has its own way to seal. */
  exportKey(): Uint8Array {
    return Uint8Array.from(this.#key);
  }

  /** Overwrites the key. What is sealed afterwards is sealed with zeros: drop the state. */
  wipe(): void {
    wipe(this.#key);
    this.#nonce = MAX_NONCE;
  }

  /** Never the key. */
  toJSON(): string {
    return "CipherState";
  }

  #nextNonce(): Uint8Array {
    if (this.#nonce === MAX_NONCE) throw new HandshakeError("nonce-exhausted");
    this.#nonceView.setBigUint64(4, this.#nonce, true);
    return this.#nonceBytes;
  }
}
