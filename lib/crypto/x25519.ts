/**
 * Diffie-Hellman on Curve25519 (RFC 7748), by the runtime's native library: its time does not depend
 * on the private key, and it is seven times as fast as arithmetic on JavaScript numbers.
 *
 * A shared secret of zeros is refused (RFC 7748 §6.1): only a public key of small order gives one,
 * and a peer that sends such a key takes away what its ephemeral key should contribute.
 *
 * @module
 */

import {
  createPrivateKey,
  createPublicKey,
  diffieHellman as nativeDiffieHellman,
  generateKeyPairSync,
  type KeyObject,
} from "node:crypto";
import { Buffer } from "node:buffer";
import { equalBytes, isAllZero, wipe } from "../base/bytes.ts";
import { checkLength } from "./check.ts";

/** Length of private keys, public keys and shared secrets in bytes. */
export const X25519_LENGTH = 32;

/** An X25519 key pair; both halves are 32 bytes. */
export interface KeyPair {
  /** The scalar, clamped or not: it is clamped where it is used. */
  readonly privateKey: Uint8Array;
  /** The u-coordinate, little-endian. */
  readonly publicKey: Uint8Array;
}

/** A public key of small order: the shared secret would be zero whatever the private key. */
export class LowOrderPointError extends Error {
  /** Always `"LowOrderPointError"`. */
  override readonly name = "LowOrderPointError";

  /** Creates the error; `options` may carry what the native library said. */
  constructor(options?: ErrorOptions) {
    super("Cannot agree on a secret: the public key is a point of low order", options);
  }
}

/**
 * u-coordinates of small order on the curve and its twist, and their encodings beyond the prime,
 * without the top bit that X25519 ignores.
 *
 * @see https://cr.yp.to/ecdh.html#validate
 */
const LOW_ORDER = [
  "0000000000000000000000000000000000000000000000000000000000000000",
  "0100000000000000000000000000000000000000000000000000000000000000",
  "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
  "5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
  "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
  "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
  "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
].map((hex) => Uint8Array.fromHex(hex));

/**
 * Reports whether a public key has small order, without any arithmetic: so a message can be refused
 * where it arrives, not where its key is first used.
 *
 * @param publicKey 32 bytes.
 */
export function isLowOrderPoint(publicKey: Uint8Array): boolean {
  return LOW_ORDER.some((point) => {
    for (let i = 0; i < 31; i++) if (point[i] !== publicKey[i]) return false;
    return point[31] === (publicKey[31]! & 0x7f);
  });
}

/** Everything of a PKCS #8 X25519 private key before the key itself (RFC 8410 §7). */
const PKCS8_HEAD = Uint8Array.fromHex("302e020100300506032b656e04220420");
/** Everything of an X25519 SubjectPublicKeyInfo before the key itself (RFC 8410 §4). */
const SPKI_HEAD = Uint8Array.fromHex("302a300506032b656e032100");

/** What was imported for one array of private key bytes. */
interface Imported {
  readonly key: KeyObject;
  /** The bytes at that time: an array that was overwritten since must not find its old key. */
  readonly bytes: Uint8Array;
}

/** Imports cost 7 % of a Diffie-Hellman, and a static key is used for years. */
const imported = new WeakMap<Uint8Array, Imported>();

/** Makes a fresh key pair. */
export function generateKeyPair(): KeyPair {
  const pair = generateKeyPairSync("x25519");
  const privateKey = lastBytes(pair.privateKey.export({ format: "der", type: "pkcs8" }));
  remember(privateKey, pair.privateKey);
  return { privateKey, publicKey: exportPublicKey(pair.publicKey) };
}

/**
 * Completes a private key to a pair.
 *
 * @param privateKey 32 bytes, copied.
 * @throws {RangeError} If it has another length.
 */
export function keyPairFrom(privateKey: Uint8Array): KeyPair {
  const copy = Uint8Array.from(privateKey);
  return { privateKey: copy, publicKey: publicKeyOf(copy) };
}

/**
 * Computes the public key of a private key.
 *
 * @param privateKey 32 bytes, borrowed until the call returns.
 * @throws {RangeError} If it has another length.
 */
export function publicKeyOf(privateKey: Uint8Array): Uint8Array<ArrayBuffer> {
  return exportPublicKey(createPublicKey(importPrivateKey(privateKey)));
}

/**
 * Computes the shared secret, 32 bytes.
 *
 * @param privateKey 32 bytes. Its import is kept as long as the array lives; end it by
 * {@linkcode wipePrivateKey}.
 * @param publicKey 32 bytes, borrowed until the call returns. Non-canonical encodings are taken as
 * RFC 7748 §5 says: the top bit is ignored, the rest reduced.
 * @throws {LowOrderPointError} If the secret would be zero.
 * @throws {RangeError} If one of them has another length.
 */
export function diffieHellman(
  privateKey: Uint8Array,
  publicKey: Uint8Array,
): Uint8Array<ArrayBuffer> {
  const own = importPrivateKey(privateKey);
  const other = importPublicKey(publicKey);
  let secret: Uint8Array<ArrayBuffer>;
  try {
    secret = Uint8Array.from(nativeDiffieHellman({ privateKey: own, publicKey: other }));
  } catch (cause) {
    // Both keys are well formed, so the zero secret is all that the library can object to.
    throw new LowOrderPointError({ cause });
  }
  // Not left to the library: older versions return the zeros.
  if (isAllZero(secret)) throw new LowOrderPointError();
  return secret;
}

/**
 * Overwrites a private key with zeros and forgets what was imported for it.
 *
 * The native library's copy goes with the next garbage collection.
 */
export function wipePrivateKey(privateKey: Uint8Array): void {
  const entry = imported.get(privateKey);
  if (entry !== undefined) wipe(entry.bytes);
  imported.delete(privateKey);
  wipe(privateKey);
}

function importPrivateKey(privateKey: Uint8Array): KeyObject {
  const entry = imported.get(privateKey);
  if (entry !== undefined && equalBytes(entry.bytes, privateKey)) return entry.key;
  checkLength("an X25519 private key", privateKey, X25519_LENGTH);
  const der = withHead(PKCS8_HEAD, privateKey);
  const key = createPrivateKey({ key: der, format: "der", type: "pkcs8" });
  wipe(der);
  remember(privateKey, key);
  return key;
}

function remember(privateKey: Uint8Array, key: KeyObject): void {
  imported.set(privateKey, { key, bytes: Uint8Array.from(privateKey) });
}

function importPublicKey(publicKey: Uint8Array): KeyObject {
  checkLength("an X25519 public key", publicKey, X25519_LENGTH);
  return createPublicKey({ key: withHead(SPKI_HEAD, publicKey), format: "der", type: "spki" });
}

function exportPublicKey(key: KeyObject): Uint8Array<ArrayBuffer> {
  return lastBytes(key.export({ format: "der", type: "spki" }));
}

function withHead(head: Uint8Array, key: Uint8Array): Buffer {
  const der = Buffer.alloc(head.length + key.length);
  der.set(head);
  der.set(key, head.length);
  return der;
}

function lastBytes(der: Uint8Array): Uint8Array<ArrayBuffer> {
  return Uint8Array.from(der.subarray(der.length - X25519_LENGTH));
}
