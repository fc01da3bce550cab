/**
 * A crypto backend that counts: threat tests assert on the work a stranger can cause.
 *
 * @module
 */

import { type CryptoBackend, NATIVE_BACKEND } from "../../lib/crypto/backend.ts";

/** Calls since the last `reset`. */
export interface CryptoCounts {
  /** X25519 shared secrets. */
  dh: number;
  /** Hashes, MACs and HKDF calls. */
  hash: number;
  /** Seals and opens of either cipher. */
  aead: number;
  /** Key pairs generated and public keys computed. */
  keys: number;
}

/** A backend, what it was asked to do, and a way to start over. */
export interface CountingBackend {
  readonly backend: CryptoBackend;
  readonly counts: CryptoCounts;
  reset(): void;
}

const KIND: Record<Exclude<keyof CryptoBackend, "name">, keyof CryptoCounts> = {
  generateKeyPair: "keys",
  publicKeyOf: "keys",
  diffieHellman: "dh",
  sha256: "hash",
  blake2s: "hash",
  keyedBlake2s: "hash",
  hkdf: "hash",
  seal: "aead",
  open: "aead",
  sealX: "aead",
  openX: "aead",
};

/**
 * Wraps a backend.
 *
 * @param inner Does the work.
 * @default {NATIVE_BACKEND}
 */
export function countingBackend(inner: CryptoBackend = NATIVE_BACKEND): CountingBackend {
  const counts: CryptoCounts = { dh: 0, hash: 0, aead: 0, keys: 0 };
  const backend = new Proxy(inner, {
    get(target, property, receiver) {
      const value: unknown = Reflect.get(target, property, receiver);
      if (typeof value !== "function") return value;
      const kind = KIND[property as keyof typeof KIND];
      return (...args: unknown[]) => {
        counts[kind]++;
        return Reflect.apply(value, target, args);
      };
    },
  });
  return {
    backend,
    counts,
    reset: () => void Object.assign(counts, { dh: 0, hash: 0, aead: 0, keys: 0 }),
  };
}
