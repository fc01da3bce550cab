/**
 * The folder that makes a node: its keys, its membership, its copy of the roster.
 *
 * What must hold: nobody else can read it (folder 0700, files 0600, whatever the umask); a file is
 * there whole or not at all, through a crash and a full disk (temporary file, fsync, rename); one
 * process at a time changes it (a lock that dies with its holder).
 *
 * @module
 */

import { AgentError, reasonOf } from "./errors.ts";

/** Access modes of what is made here. */
const FOLDER_MODE = 0o700;
const FILE_MODE = 0o600;
const OTHERS_BITS = 0o077;

const LOCK_NAME = "lock";

/** A state folder, locked for this process or only read. */
export class StateFolder {
  /** Path as it was given. */
  readonly path: string;
  /** What a person should know about access to the folder, one line each. */
  readonly warnings: readonly string[];
  #lock: Deno.FsFile | undefined;

  private constructor(path: string, warnings: readonly string[], lock: Deno.FsFile | undefined) {
    this.path = path;
    this.warnings = warnings;
    this.#lock = lock;
  }

  /**
   * Makes the folder if need be and takes its lock.
   *
   * @param path Of the folder.
   * @throws {AgentError} `in-use` if another process holds the lock, `privilege` or `storage` if
   * the folder cannot be made or written.
   */
  static open(path: string): StateFolder {
    let lock: Deno.FsFile | undefined;
    try {
      Deno.mkdirSync(path, { recursive: true, mode: FOLDER_MODE });
      const options = { read: true, write: true, create: true, mode: FILE_MODE };
      lock = Deno.openSync(`${path}/${LOCK_NAME}`, options);
      if (!lock.tryLockSync(true)) {
        throw new AgentError(
          "in-use",
          `Cannot use state folder "${path}": another tunnelmesh process runs on it; stop that ` +
            "one, or name another folder by --state",
        );
      }
      return new StateFolder(path, warningsAbout(path), lock);
    } catch (error) {
      lock?.close();
      throw toAgentError(error, `use state folder "${path}"`);
    }
  }

  /**
   * Looks at a folder without locking or making it.
   *
   * @param path Of the folder, which need not exist.
   */
  static peek(path: string): StateFolder {
    return new StateFolder(path, [], undefined);
  }

  /** Whether this process holds the lock. */
  get isLocked(): boolean {
    return this.#lock !== undefined;
  }

  /** Path of a file in the folder. */
  pathOf(name: string): string {
    return `${this.path}/${name}`;
  }

  /**
   * Reads a text file.
   *
   * @param name Inside the folder.
   * @returns `undefined` if there is none.
   * @throws {AgentError} If it is there but cannot be read.
   */
  read(name: string): string | undefined {
    try {
      return Deno.readTextFileSync(this.pathOf(name));
    } catch (error) {
      if (error instanceof Deno.errors.NotFound) return undefined;
      throw toAgentError(error, `read "${this.pathOf(name)}"`);
    }
  }

  /**
   * Writes a text file, whole or not at all, and waits until the disk has it.
   *
   * @param name Inside the folder.
   * @param text New contents.
   * @throws {AgentError} `storage` if the disk is full; the previous contents then still stand.
   */
  write(name: string, text: string): void {
    const path = this.pathOf(name);
    const temporary = `${path}.new`;
    try {
      // A leftover of a crash may have been made by somebody else, with other access rights.
      removeIfThere(temporary);
      const file = Deno.openSync(temporary, { write: true, createNew: true, mode: FILE_MODE });
      try {
        let rest = new TextEncoder().encode(text);
        while (rest.length > 0) rest = rest.subarray(file.writeSync(rest));
        file.syncSync();
      } finally {
        file.close();
      }
      Deno.renameSync(temporary, path);
      syncFolder(this.path);
    } catch (error) {
      tryRemove(temporary);
      throw toAgentError(error, `write "${path}"`);
    }
  }

  /** Removes a file if it is there. @throws {AgentError} If that is not possible. */
  remove(name: string): void {
    try {
      removeIfThere(this.pathOf(name));
    } catch (error) {
      throw toAgentError(error, `remove "${this.pathOf(name)}"`);
    }
  }

  /** Lets go of the lock. Safe to call twice. */
  close(): void {
    this.#lock?.close();
    this.#lock = undefined;
  }
}

function warningsAbout(path: string): string[] {
  const { mode, uid } = Deno.statSync(path);
  const warnings = [];
  if (mode !== null && (mode & OTHERS_BITS) !== 0) {
    const octal = (mode & 0o777).toString(8);
    warnings.push(`State folder "${path}" is open to others (mode ${octal}); do chmod 700 ${path}`);
  }
  const self = Deno.uid();
  if (uid !== null && self !== null && uid !== self) {
    warnings.push(`State folder "${path}" belongs to user ${uid}, not ${self}`);
  }
  return warnings;
}

/** A rename is durable only once its folder is on disk. */
function syncFolder(path: string): void {
  const folder = Deno.openSync(path, { read: true });
  try {
    folder.syncSync();
  } finally {
    folder.close();
  }
}

/** Removes a file that may be gone already. */
export function removeIfThere(path: string): void {
  try {
    Deno.removeSync(path);
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  }
}

/** For the way out of a failure, which must not be hidden by another one. */
function tryRemove(path: string): void {
  try {
    Deno.removeSync(path);
  } catch {
    // What failed before is what will be reported.
  }
}

function toAgentError(error: unknown, attempt: string): AgentError {
  if (error instanceof AgentError) return error;
  if (error instanceof Deno.errors.PermissionDenied) {
    const hint = "run as root, or name a folder of your own by --state";
    return new AgentError("privilege", `Cannot ${attempt}: permission denied; ${hint}`, {
      cause: error,
    });
  }
  const reason = reasonOf(error);
  const remedy = /No space|quota/i.test(reason) ? "; make room on the disk" : "";
  return new AgentError("storage", `Cannot ${attempt}: ${reason}${remedy}`, { cause: error });
}
