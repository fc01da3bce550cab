/**
 * Tokens: what admits a new node to a mesh, as text, and the keys that follow from one.
 *
 * ```text
 * "tm1_" ‖ base64url( mesh id 16 │ coordinator static public key 32 │ join secret 32 │ check 4 )
 * ```
 *
 * The check is the first 4 bytes of SHA-256 of the 80 before it: it finds slips of the pen, it
 * protects nothing. A token is a secret; nothing here puts one, or a part of one, into a message.
 *
 * @module
 */

import { concatBytes, equalBytes, fromBase64Url, toBase64Url, utf8 } from "../base/bytes.ts";
import { writeU64Le } from "../base/integers.ts";
import { sha256 } from "../crypto/hash.ts";
import { hkdf } from "../crypto/hkdf.ts";

/** What every token begins with: form and version. */
export const TOKEN_PREFIX = "tm1_";
/** Characters in a token. */
export const TOKEN_LENGTH = 116;
/** Lengths of the parts, in order. */
export const TOKEN_PARTS = { meshId: 16, coordinatorKey: 32, joinSecret: 32, check: 4 } as const;
/** Length of what names a token in the store and on the wire. */
export const TOKEN_ID_LENGTH = 8;

/** Labels of the derivations. */
export const TOKEN_LABELS = {
  joinSecret: "tunnelmesh join v1",
  tokenId: "tunnelmesh token id v1",
  joinPsk: "tunnelmesh join psk v1",
} as const;

const KEY_AT = TOKEN_PARTS.meshId;
const SECRET_AT = KEY_AT + TOKEN_PARTS.coordinatorKey;
const CHECK_AT = SECRET_AT + TOKEN_PARTS.joinSecret;

/** What a token says. */
export interface Token {
  /** 16 bytes: which mesh. */
  readonly meshId: Uint8Array;
  /** 32 bytes: the static public key by which the coordinator is recognised. */
  readonly coordinatorKey: Uint8Array;
  /** 32 bytes: what the token's id and preshared key are derived from. */
  readonly joinSecret: Uint8Array;
}

/** Text that is no token; the message says why and does not repeat it. */
export class TokenSyntaxError extends SyntaxError {
  override readonly name = "TokenSyntaxError";

  /** @param why What is wrong. */
  constructor(why: string) {
    super(`Cannot read token: ${why}`);
  }
}

/**
 * Writes a token.
 *
 * @throws {RangeError} when a part has another length than it should.
 */
export function formatToken({ meshId, coordinatorKey, joinSecret }: Token): string {
  requireLength("meshId", meshId, TOKEN_PARTS.meshId);
  requireLength("coordinatorKey", coordinatorKey, TOKEN_PARTS.coordinatorKey);
  requireLength("joinSecret", joinSecret, TOKEN_PARTS.joinSecret);
  const said = concatBytes(meshId, coordinatorKey, joinSecret);
  return TOKEN_PREFIX + toBase64Url(concatBytes(said, checkOf(said)));
}

/**
 * Reads a token.
 *
 * @param text White space around it is ignored, as a file ends in a line feed.
 * @throws {TokenSyntaxError} when it is not one, whole and unaltered.
 */
export function parseToken(text: string): Token {
  const token = text.trim();
  if (token === "") throw new TokenSyntaxError("it is empty");
  if (!token.startsWith(TOKEN_PREFIX)) {
    throw new TokenSyntaxError(`it does not begin with "${TOKEN_PREFIX}"`);
  }
  if (token.length !== TOKEN_LENGTH) {
    throw new TokenSyntaxError(
      `it has ${token.length} characters, not ${TOKEN_LENGTH}; perhaps a part was not copied`,
    );
  }
  const bytes = decode(token.slice(TOKEN_PREFIX.length));
  const said = bytes.subarray(0, CHECK_AT);
  if (!equalBytes(bytes.subarray(CHECK_AT), checkOf(said))) {
    throw new TokenSyntaxError("its checksum is wrong; a character was changed in copying");
  }
  return {
    meshId: said.slice(0, KEY_AT),
    coordinatorKey: said.slice(KEY_AT, SECRET_AT),
    joinSecret: said.slice(SECRET_AT),
  };
}

/**
 * The join secret of a mesh's token number `serial`, which the coordinator need not store.
 *
 * @param coordinatorSecret 32 bytes.
 * @param serial `[0, 2**53)`.
 * @returns 32 bytes.
 * @throws {RangeError} when either is out of range.
 */
export function joinSecretOf(coordinatorSecret: Uint8Array, serial: number): Uint8Array {
  requireLength("coordinatorSecret", coordinatorSecret, 32);
  if (!Number.isSafeInteger(serial) || serial < 0) {
    throw new RangeError(`Cannot make token: serial ${serial} is out of range`);
  }
  const serialBytes = new Uint8Array(8);
  writeU64Le(serialBytes, 0, serial);
  return hkdf(coordinatorSecret, {
    info: concatBytes(utf8(TOKEN_LABELS.joinSecret), serialBytes),
  });
}

/** What names a token without giving it away: 8 bytes. */
export function tokenIdOf(joinSecret: Uint8Array): Uint8Array {
  return derive(joinSecret, TOKEN_LABELS.tokenId).slice(0, TOKEN_ID_LENGTH);
}

/** The preshared key of a joining node's first handshake: 32 bytes. */
export function joinPskOf(joinSecret: Uint8Array): Uint8Array {
  return derive(joinSecret, TOKEN_LABELS.joinPsk);
}

function derive(joinSecret: Uint8Array, label: string): Uint8Array {
  requireLength("joinSecret", joinSecret, TOKEN_PARTS.joinSecret);
  return hkdf(joinSecret, { info: utf8(label) });
}

function checkOf(said: Uint8Array): Uint8Array {
  return sha256(said).subarray(0, TOKEN_PARTS.check);
}

function decode(text: string): Uint8Array {
  try {
    return fromBase64Url(text);
  } catch {
    // The cause is left out: it may quote the text.
    throw new TokenSyntaxError("it holds characters other than A-Z, a-z, 0-9, - and _");
  }
}

function requireLength(name: string, bytes: Uint8Array, length: number): void {
  if (bytes.length !== length) {
    throw new RangeError(`Cannot use ${name}: it must be ${length} bytes, is ${bytes.length}`);
  }
}
