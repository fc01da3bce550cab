/**
 * SSH public keys and the signatures made with them.
 *
 * Formats: RFC 4253 §6.6 (RSA), RFC 8332 (rsa-sha2-*), RFC 5656 §3.1 (ECDSA), RFC 8709 (Ed25519),
 * OpenSSH PROTOCOL.u2f (sk-*). Verification is native (`node:crypto`). What must hold: nothing
 * signed with SHA-1, no RSA key below 2048 bits, no certificate, and no signature of a hardware key
 * that nobody touched, is ever called good.
 *
 * @module
 */

import { createPublicKey, type KeyObject, verify } from "node:crypto";
import { concatBytes, toBase64Url } from "../base/bytes.ts";
import { sha256 } from "./hash.ts";
import { SshFormatError, SshReader, toFixedLength } from "./ssh_wire.ts";

/** ECDSA curves by their SSH name. */
export const ECDSA_CURVES = {
  nistp256: { jwkName: "P-256", sizeBytes: 32, hash: "sha256" },
  nistp384: { jwkName: "P-384", sizeBytes: 48, hash: "sha384" },
  nistp521: { jwkName: "P-521", sizeBytes: 66, hash: "sha512" },
} as const;

/** Name of one of {@linkcode ECDSA_CURVES}. */
export type EcdsaCurve = keyof typeof ECDSA_CURVES;

/** Hash of each RSA signature algorithm that is good enough; `ssh-rsa` (SHA-1) is not. */
const RSA_HASH: Readonly<Record<string, string>> = {
  "rsa-sha2-256": "sha256",
  "rsa-sha2-512": "sha512",
};

/** Smallest RSA modulus accepted, in bits. */
export const MIN_RSA_BITS = 2048;
/** Largest RSA modulus accepted, in bits: as OpenSSH, so that nobody can make us work for long. */
export const MAX_RSA_BITS = 16_384;

/** Bit of a hardware key's flags that says somebody touched it. */
const USER_PRESENT = 0x01;

/** Why a key or signature is not accepted. */
export type SshFault =
  | "malformed"
  | "unsupported-key"
  | "certificate"
  | "weak-key"
  | "weak-hash"
  | "no-user-presence"
  | "bad-signature";

/** A public key, taken apart. */
export interface SshPublicKey {
  /** SSH name of the kind of key, such as `ssh-ed25519`. */
  readonly type: string;
  /** How signatures of it are made. */
  readonly family: "ed25519" | "rsa" | "ecdsa";
  /** The curve of an ECDSA key. */
  readonly curve?: EcdsaCurve;
  /** What a hardware key signs for, such as `ssh:`; `undefined` for a key that is a file. */
  readonly application?: Uint8Array;
  /** The key in native form. */
  readonly native: KeyObject;
}

/**
 * Takes a public key apart.
 *
 * @param blob The binary form: what stands in base64 in a `.pub` file. Borrowed until return.
 * @returns The key, or why it is not accepted.
 */
export function parseSshPublicKey(blob: Uint8Array): SshPublicKey | SshFault {
  try {
    const reader = new SshReader(blob);
    const key = readPublicKey(reader.text(), reader);
    if (typeof key !== "string") reader.end();
    return key;
  } catch (error) {
    // Node's crypto says "TypeError" or worse for a point that is not on its curve.
    if (error instanceof Error) return "malformed";
    throw error;
  }
}

/**
 * Checks one signature.
 *
 * @param key The key that is said to have signed.
 * @param message The bytes signed; borrowed until return.
 * @param signature Binary form: name of the algorithm, then what it says. Borrowed until return.
 * @returns `undefined` if it is good, else why not.
 */
export function verifySshSignature(
  key: SshPublicKey,
  message: Uint8Array,
  signature: Uint8Array,
): SshFault | undefined {
  try {
    const reader = new SshReader(signature);
    const algorithm = reader.text();
    const body = reader.string();
    const signed = key.application === undefined
      ? message
      : hardwareMessage(key.application, message, reader);
    if (signed === undefined) return "no-user-presence";
    reader.end();
    return isGood(key, algorithm, signed, body);
  } catch (error) {
    if (error instanceof Error) return "malformed";
    throw error;
  }
}

/**
 * Makes an ECDSA coordinate pair into the form that native keys are made from.
 *
 * @param curve Which curve.
 * @param point Uncompressed point: 0x04 ‖ x ‖ y.
 * @returns The public half of a JSON Web Key (RFC 7517).
 * @throws {SshFormatError} If the point is compressed or has another length.
 */
