/**
 * Backup and restore of a coordinator: everything that makes it this coordinator, in one file.
 *
 * ```
 * { "format": "tunnelmesh-coordinator-backup", "version": 1, "createdAt": ISO 8601,
 *   "files": { name: base64, … } }
 * ```
 *
 * The file holds the coordinator secret and private keys: who has it can be the coordinator.
 *
 * @module
 */

import { fromBase64, toBase64, toHex } from "../base/bytes.ts";
import { randomBytes } from "../crypto/random.ts";
import { STATE_FILES, StateFolder, writeWhole } from "./state_folder.ts";
import type { Store } from "./store.ts";
import { SqliteStore } from "./store_sqlite.ts";

/** A file that is no backup, or cannot be restored here; the message says what to do. */
export class BackupError extends Error {
  override readonly name = "BackupError";
}

const FORMAT = "tunnelmesh-coordinator-backup";
const VERSION = 1;
/** Files that go along if they are there; those of the member are its keys and membership. */
const FILES = [
  STATE_FILES.secret,
  STATE_FILES.staticKey,
  STATE_FILES.certificate,
  STATE_FILES.certificateKey,
  "member/ssh_key",
  "member/ssh_key.pub",
  "member/static.key",
  "member/static.salt",
  "member/membership.json",
  "member/timestamp",
];
const REQUIRED = [STATE_FILES.secret, STATE_FILES.staticKey, STATE_FILES.registry];

/**
 * Writes a backup while the coordinator runs.
 *
 * @param target File to write, 0600; one that is there is replaced.
 * @throws {StateFolderError | StoreError} when it cannot be written.
 */
export function writeBackup(
  { folder, store, target, unixMs }: {
    folder: StateFolder;
    store: Store;
    target: string;
    unixMs: number;
  },
): void {
  const copy = folder.file("registry.backup");
  const files: Record<string, string> = {};
  try {
    removeIfThere(copy);
    store.copyTo(copy);
    files[STATE_FILES.registry] = toBase64(Deno.readFileSync(copy));
  } finally {
    removeIfThere(copy);
  }
  for (const name of FILES) {
    const contents = folder.read(name);
    if (contents !== undefined) files[name] = toBase64(contents);
  }
  const createdAt = new Date(unixMs).toISOString();
  const backup = { format: FORMAT, version: VERSION, createdAt, files };
  writeWhole(target, new TextEncoder().encode(JSON.stringify(backup) + "\n"));
}

/**
 * Puts a backup in place of what a state folder holds. The roster's history starts anew, so that
 * members who saw a later one take the restored one whole.
 *
 * @param path State folder; made where it is missing.
 * @param source Backup file.
 * @returns When the backup was made, ISO 8601.
 * @throws {StateFolderError} when a coordinator runs on the folder, or it cannot be written.
 * @throws {BackupError} when the file is no backup.
 */
export function restoreBackup(path: string, source: string): string {
  const { createdAt, files } = readBackup(source);
  const folder = StateFolder.open(path);
  try {
    // What an old registry left in its WAL must not be played into the restored one.
    for (const suffix of ["-wal", "-shm", ""]) {
      removeIfThere(folder.file(STATE_FILES.registry + suffix));
    }
    for (const [name, contents] of files) {
      if (name.startsWith("member/")) {
        Deno.mkdirSync(folder.file("member"), { recursive: true, mode: 0o700 });
      }
      folder.write(name, contents);
    }
    const store = new SqliteStore(folder.file(STATE_FILES.registry));
    try {
      store.save({ settings: { lineage: toHex(randomBytes(8)) } });
    } finally {
      store.close();
    }
  } finally {
    folder.close();
  }
  return createdAt;
}

function readBackup(source: string): { createdAt: string; files: Map<string, Uint8Array> } {
  let text: string;
  try {
    text = Deno.readTextFileSync(source);
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new BackupError(`Cannot restore: ${why}`, { cause });
  }
  try {
    const backup = JSON.parse(text) as Record<string, unknown>;
    if (backup.format !== FORMAT) throw new TypeError("format");
    if (backup.version !== VERSION) {
      throw new BackupError(
        `Cannot restore ${source}: it is a backup of version ${backup.version}, this program ` +
          `knows ${VERSION}; use the newer program`,
      );
    }
    const known = new Set<string>([...FILES, ...REQUIRED]);
    const files = new Map<string, Uint8Array>();
    for (const [name, contents] of Object.entries(backup.files as Record<string, string>)) {
      if (known.has(name)) files.set(name, fromBase64(contents));
    }
    for (const name of REQUIRED) if (!files.has(name)) throw new TypeError(name);
    return { createdAt: String(backup.createdAt), files };
  } catch (cause) {
    if (cause instanceof BackupError) throw cause;
    throw new BackupError(`Cannot restore ${source}: it is no whole backup of a coordinator`, {
      cause,
    });
  }
}

function removeIfThere(path: string): void {
  try {
    Deno.removeSync(path);
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  }
}
