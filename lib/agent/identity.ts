/**
 * Who this node is: an SSH key that a person may recognise, and the static key that the protocol
 * speaks with (protocol.md §1).
 *
 * ```
 * state folder   ssh_key, ssh_key.pub   made here, unless a key elsewhere was adopted
 *                ssh_key_path           where the adopted one lies
 *                static.salt            base64, 32 bytes, no secret
 *                static.key             base64, 32 bytes; written last: with it the identity is whole
 * ```
 *
 * @module
 */

import { fromBase64, toBase64, toHex, utf8, wipe } from "../base/bytes.ts";
import { sha256 } from "../crypto/hash.ts";
import { hkdf } from "../crypto/hkdf.ts";
import { randomBytes } from "../crypto/random.ts";
import { createSshKey, loadSshKey, type SshKey } from "../crypto/ssh_key.ts";
import { generateKeyPair, type KeyPair, keyPairFrom } from "../crypto/x25519.ts";
import { AgentError, reasonOf } from "./errors.ts";
import type { StateFolder } from "./state_folder.ts";

const SSH_KEY = "ssh_key";
const SSH_KEY_PUBLIC = "ssh_key.pub";
const SSH_KEY_PATH = "ssh_key_path";
const SALT = "static.salt";
const STATIC_KEY = "static.key";

/** All files that an identity may have made. */
export const IDENTITY_FILES: readonly string[] = [STATIC_KEY, SALT, SSH_KEY_PUBLIC, SSH_KEY];

const STATIC_INFO = utf8("tunnelmesh static v1");

/** A node's identity, as the agent needs it. */
export interface Identity {
  /** X25519 key pair. */
  readonly staticKey: KeyPair;
  /** SHA-256 of the static public key, 64 hex digits. */
  readonly nodeId: string;
  /** Where the SSH private key lies. */
  readonly sshKeyPath: string;
  /** Whether this call made the identity. */
  readonly isNew: boolean;
  /** Reads the SSH key, to sign the statement with; needed once in the life of a node. */
  sshKey(): Promise<SshKey>;
}

/** How to find the SSH key. */
export interface IdentityOptions {
  /** A key to adopt instead of making one. */
  readonly sshKeyPath?: string | undefined;
  /** Asks a person; `undefined`: nobody is there to be asked. */
  readonly passphrase?: (() => string | undefined | Promise<string | undefined>) | undefined;
}

/**
 * Reads the identity of a state folder, making what is missing.
 *
 * @param folder Locked.
 * @param options Where an SSH key is to be adopted from.
 * @throws {AgentError} `usage` if the folder has another SSH key than the one to adopt.
 * @throws {SshKeyError} If the SSH key cannot be used.
 */
export async function openIdentity(
  folder: StateFolder,
  options: IdentityOptions = {},
): Promise<Identity> {
  const found = readIdentity(folder, options);
  if (found === undefined) return await makeIdentity(folder, options);
  const wanted = options.sshKeyPath;
  if (wanted === undefined || realPath(wanted) === realPath(found.sshKeyPath)) return found;
  // The same key may have moved; another one would make the statement say something untrue.
  const key = await loadFrom(wanted, options);
  if (key.publicLine.split(" ")[1] !== folder.read(SSH_KEY_PUBLIC)?.split(" ")[1]) {
    throw new AgentError(
      "usage",
      `Cannot adopt SSH key "${wanted}": state folder "${folder.path}" was made with another ` +
        `one, "${found.sshKeyPath}"; name another folder by --state`,
    );
  }
  const path = realPath(wanted);
  folder.write(SSH_KEY_PATH, path + "\n");
  return { ...found, sshKeyPath: path, sshKey: () => Promise.resolve(key) };
}

/**
 * Reads the identity of a state folder.
 *
 * @param folder Need not be locked.
 * @param options Who to ask for a passphrase.
 * @returns `undefined` if it has none yet.
 * @throws {AgentError} If a file is damaged.
 */
