/**
 * The portable twin of every primitive: noble's audited JavaScript, which needs nothing of the
 * runtime. Tests hold each native primitive against it; it is not on any hot or secret path.
 *
 * @module
 */

import { x25519 } from "@noble/curves/ed25519.js";
import { chacha20poly1305, xchacha20poly1305 } from "@noble/ciphers/chacha.js";
import { blake2s } from "@noble/hashes/blake2.js";
import { hkdf } from "@noble/hashes/hkdf.js";
import { sha256 } from "@noble/hashes/sha2.js";
import { concatBytes } from "../base/bytes.ts";
import type { CryptoBackend } from "./backend.ts";
import { randomBytes } from "./random.ts";
import { type KeyPair, LowOrderPointError } from "./x25519.ts";

const HASH = { SHA256: sha256, BLAKE2s: blake2s };

/** Every primitive by noble. */
export const NOBLE_BACKEND: CryptoBackend = {
  name: "noble",
  generateKeyPair(): KeyPair {
    const privateKey = randomBytes(32);
    return { privateKey, publicKey: x25519.getPublicKey(privateKey) };
  },
  publicKeyOf: (privateKey) => x25519.getPublicKey(privateKey),
  diffieHellman(privateKey, publicKey) {
    try {
      return x25519.getSharedSecret(privateKey, publicKey);
    } catch (cause) {
      const isLengthWrong = privateKey.length !== 32 || publicKey.length !== 32;
      throw isLengthWrong ? cause : new LowOrderPointError({ cause });
    }
  },
  sha256: (...parts) => sha256(concatBytes(...parts)),
  blake2s: (...parts) => blake2s(concatBytes(...parts)),
  keyedBlake2s: (key, length, ...parts) => blake2s(concatBytes(...parts), { key, dkLen: length }),
  hkdf: (name, { ikm, salt, info, length }) => hkdf(HASH[name], ikm, salt, info, length),
  seal: (key, nonce, ad, plaintext) => chacha20poly1305(key, nonce, ad).encrypt(plaintext),
  open: (key, nonce, ad, text) => orUndefined(() => chacha20poly1305(key, nonce, ad).decrypt(text)),
  sealX: (key, nonce, ad, plaintext) => xchacha20poly1305(key, nonce, ad).encrypt(plaintext),
  openX: (key, nonce, ad, text) =>
    orUndefined(() => xchacha20poly1305(key, nonce, ad).decrypt(text)),
};

/** noble throws a plain error for a bad tag and for a text shorter than one alike. */
function orUndefined(open: () => Uint8Array): Uint8Array | undefined {
  try {
    return open();
  } catch {
    return undefined;
  }
}