export function ecdsaJwk(
  curve: EcdsaCurve,
  point: Uint8Array,
): { kty: "EC"; crv: string; x: string; y: string } {
  const { jwkName, sizeBytes } = ECDSA_CURVES[curve];
  if (point.length !== 1 + 2 * sizeBytes || point[0] !== 4) {
    throw new SshFormatError("Cannot read SSH data: a point is not of its curve");
  }
  return {
    kty: "EC",
    crv: jwkName,
    x: toBase64Url(point.subarray(1, 1 + sizeBytes)),
    y: toBase64Url(point.subarray(1 + sizeBytes)),
  };
}

function readPublicKey(type: string, reader: SshReader): SshPublicKey | SshFault {
  switch (type) {
    case "ssh-ed25519":
      return { type, family: "ed25519", native: ed25519Key(reader.string()) };
    case "sk-ssh-ed25519@openssh.com": {
      const native = ed25519Key(reader.string());
      return { type, family: "ed25519", native, application: reader.string().slice() };
    }
    case "ecdsa-sha2-nistp256":
    case "ecdsa-sha2-nistp384":
    case "ecdsa-sha2-nistp521":
      return { type, family: "ecdsa", ...ecdsaKey(type.slice("ecdsa-sha2-".length), reader) };
    case "sk-ecdsa-sha2-nistp256@openssh.com": {
      const key = ecdsaKey("nistp256", reader);
      return { type, family: "ecdsa", ...key, application: reader.string().slice() };
    }
    case "ssh-rsa":
      return rsaKey(type, reader);
    default:
      return type.includes("-cert-") ? "certificate" : "unsupported-key";
  }
}

function ed25519Key(publicKey: Uint8Array): KeyObject {
  if (publicKey.length !== 32) throw new SshFormatError("Cannot read SSH data: not 32 bytes");
  return nativeKey({ kty: "OKP", crv: "Ed25519", x: toBase64Url(publicKey) });
}

function ecdsaKey(curve: string, reader: SshReader): { curve: EcdsaCurve; native: KeyObject } {
  if (reader.text() !== curve) throw new SshFormatError("Cannot read SSH data: two curves named");
  const known = curve as EcdsaCurve;
  return { curve: known, native: nativeKey(ecdsaJwk(known, reader.string())) };
}

function rsaKey(type: string, reader: SshReader): SshPublicKey | SshFault {
  const exponent = reader.positiveMpint();
  const modulus = reader.positiveMpint();
  const bits = modulus.length * 8 - Math.clz32(modulus[0]!) + 24;
  if (bits < MIN_RSA_BITS) return "weak-key";
  if (bits > MAX_RSA_BITS || exponent.length > 4) return "unsupported-key";
  const native = nativeKey({ kty: "RSA", n: toBase64Url(modulus), e: toBase64Url(exponent) });
  return { type, family: "rsa", native };
}

function nativeKey(jwk: Record<string, string>): KeyObject {
  return createPublicKey({ key: jwk, format: "jwk" });
}

/** PROTOCOL.u2f: what the hardware signs, `undefined` if nobody was there. */
function hardwareMessage(
  application: Uint8Array,
  message: Uint8Array,
  reader: SshReader,
): Uint8Array | undefined {
  const flags = reader.bytes(1);
  const counter = reader.bytes(4);
  if ((flags[0]! & USER_PRESENT) === 0) return undefined;
  return concatBytes(sha256(application), flags, counter, sha256(message));
}

function isGood(
  key: SshPublicKey,
  algorithm: string,
  signed: Uint8Array,
  body: Uint8Array,
): SshFault | undefined {
  if (key.family === "rsa") {
    const hash = RSA_HASH[algorithm];
    if (hash === undefined) return algorithm === "ssh-rsa" ? "weak-hash" : "malformed";
    return verify(hash, signed, key.native, body) ? undefined : "bad-signature";
  }
  if (algorithm !== key.type) return "malformed";
  if (key.family === "ed25519") {
    return verify(null, signed, key.native, body) ? undefined : "bad-signature";
  }
  const { sizeBytes, hash } = ECDSA_CURVES[key.curve!];
  const numbers = new SshReader(body);
  const r = toFixedLength(numbers.positiveMpint(), sizeBytes);
  const s = toFixedLength(numbers.positiveMpint(), sizeBytes);
  numbers.end();
  const native = { key: key.native, dsaEncoding: "ieee-p1363" as const };
  return verify(hash, signed, native, concatBytes(r, s)) ? undefined : "bad-signature";
}
