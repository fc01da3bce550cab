/**
 * SSH private keys: made, read, and signed with.
 *
 * Format: OpenSSH PROTOCOL.key. Kinds: Ed25519, RSA of 2048 bits or more, ECDSA on the three NIST
 * curves. Keys are taken apart by `ssh2`, loaded only when needed because it is large; an unencrypted
 * Ed25519 key, which is what this program makes itself, is read here. Signing is native.
 *
 * ```
 * "openssh-key-v1" 0 ‖ string cipher ‖ string kdf ‖ string kdf options ‖ u32 number of keys (1)
 * ‖ string public key ‖ string private part (padded 1, 2, 3, …)
 * kdf options of bcrypt: string salt ‖ u32 rounds
 * private part of ssh-ed25519: u32 check ‖ the same check ‖ string type ‖ string public key
 * ‖ string seed 32 + public key 32 ‖ string comment
 * ```
 *
 * @module
 */

import { createPrivateKey, generateKeyPairSync, type KeyObject, sign } from "node:crypto";
import {
  concatBytes,
  equalBytes,
  fromBase64,
  fromBase64Url,
  toBase64,
  toBase64Url,
  utf8,
} from "../base/bytes.ts";
import { randomBytes } from "./random.ts";
import {
  ECDSA_CURVES,
  type EcdsaCurve,
  ecdsaJwk,
  parseSshPublicKey,
  verifySshSignature,
} from "./ssh_public_key.ts";
import {
  SshFormatError,
  sshMpint,
  SshReader,
  sshString,
  sshUint32,
  toFixedLength,
} from "./ssh_wire.ts";

/** Most bcrypt rounds worked through for a passphrase; `ssh-keygen` uses 16 to 24. */
export const MAX_KDF_ROUNDS = 256;

const BEGIN = "-----BEGIN OPENSSH PRIVATE KEY-----";
const END = "-----END OPENSSH PRIVATE KEY-----";
const MAGIC = utf8("openssh-key-v1\0");
const BASE64_LINE_LENGTH = 70;
const CIPHER_BLOCK_BYTES = 8;

/** Why a private key cannot be used. */
export type SshKeyFault =
  | "not-a-private-key"
  | "other-format"
  | "passphrase-needed"
  | "wrong-passphrase"
  | "too-many-kdf-rounds"
  | "unsupported-kind"
  | "too-short"
  | "malformed";

/** A private key that cannot be used; the message says what to do, and holds no key material. */
export class SshKeyError extends Error {
  /** Always `"SshKeyError"`. */
  override readonly name = "SshKeyError";

  /**
   * Creates an error for one fault.
   *
   * @param fault What is wrong.
   * @param why The end of the sentence that starts with "Cannot use the SSH key: ".
   * @param options Carries the `cause`, if there is one.
   */
  constructor(readonly fault: SshKeyFault, why: string, options?: ErrorOptions) {
    super(`Cannot use the SSH key: ${why}`, options);
  }
}

/** A private key, ready to sign. */
export class SshKey {
  /** SSH name of its kind, such as `ssh-ed25519`. */
  readonly type: string;
  /** Binary public key. */
  readonly publicKey: Uint8Array;
  /** What stands at the end of its `.pub` line. */
  readonly comment: string;
  /**
   * The 32 bytes that an Ed25519 key is made from, where they may serve to derive another key:
   * `undefined` for other kinds, and for a key that was behind a passphrase.
   */
  readonly seed: Uint8Array | undefined;
  readonly #native: KeyObject;

  /** Holds the parts of a key; made by {@linkcode createSshKey} and {@linkcode loadSshKey}. */
  constructor(parts: {
    type: string;
    publicKey: Uint8Array;
    comment: string;
    seed: Uint8Array | undefined;
    native: KeyObject;
  }) {
    this.type = parts.type;
    this.publicKey = parts.publicKey;
    this.comment = parts.comment;
    this.seed = parts.seed;
    this.#native = parts.native;
  }

