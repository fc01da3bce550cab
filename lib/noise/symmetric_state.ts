/**
 * Chaining key, handshake hash and the present cipher key: the SymmetricState object of Noise.
 *
 * @see https://noiseprotocol.org/noise.html#the-symmetricstate-object (revision 34, §5.2)
 * @module
 */

import { utf8, wipe } from "../base/bytes.ts";
import type { CryptoBackend } from "../crypto/backend.ts";
import type { HashName } from "../crypto/hash.ts";
import { CipherState } from "./cipher_state.ts";

/** Output length of either hash in bytes. */
export const HASH_LENGTH = 32;

const EMPTY = new Uint8Array(0);

/** Everything a handshake has mixed so far. */
export class SymmetricState {
  readonly #crypto: CryptoBackend;
  readonly #hash: HashName;
  /** Chaining key `ck`: every Diffie-Hellman result and PSK so far. */
  #ck: Uint8Array;
  /** Handshake hash `h`: everything sent and known so far. */
  #h: Uint8Array;
  #cipher: CipherState | undefined;

  private constructor(crypto: CryptoBackend, hash: HashName, ck: Uint8Array, h: Uint8Array) {
    this.#crypto = crypto;
    this.#hash = hash;
    this.#ck = ck;
    this.#h = h;
  }

  /** InitializeSymmetric(protocol_name). */
  static initialize(crypto: CryptoBackend, hash: HashName, protocolName: string): SymmetricState {
    const name = utf8(protocolName);
    // "If protocol_name is less than or equal to HASHLEN bytes in length, sets h equal to
    // protocol_name with zero bytes appended to make HASHLEN bytes. Otherwise sets
    // h = HASH(protocol_name). Sets ck = h."
    const h = new Uint8Array(HASH_LENGTH);
    if (name.length <= HASH_LENGTH) h.set(name);
    else h.set(hash === "SHA256" ? crypto.sha256(name) : crypto.blake2s(name));
    return new SymmetricState(crypto, hash, Uint8Array.from(h), h);
  }

  /** A second state that goes its own way: a message is read or written on one of these. */
  clone(): SymmetricState {
    const copy = new SymmetricState(this.#crypto, this.#hash, Uint8Array.from(this.#ck), this.#h);
    copy.#cipher = this.#cipher?.clone();
    return copy;
  }

  /** GetHandshakeHash(): 32 bytes, copied. */
  get handshakeHash(): Uint8Array {
    return Uint8Array.from(this.#h);
  }

  /** Whether there is a cipher key yet, so that what follows is sealed. */
  get hasKey(): boolean {
    return this.#cipher !== undefined;
  }

  /** MixKey(input_key_material): "ck, temp_k = HKDF(ck, input_key_material, 2)". */
  mixKey(ikm: Uint8Array): void {
    const [ck, key] = this.#derive(ikm, 2);
    wipe(this.#ck);
    this.#ck = ck!;
    this.#setKey(key!);
  }

  /** MixHash(data): "h = HASH(h || data)". */
  mixHash(data: Uint8Array): void {
    this.#h = this.#hash === "SHA256"
      ? this.#crypto.sha256(this.#h, data)
      : this.#crypto.blake2s(this.#h, data);
  }

  /** MixKeyAndHash(input_key_material): "ck, temp_h, temp_k = HKDF(ck, input_key_material, 3)". */
  mixKeyAndHash(ikm: Uint8Array): void {
    const [ck, tempHash, key] = this.#derive(ikm, 3);
    wipe(this.#ck);
    this.#ck = ck!;
    this.mixHash(tempHash!);
    this.#setKey(key!);
  }

  /** EncryptAndHash(plaintext): as it is before there is a key, sealed afterwards. */
  encryptAndHash(plaintext: Uint8Array): Uint8Array {
    const ciphertext = this.#cipher === undefined
      ? plaintext
      : this.#cipher.encryptWithAd(this.#h, plaintext);
    this.mixHash(ciphertext);
    return ciphertext;
  }

  /**
   * DecryptAndHash(ciphertext).
   *
   * @throws {HandshakeError} `bad-tag`, `message-too-short`.
   */
  decryptAndHash(ciphertext: Uint8Array): Uint8Array {
    const plaintext = this.#cipher === undefined
      ? Uint8Array.from(ciphertext)
      : this.#cipher.decryptWithAd(this.#h, ciphertext);
    this.mixHash(ciphertext);
    return plaintext;
  }

  /** Split(): the cipher of what the initiator sends, then the responder's. */
  split(): [initiatorSends: CipherState, responderSends: CipherState] {
    const [k1, k2] = this.#derive(EMPTY, 2);
    return [new CipherState(k1!, this.#crypto), new CipherState(k2!, this.#crypto)];
  }

  /** Overwrites chaining key and cipher key; the handshake hash is no secret and stays. */
  wipe(): void {
    wipe(this.#ck);
    this.#cipher?.wipe();
  }

  #setKey(key: Uint8Array): void {
    this.#cipher?.wipe();
    this.#cipher = new CipherState(key, this.#crypto);
  }

  /** HKDF(chaining_key, input_key_material, num_outputs) of §4.3: RFC 5869 with the key as salt. */
  #derive(ikm: Uint8Array, outputs: number): Uint8Array[] {
    const length = outputs * HASH_LENGTH;
    const all = this.#crypto.hkdf(this.#hash, { ikm, salt: this.#ck, info: EMPTY, length });
    const parts: Uint8Array[] = [];
    for (let at = 0; at < length; at += HASH_LENGTH) parts.push(all.slice(at, at + HASH_LENGTH));
    wipe(all);
    return parts;
  }
}
