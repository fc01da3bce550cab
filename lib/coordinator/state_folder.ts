/**
 * The state folder of a coordinator: the secret, the static key, the certificate, the registry, the
 * lock. The folder is 0700 and its files 0600; a file is written under another name and renamed, so
 * that there is always a whole one.
 *
 * @module
 */

import { fromBase64, toBase64 } from "../base/bytes.ts";
import { randomBytes } from "../crypto/random.ts";
import { generateKeyPair, type KeyPair, keyPairFrom } from "../crypto/x25519.ts";

/** The state folder cannot be used; the message says what to do. */
export class StateFolderError extends Error {
  override readonly name = "StateFolderError";
  /** `locked`: another process has it. */
  readonly fault: "locked" | "unreadable" | "damaged";

  /** @param message One line for people. */
  constructor(fault: StateFolderError["fault"], message: string, options?: ErrorOptions) {
    super(message, options);
    this.fault = fault;
  }
}

/** Names of the files. */
export const STATE_FILES = {
  secret: "secret",
  staticKey: "static.key",
  registry: "registry.db",
  certificate: "tls.crt",
  certificateKey: "tls.key",
  lock: "lock",
} as const;

const SECRET_LENGTH = 32;

/** A state folder that this process holds. */
export class StateFolder {
  /** Path of the folder. */
  readonly path: string;
  readonly #lock: Deno.FsFile;
  #isClosed = false;

  private constructor(path: string, lock: Deno.FsFile) {
    this.path = path;
    this.#lock = lock;
  }

  /**
   * Makes the folder where it is missing and takes its lock.
   *
   * @throws {StateFolderError} when another process has it, or it cannot be made.
   */
  static open(path: string): StateFolder {
    let lock: Deno.FsFile;
    try {
      Deno.mkdirSync(path, { recursive: true, mode: 0o700 });
      Deno.chmodSync(path, 0o700);
      lock = Deno.openSync(join(path, STATE_FILES.lock), {
        create: true,
        write: true,
        mode: 0o600,
      });
    } catch (cause) {
      throw unusable(path, cause);
    }
    if (!lock.tryLockSync(true)) {
      lock.close();
      throw new StateFolderError(
        "locked",
        `Cannot use ${path}: a coordinator is running on it; stop it first or give another --state`,
      );
    }
    return new StateFolder(path, lock);
  }

  /** Path of a file in it. */
  file(name: string): string {
    return join(this.path, name);
  }

  /** Whether a file is there. */
  has(name: string): boolean {
    return this.read(name) !== undefined;
  }

  /**
   * Reads a file; `undefined` where there is none.
   *
   * @throws {StateFolderError} when it is there and cannot be read.
   */
  read(name: string): Uint8Array | undefined {
    try {
      return Deno.readFileSync(this.file(name));
    } catch (cause) {
      if (cause instanceof Deno.errors.NotFound) return undefined;
      throw unusable(this.file(name), cause);
    }
  }

  /**
   * Writes a file whole, 0600, flushed to disk.
   *
   * @throws {StateFolderError} when it cannot be written; what was there before stays.
   */
  write(name: string, contents: Uint8Array): void {
    writeWhole(this.file(name), contents);
  }

  /**
   * The coordinator secret, made on the first start.
   *
   * @returns 32 bytes.
   * @throws {StateFolderError} when it cannot be read or written, or is damaged.
   */
  secret(): Uint8Array {
    const found = this.read(STATE_FILES.secret);
    if (found === undefined) {
      this.#requireFirstStart(STATE_FILES.secret);
      const secret = randomBytes(SECRET_LENGTH);
      this.write(STATE_FILES.secret, secret);
      return secret;
    }
    if (found.length !== SECRET_LENGTH) throw damaged(this.file(STATE_FILES.secret));
    return found;
  }

  /**
   * The static key, made on the first start; in the file as base64.
   *
   * @throws {StateFolderError} when it cannot be read or written, or is damaged.
   */
  staticKey(): KeyPair {
    const found = this.read(STATE_FILES.staticKey);
    if (found === undefined) {
      this.#requireFirstStart(STATE_FILES.staticKey);
      const pair = generateKeyPair();
      const text = toBase64(pair.privateKey) + "\n";
      this.write(STATE_FILES.staticKey, new TextEncoder().encode(text));
      return pair;
    }
    try {
      return keyPairFrom(fromBase64(new TextDecoder().decode(found).trim()));
    } catch (cause) {
      throw damaged(this.file(STATE_FILES.staticKey), cause);
    }
  }

  /** Lets another process have the folder. Safe to call twice. */
  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#lock.close();
  }

  /** A new key beside an old registry would shut every member out without a word. */
  #requireFirstStart(name: string): void {
    if (!this.has(STATE_FILES.registry)) return;
    throw new StateFolderError(
      "damaged",
      `Cannot read ${this.file(name)}: it is missing although the mesh exists; ` +
        "put a backup in place with coordinator restore",
    );
  }
}

/**
 * Writes a file whole: under another name, flushed, 0600, then renamed.
 *
 * @throws {StateFolderError} when it cannot be written.
 */
export function writeWhole(path: string, contents: Uint8Array): void {
  const temporary = `${path}.new`;
  try {
    using file = Deno.openSync(temporary, {
      create: true,
      truncate: true,
      write: true,
      mode: 0o600,
    });
    Deno.chmodSync(temporary, 0o600);
    for (let at = 0; at < contents.length;) at += file.writeSync(contents.subarray(at));
    file.syncSync();
    Deno.renameSync(temporary, path);
  } catch (cause) {
    try {
      Deno.removeSync(temporary);
    } catch {
      // It was never made.
    }
    throw unusable(path, cause);
  }
}

function join(folder: string, name: string): string {
  return `${folder.replace(/\/+$/, "")}/${name}`;
}

function unusable(path: string, cause: unknown): StateFolderError {
  const text = cause instanceof Error ? cause.message : String(cause);
  return new StateFolderError("unreadable", `Cannot use ${path}: ${text}`, { cause });
}

function damaged(path: string, cause?: unknown): StateFolderError {
  return new StateFolderError(
    "damaged",
    `Cannot read ${path}: it is damaged; put a backup in place with coordinator restore`,
    { cause },
  );
}