  /**
   * Signs as `ssh-keygen -Y sign` does.
   *
   * @param message Borrowed until return.
   * @returns Binary signature: name of the algorithm, then what it says.
   */
  sign(message: Uint8Array): Uint8Array {
    if (this.type === "ssh-rsa") {
      return signature("rsa-sha2-512", sign("sha512", message, this.#native));
    }
    if (this.type === "ssh-ed25519") return signature(this.type, sign(null, message, this.#native));
    const { hash, sizeBytes } = ECDSA_CURVES[this.type.slice("ecdsa-sha2-".length) as EcdsaCurve];
    const native = { key: this.#native, dsaEncoding: "ieee-p1363" as const };
    const rs = new Uint8Array(sign(hash, message, native));
    const numbers = concatBytes(
      sshMpint(rs.subarray(0, sizeBytes)),
      sshMpint(rs.subarray(sizeBytes)),
    );
    return signature(this.type, numbers);
  }

  /** The line of a `.pub` file, without a line end. */
  get publicLine(): string {
    return `${this.type} ${toBase64(this.publicKey)} ${this.comment}`.trimEnd();
  }

  /** Names the kind only. */
  toString(): string {
    return `SshKey(${this.type})`;
  }

  /** Names the kind only: private keys never reach a log or a status. */
  toJSON(): string {
    return this.toString();
  }

  /** As {@linkcode SshKey.toString}, for `Deno.inspect` and `console.log`. */
  [Symbol.for("Deno.customInspect")](): string {
    return this.toString();
  }
}

/**
 * Makes a new Ed25519 key.
 *
 * @param comment Goes into both files; one line.
 * @returns The key, and the text of its private key file (0600!).
 */
export function createSshKey(comment: string): { key: SshKey; privateText: string } {
  const native = generateKeyPairSync("ed25519").privateKey;
  const jwk = native.export({ format: "jwk" });
  const key = ed25519Key(fromBase64Url(jwk.d!), comment, true);
  return { key, privateText: formatEd25519Key(key) };
}

/**
 * Reads a private key file.
 *
 * @param text The file. OpenSSH's own format only.
 * @param options `passphrase` is asked for when the key is encrypted; it may return `undefined` for
 * "none to be had".
 * @returns The key.
 * @throws {SshKeyError} If it cannot be used, with the reason and what to do.
 */
export async function loadSshKey(
  text: string,
  options: { readonly passphrase?: () => string | undefined | Promise<string | undefined> } = {},
): Promise<SshKey> {
  const envelope = readEnvelope(text);
  checkKind(envelope.publicKey);
  if (envelope.cipher === "none") {
    return envelope.type === "ssh-ed25519"
      ? readEd25519(envelope)
      : await readBySsh2(text, envelope);
  }
  if (envelope.rounds > MAX_KDF_ROUNDS) {
    throw new SshKeyError(
      "too-many-kdf-rounds",
      `its passphrase takes ${envelope.rounds} rounds to check, at most ${MAX_KDF_ROUNDS} are ` +
        "worked through; do ssh-keygen -p -a 24 -f FILE",
    );
  }
  const passphrase = await options.passphrase?.();
  if (passphrase === undefined) {
    throw new SshKeyError(
      "passphrase-needed",
      "it is protected by a passphrase; run this on a terminal, or use a key without one",
    );
  }
  return await readBySsh2(text, envelope, passphrase);
}

/** What can be read of a key file without its passphrase. */
interface Envelope {
  readonly cipher: string;
  readonly rounds: number;
  readonly type: string;
  readonly publicKey: Uint8Array;
  readonly privatePart: Uint8Array;
}

function readEnvelope(text: string): Envelope {
  const body = text.trim();
  if (!body.startsWith(BEGIN)) throw notOpenSsh(body);
  if (!body.endsWith(END)) throw malformed();
  try {
    const base64 = body.slice(BEGIN.length, -END.length).replace(/\s+/g, "");
    const reader = new SshReader(fromBase64(base64));
    if (!equalBytes(reader.bytes(MAGIC.length), MAGIC)) throw malformed();
    const cipher = reader.text();
    const kdf = reader.text();
    const kdfOptions = new SshReader(reader.string());
    if (reader.uint32() !== 1) throw malformed();
    const publicKey = reader.string();
    const privatePart = reader.string();
    if (kdf !== "none") kdfOptions.string();
    const rounds = kdf === "none" ? 0 : kdfOptions.uint32();
    return { cipher, rounds, type: new SshReader(publicKey).text(), publicKey, privatePart };
  } catch (error) {
    throw error instanceof SshKeyError ? error : malformed(error);
  }
}

function notOpenSsh(body: string): SshKeyError {
  if (/^-----BEGIN [A-Z ]*PRIVATE KEY-----/.test(body)) {
    return new SshKeyError(
      "other-format",
      "it is in PEM format, not OpenSSH's own; convert a copy with ssh-keygen -p -f FILE",
    );
  }
  if (body.startsWith("PuTTY-User-Key-File-")) {
    return new SshKeyError(
      "other-format",
      "it is in PuTTY's format; convert it with puttygen FILE -O private-openssh-new -o NEW",
    );
  }
  if (/^(ssh-|ecdsa-|sk-)/.test(body)) {
    return new SshKeyError(
      "not-a-private-key",
      "this is the public key; name the private one, the file without .pub",
    );
  }
  return new SshKeyError(
    "not-a-private-key",
    "the file holds no OpenSSH private key; make one with ssh-keygen -t ed25519",
  );
}

/** Refuses by the public half, which is readable without a passphrase. */
function checkKind(publicKey: Uint8Array): void {
  const key = parseSshPublicKey(publicKey);
  if (key === "weak-key") {
    throw new SshKeyError("too-short", "RSA keys need 2048 bits; make an ed25519 key");
  }
  if (key === "malformed") throw malformed();
  if (typeof key === "string" || key.application !== undefined) {
    throw new SshKeyError(
      "unsupported-kind",
      "only ed25519, RSA and ECDSA keys kept in a file are supported; make an ed25519 key",
    );
  }
}

function readEd25519(envelope: Envelope): SshKey {
  try {
    const reader = new SshReader(envelope.privatePart);
    if (reader.uint32() !== reader.uint32()) throw malformed();
    reader.text();
    reader.string();
    const pair = reader.string();
    const comment = new TextDecoder().decode(reader.string());
    const key = ed25519Key(pair.slice(0, 32), comment, true);
    if (!equalBytes(key.publicKey, envelope.publicKey)) throw malformed();
    return key;
  } catch (error) {
    throw error instanceof SshKeyError ? error : malformed(error);
  }
}

async function readBySsh2(text: string, envelope: Envelope, passphrase?: string): Promise<SshKey> {
  const { default: ssh2 } = await import("ssh2");
  let parsed: ReturnType<typeof ssh2.utils.parseKey>;
  try {
    parsed = ssh2.utils.parseKey(text, passphrase);
  } catch (error) {
    throw malformed(error); // it asserts what a damaged key may not keep
  }
  if (parsed instanceof Error) {
    if (passphrase !== undefined && /passphrase/.test(parsed.message)) {
      throw new SshKeyError("wrong-passphrase", "the passphrase is wrong; try again");
    }
    throw malformed(parsed);
  }
  // One key per file is what was checked above; types say one, some versions give a list.
  const found = Array.isArray(parsed) ? parsed[0] : parsed;
  try {
    const publicKey = envelope.publicKey.slice();
    const pem = found.getPrivatePEM();
    const comment = found.comment;
    if (envelope.type === "ssh-ed25519") {
      // Behind a passphrase: its seed is not handed on.
      const jwk = createPrivateKey(pem).export({ format: "jwk" });
      return matching(ed25519Key(fromBase64Url(jwk.d!), comment, false), publicKey);
    }
    const native = envelope.type === "ssh-rsa" ? createPrivateKey(pem) : ecdsaKey(pem, publicKey);
    return matching(
      new SshKey({ type: envelope.type, publicKey, comment, seed: undefined, native }),
      publicKey,
    );
  } catch (error) {
    throw error instanceof SshKeyError ? error : malformed(error);
  }
}

/** Insists that both halves belong together, by a signature that only the right pair makes. */
function matching(key: SshKey, publicKey: Uint8Array): SshKey {
  const publicHalf = parseSshPublicKey(publicKey);
  const message = randomBytes(32);
  if (
    typeof publicHalf === "string" ||
    verifySshSignature(publicHalf, message, key.sign(message)) !== undefined
  ) throw malformed();
  return key;
}

function ed25519Key(seed: Uint8Array, comment: string, mayDerive: boolean): SshKey {
  if (seed.length !== 32) throw malformed();
  // RFC 8410 §7: the fixed start of a PKCS #8 Ed25519 key.
  const pkcs8 = concatBytes(fromBase64("MC4CAQAwBQYDK2VwBCIEIA=="), seed);
  const native = createPrivateKey({ key: pkcs8 as never, format: "der", type: "pkcs8" });
  const publicHalf = fromBase64Url(native.export({ format: "jwk" }).x!);
  const type = "ssh-ed25519";
  const publicKey = concatBytes(sshString(type), sshString(publicHalf));
  return new SshKey({ type, publicKey, comment, seed: mayDerive ? seed : undefined, native });
}

/**
 * The scalar of an OpenSSH ECDSA key is an mpint, one byte longer than the curve in half of all
 * keys and shorter in one of 256; SEC 1 wants the exact length, and `ssh2` copies it as it is.
 */
function ecdsaKey(pem: string, publicKey: Uint8Array): KeyObject {
  const reader = new SshReader(publicKey);
  reader.text();
  const curve = reader.text() as EcdsaCurve;
  const jwk = ecdsaJwk(curve, reader.string());
  const scalar = toFixedLength(scalarOf(pem), ECDSA_CURVES[curve].sizeBytes);
  return createPrivateKey({ key: { ...jwk, d: toBase64Url(scalar) }, format: "jwk" });
}

/** SEC 1 appendix C.4: `SEQUENCE { INTEGER 1, OCTET STRING scalar, … }`. */
function scalarOf(pem: string): Uint8Array {
  const der = fromBase64(pem.replace(/-----[^-]+-----|\s+/g, ""));
  const sequenceHead = der[1]! < 0x80 ? 2 : 2 + (der[1]! & 0x7f);
  const at = sequenceHead + 3;
  const length = der[at + 1]!;
  if (der[0] !== 0x30 || der[at] !== 0x04 || length >= 0x80) throw malformed();
  return der.subarray(at + 2, at + 2 + length);
}

function formatEd25519Key(key: SshKey): string {
  const check = randomBytes(4);
  const publicHalf = key.publicKey.subarray(-32);
  const fields = concatBytes(
    check,
    check,
    sshString(key.type),
    sshString(publicHalf),
    sshString(concatBytes(key.seed!, publicHalf)),
    sshString(key.comment),
  );
  const padding = new Uint8Array(
    (CIPHER_BLOCK_BYTES - fields.length % CIPHER_BLOCK_BYTES) % CIPHER_BLOCK_BYTES,
  );
  const body = toBase64(concatBytes(
    MAGIC,
    sshString("none"),
    sshString("none"),
    sshString(""),
    sshUint32(1),
    sshString(key.publicKey),
    sshString(concatBytes(fields, padding.map((_, at) => at + 1))),
  ));
  const lines = [];
  for (let at = 0; at < body.length; at += BASE64_LINE_LENGTH) {
    lines.push(body.slice(at, at + BASE64_LINE_LENGTH));
  }
  return [BEGIN, ...lines, END, ""].join("\n");
}

function signature(algorithm: string, body: Uint8Array): Uint8Array {
  return concatBytes(sshString(algorithm), sshString(new Uint8Array(body)));
}

function malformed(cause?: unknown): SshKeyError {
  const why = "the file is damaged; restore it, or make a new key with ssh-keygen -t ed25519";
  return new SshKeyError("malformed", why, cause instanceof SshFormatError ? { cause } : undefined);
}
