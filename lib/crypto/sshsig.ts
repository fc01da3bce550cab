/**
 * The identity statement: an SSH key says that a static key of a mesh is its own.
 *
 * protocol.md §1; the container is OpenSSH's SSHSIG (PROTOCOL.sshsig), so that anybody can check a
 * statement with `ssh-keygen -Y verify -n tunnelmesh`:
 *
 * ```
 * SSHSIG      "SSHSIG" ‖ u32 version 1 ‖ string public key ‖ string namespace ‖ string reserved
 *             ‖ string hash name ‖ string signature
 * signed      "SSHSIG" ‖ string namespace ‖ string reserved ‖ string hash name ‖ string hash
 * statement   "tunnelmesh identity v1" ‖ 0x00 ‖ mesh id 16 ‖ static key 32 ‖ unix seconds u64 LE
 * ```
 *
 * @module
 */

import { concatBytes, equalBytes, toBase64, utf8 } from "../base/bytes.ts";
import { sha512 } from "./hash.ts";
import { parseSshPublicKey, type SshFault, verifySshSignature } from "./ssh_public_key.ts";
import { SshReader, sshString, sshUint32 } from "./ssh_wire.ts";

/** Namespace that statements are signed in: a signature made for anything else says nothing. */
export const STATEMENT_NAMESPACE = "tunnelmesh";

const MAGIC = utf8("SSHSIG");
const VERSION = 1;
const HASH_NAME = "sha512";
const LABEL = utf8("tunnelmesh identity v1\0");
const ARMOR_LINE_LENGTH = 70;

/** Longest signature file looked at, in bytes; a 16384-bit RSA key needs about 4200. */
const MAX_SIGNATURE_BYTES = 8192;

/** Why a statement is not accepted. */
export type StatementFault = SshFault | "wrong-key" | "wrong-namespace" | "wrong-hash";

/** What a statement is about. */
export interface StatementSubject {
  /** 16 bytes. */
  readonly meshId: Uint8Array;
  /** X25519 public key, 32 bytes. */
  readonly staticKey: Uint8Array;
  /** When it was signed, in seconds since 1970-01-01 UTC, `[0, 2**53)`. */
  readonly unixSeconds: number;
}

/** Something that signs as an SSH key does. `SshKey` of ssh_key.ts is one. */
export interface SshSigner {
  /** Binary public key. */
  readonly publicKey: Uint8Array;
  /** Signs; the result names its algorithm, then holds its signature. */
  sign(message: Uint8Array): Uint8Array;
}

/**
 * The bytes that an identity statement signs.
 *
 * @param subject Mesh, key and time.
 * @returns 79 bytes.
 * @throws {RangeError} If a length or the time is out of range.
 */
export function statementBytes(subject: StatementSubject): Uint8Array {
  const { meshId, staticKey, unixSeconds } = subject;
  if (meshId.length !== 16) throw new RangeError("meshId must have 16 bytes");
  if (staticKey.length !== 32) throw new RangeError("staticKey must have 32 bytes");
  if (!Number.isSafeInteger(unixSeconds) || unixSeconds < 0) {
    throw new RangeError("unixSeconds must be a safe integer, not negative");
  }
  const time = new Uint8Array(8);
  new DataView(time.buffer).setBigUint64(0, BigInt(unixSeconds), true);
  return concatBytes(LABEL, meshId, staticKey, time);
}

/**
 * Signs an identity statement.
 *
 * @param key The node's SSH key.
 * @param subject What it vouches for.
 * @returns A binary SSHSIG; {@linkcode armorSignature} makes it a file for `ssh-keygen`.
 */
export function signStatement(key: SshSigner, subject: StatementSubject): Uint8Array {
  const signature = key.sign(signedBytes(statementBytes(subject)));
  return concatBytes(
    MAGIC,
    sshUint32(VERSION),
    sshString(key.publicKey),
    sshString(STATEMENT_NAMESPACE),
    sshString(""),
    sshString(HASH_NAME),
    sshString(signature),
  );
}

/** A statement with everything that it must agree with. */
export interface StatementClaim extends StatementSubject {
  /** Binary public key that must have signed. */
  readonly sshPublicKey: Uint8Array;
  /** Binary SSHSIG. */
  readonly statement: Uint8Array;
}

/**
 * Checks an identity statement.
 *
 * @param claim What is claimed; borrowed until return.
 * @returns Whether the statement is good. Never throws for bad bytes.
 * @throws {RangeError} If the mesh id, static key or time is out of range.
 */
export function verifyStatement(claim: StatementClaim): boolean {
  return statementFault(claim) === undefined;
}

/**
 * Finds out why an identity statement is not good.
 *
 * @param claim What is claimed; borrowed until return.
 * @returns `undefined` if it is good, else what is wrong. Never throws for bad bytes.
 * @throws {RangeError} If the mesh id, static key or time is out of range.
 */
export function statementFault(claim: StatementClaim): StatementFault | undefined {
  const message = signedBytes(statementBytes(claim));
  if (claim.statement.length > MAX_SIGNATURE_BYTES) return "malformed";
  const parts = readSignature(claim.statement);
  if (parts === undefined) return "malformed";
  if (!equalBytes(parts.publicKey, claim.sshPublicKey)) return "wrong-key";
  if (!equalBytes(parts.namespace, utf8(STATEMENT_NAMESPACE))) return "wrong-namespace";
  if (!equalBytes(parts.hashName, utf8(HASH_NAME))) return "wrong-hash";
  const key = parseSshPublicKey(parts.publicKey);
  if (typeof key === "string") return key;
  return verifySshSignature(key, message, parts.signature);
}

/**
 * Writes a signature as the text file that `ssh-keygen -Y verify` reads.
 *
 * @param signature Binary SSHSIG.
 * @returns Lines of at most 70 characters between `BEGIN` and `END`.
 */
export function armorSignature(signature: Uint8Array): string {
  const text = toBase64(signature);
  const lines = [];
  for (let at = 0; at < text.length; at += ARMOR_LINE_LENGTH) {
    lines.push(text.slice(at, at + ARMOR_LINE_LENGTH));
  }
  return ["-----BEGIN SSH SIGNATURE-----", ...lines, "-----END SSH SIGNATURE-----", ""].join("\n");
}

/** PROTOCOL.sshsig "Signed Data, of which the signature goes into the blob above". */
function signedBytes(statement: Uint8Array): Uint8Array {
  return concatBytes(
    MAGIC,
    sshString(STATEMENT_NAMESPACE),
    sshString(""),
    sshString(HASH_NAME),
    sshString(sha512(statement)),
  );
}

function readSignature(bytes: Uint8Array) {
  try {
    const reader = new SshReader(bytes);
    if (!equalBytes(reader.bytes(MAGIC.length), MAGIC) || reader.uint32() !== VERSION) {
      return undefined;
    }
    const publicKey = reader.string();
    const namespace = reader.string();
    reader.string(); // "reserved": signed as empty, so anything in it fails the signature
    const hashName = reader.string();
    const signature = reader.string();
    reader.end();
    return { publicKey, namespace, hashName, signature };
  } catch {
    return undefined;
  }
}