export function readIdentity(
  folder: StateFolder,
  options: IdentityOptions = {},
): Identity | undefined {
  const text = folder.read(STATIC_KEY);
  if (text === undefined) return undefined;
  const privateKey = decode(folder, STATIC_KEY, text);
  const path = folder.read(SSH_KEY_PATH)?.trim() ?? folder.pathOf(SSH_KEY);
  return identityOf(keyPairFrom(privateKey), path, false, () => loadFrom(path, options));
}

/**
 * Derives the static key from an Ed25519 seed (protocol.md §1).
 *
 * @param seed 32 bytes; borrowed.
 * @param salt 32 random bytes of the state folder, so that two folders are two nodes; borrowed.
 * @returns An X25519 key pair whose private key is clamped (RFC 7748 §5).
 */
export function deriveStaticKey(seed: Uint8Array, salt: Uint8Array): KeyPair {
  const privateKey = hkdf(seed, { salt, info: STATIC_INFO });
  privateKey[0]! &= 248;
  privateKey[31]! = privateKey[31]! & 127 | 64;
  return keyPairFrom(privateKey);
}

async function makeIdentity(folder: StateFolder, options: IdentityOptions): Promise<Identity> {
  const adopted = options.sshKeyPath;
  const path = adopted === undefined ? folder.pathOf(SSH_KEY) : realPath(adopted);
  const key = await findOrMakeSshKey(folder, options);
  const salt = readOrMakeSalt(folder);
  const staticKey = key.seed === undefined ? generateKeyPair() : deriveStaticKey(key.seed, salt);
  if (key.seed !== undefined) wipe(key.seed);
  folder.write(STATIC_KEY, toBase64(staticKey.privateKey) + "\n");
  return identityOf(staticKey, path, true, () => Promise.resolve(key));
}

async function findOrMakeSshKey(folder: StateFolder, options: IdentityOptions): Promise<SshKey> {
  const path = options.sshKeyPath;
  if (path !== undefined) {
    const key = await loadFrom(path, options);
    folder.write(SSH_KEY_PATH, realPath(path) + "\n");
    folder.write(SSH_KEY_PUBLIC, key.publicLine + "\n");
    return key;
  }
  // A crash may have left the SSH key without the static key that follows from it.
  if (folder.read(SSH_KEY) !== undefined) return await loadFrom(folder.pathOf(SSH_KEY), options);
  const { key, privateText } = createSshKey(`tunnelmesh@${Deno.hostname()}`);
  folder.write(SSH_KEY, privateText);
  folder.write(SSH_KEY_PUBLIC, key.publicLine + "\n");
  return key;
}

function readOrMakeSalt(folder: StateFolder): Uint8Array {
  const text = folder.read(SALT);
  if (text !== undefined) return decode(folder, SALT, text);
  const salt = randomBytes(32);
  folder.write(SALT, toBase64(salt) + "\n");
  return salt;
}

async function loadFrom(path: string, options: IdentityOptions): Promise<SshKey> {
  let text: string;
  try {
    text = Deno.readTextFileSync(path);
  } catch (error) {
    const why = error instanceof Deno.errors.NotFound ? "there is no such file" : reasonOf(error);
    throw new AgentError("usage", `Cannot read SSH key "${path}": ${why}; name one by --ssh-key`, {
      cause: error,
    });
  }
  const { passphrase } = options;
  return await loadSshKey(text, passphrase === undefined ? {} : { passphrase });
}

/** A path that holds from any working folder; as it stands if there is no such file. */
function realPath(path: string): string {
  try {
    return Deno.realPathSync(path);
  } catch {
    return path;
  }
}

function decode(folder: StateFolder, name: string, text: string): Uint8Array {
  try {
    const bytes = fromBase64(text.trim());
    if (bytes.length === 32) return bytes;
  } catch {
    // Said below, without the contents.
  }
  throw new AgentError(
    "storage",
    `Cannot read "${folder.pathOf(name)}": it is damaged; restore it, or join with another folder`,
  );
}

function identityOf(
  staticKey: KeyPair,
  sshKeyPath: string,
  isNew: boolean,
  sshKey: () => Promise<SshKey>,
): Identity {
  const nodeId = toHex(sha256(staticKey.publicKey));
  return { staticKey, nodeId, sshKeyPath, isNew, sshKey };
}
