/**
 * The registry in one SQLite file (`node:sqlite`, WAL).
 *
 * `synchronous=FULL`: in WAL mode NORMAL would be consistent too, but may lose the last commits with
 * the power, and a lost commit here is a member that was told its addresses, or a rotated token that
 * admits again. Commits are rare (a join, a leave, a sweep of last-seen times), so the flush is paid
 * gladly. `kill -9` at any moment leaves the state before or after a commit.
 *
 * @module
 */

import { DatabaseSync, type SQLInputValue, type StatementSync } from "node:sqlite";
import { type EndpointHint, SSH_REACH } from "../wire/control_message.ts";
import {
  type NodeRow,
  type NodeState,
  type Store,
  type StoreChanges,
  type StoreContents,
  StoreError,
  type StoreFault,
  type TokenRow,
} from "./store.ts";

/** Raised when the tables change; an older program then refuses the file. */
const SCHEMA_VERSION = 4;

const SCHEMA = `
CREATE TABLE settings (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE tokens (
  serial INTEGER PRIMARY KEY,
  token_id BLOB NOT NULL UNIQUE,
  kind TEXT NOT NULL,
  state TEXT NOT NULL,
  expires_at INTEGER,
  spent_by TEXT,
  created_at INTEGER NOT NULL,
  name TEXT,
  asked_by TEXT
) STRICT;
CREATE TABLE nodes (
  node_id TEXT PRIMARY KEY,
  static_key BLOB NOT NULL,
  name TEXT NOT NULL,
  host INTEGER NOT NULL,
  ssh_public_key BLOB NOT NULL,
  signature BLOB NOT NULL,
  signed_at INTEGER NOT NULL,
  endpoints TEXT NOT NULL,
  os TEXT,
  software TEXT NOT NULL,
  state TEXT NOT NULL,
  version INTEGER NOT NULL,
  token_serial INTEGER NOT NULL,
  has_connected INTEGER NOT NULL,
  joined_at INTEGER NOT NULL,
  seen_at INTEGER NOT NULL,
  ssh TEXT
) STRICT;
CREATE UNIQUE INDEX node_names ON nodes (name) WHERE state <> 'removed';
CREATE UNIQUE INDEX node_hosts ON nodes (host) WHERE host <> 0;
`;

/** What makes version 2 of version 1, then 3 of 2, and so on. */
const UPGRADES: readonly string[] = [
  "ALTER TABLE nodes ADD COLUMN ssh TEXT",
  "ALTER TABLE tokens ADD COLUMN name TEXT",
  "ALTER TABLE tokens ADD COLUMN asked_by TEXT",
];

/** SQLite result codes, low byte (sqlite3.h) => what they mean to us. */
const FAULTS: Readonly<Record<number, StoreFault>> = {
  5: "locked", // SQLITE_BUSY
  8: "input-output", // SQLITE_READONLY
  10: "input-output", // SQLITE_IOERR
  11: "damaged", // SQLITE_CORRUPT
  13: "full", // SQLITE_FULL
  14: "input-output", // SQLITE_CANTOPEN
  26: "damaged", // SQLITE_NOTADB
};

/** A {@linkcode Store} in a file. */
export class SqliteStore implements Store {
  readonly #database: DatabaseSync;
  readonly #begin: StatementSync;
  readonly #commit: StatementSync;
  readonly #putSetting: StatementSync;
  readonly #putToken: StatementSync;
  readonly #putNode: StatementSync;
  #isClosed = false;

  /**
   * Opens the file, or makes it with its tables.
   *
   * @param path A file (it and its -wal and -shm become 0600), or `:memory:`.
   * @param options.maxPages Most pages of 4096 bytes the file may grow to; for tests of a full disk.
   * @throws {StoreError} when it cannot be opened or is of a newer version.
   */
  constructor(path: string, options: { maxPages?: number } = {}) {
    this.#database = attempt("open the registry", () => open(path));
    try {
      attempt("open the registry", () => {
        migrate(this.#database);
        if (options.maxPages !== undefined) {
          this.#database.exec(`PRAGMA max_page_count = ${Math.trunc(options.maxPages)}`);
        }
      });
      this.#begin = this.#database.prepare("BEGIN IMMEDIATE");
      this.#commit = this.#database.prepare("COMMIT");
      this.#putSetting = this.#database.prepare(upsert("settings", ["name", "value"]));
      this.#putToken = this.#database.prepare(upsert("tokens", TOKEN_COLUMNS));
      this.#putNode = this.#database.prepare(upsert("nodes", NODE_COLUMNS));
    } catch (error) {
      this.#database.close();
      throw error;
    }
  }

  /** @inheritdoc */
  load(): StoreContents {
    return attempt("read the registry", () => ({
      settings: Object.fromEntries(
        this.#database.prepare("SELECT name, value FROM settings").all()
          .map((row) => [String(row.name), String(row.value)]),
      ),
      tokens: this.#database.prepare("SELECT * FROM tokens ORDER BY serial").all().map(tokenOf),
      nodes: this.#database.prepare("SELECT * FROM nodes ORDER BY joined_at, node_id").all()
        .map(nodeOf),
    }));
  }

  /** @inheritdoc */
  save(changes: StoreChanges): void {
    attempt("write the registry", () => {
      this.#begin.run();
      try {
        for (const [name, value] of Object.entries(changes.settings ?? {})) {
          this.#putSetting.run(name, value);
        }
        for (const token of changes.tokens ?? []) this.#putToken.run(...tokenValues(token));
        for (const node of changes.nodes ?? []) this.#putNode.run(...nodeValues(node));
        this.#commit.run();
      } catch (error) {
        // SQLite itself rolls back on a full disk; then there is nothing left to roll back.
        if (this.#database.isTransaction) this.#database.exec("ROLLBACK");
        throw error;
      }
    });
  }

  /** @inheritdoc */
  copyTo(path: string): void {
    attempt("copy the registry", () => {
      // VACUUM INTO fills an existing empty file, which keeps its mode.
      Deno.openSync(path, { createNew: true, write: true, mode: 0o600 }).close();
      this.#database.prepare("VACUUM INTO ?").run(path);
    });
  }

  /** @inheritdoc */
  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#database.close();
  }
}

const TOKEN_COLUMNS = [
  "serial",
  "token_id",
  "kind",
  "state",
  "expires_at",
  "spent_by",
  "created_at",
  "name",
  "asked_by",
];

const NODE_COLUMNS = [
  "node_id",
  "static_key",
  "name",
  "host",
  "ssh_public_key",
  "signature",
  "signed_at",
  "endpoints",
  "os",
  "software",
  "state",
  "version",
  "token_serial",
  "has_connected",
  "joined_at",
  "seen_at",
  "ssh",
];

function open(path: string): DatabaseSync {
  // SQLite gives -wal and -shm the mode of the file, so the file is made with the right one first.
  if (path !== ":memory:") {
    Deno.openSync(path, { create: true, write: true, mode: 0o600 }).close();
    Deno.chmodSync(path, 0o600);
  }
  const database = new DatabaseSync(path, { timeout: 2000 });
  try {
    // Prepared, since exec() leaves the result code out of its error.
    database.prepare("PRAGMA journal_mode = WAL").get();
    database.prepare("PRAGMA synchronous = FULL").run();
  } catch (error) {
    database.close();
    throw error;
  }
  return database;
}

function migrate(database: DatabaseSync): void {
  const version = Number(database.prepare("PRAGMA user_version").get()?.user_version);
  if (version === SCHEMA_VERSION) return;
  if (version > 0 && version < SCHEMA_VERSION) {
    const steps = UPGRADES.slice(version - 1).join("; ");
    database.exec(
      `BEGIN IMMEDIATE; ${steps}; PRAGMA user_version = ${SCHEMA_VERSION}; COMMIT`,
    );
    return;
  }
  if (version !== 0) {
    throw new StoreError(
      "too-new",
      `Cannot open the registry: it has version ${version}, this program knows ${SCHEMA_VERSION}; ` +
        "use the newer program",
    );
  }
  database.exec(`BEGIN IMMEDIATE; ${SCHEMA} PRAGMA user_version = ${SCHEMA_VERSION}; COMMIT`);
}

function attempt<T>(what: string, work: () => T): T {
  try {
    return work();
  } catch (cause) {
    if (cause instanceof StoreError) throw cause;
    const code = (cause as { errcode?: unknown }).errcode;
    const fault = typeof code === "number" ? FAULTS[code & 0xff] ?? "other" : "other";
    const text = cause instanceof Error ? cause.message : String(cause);
    throw new StoreError(fault, `Cannot ${what}: ${text}`, { cause });
  }
}

/** Inserts a row, or changes the one with the same first column; a clash elsewhere is an error. */
function upsert(table: string, columns: readonly string[]): string {
  const [key, ...rest] = columns;
  return `INSERT INTO ${table} (${columns.join(", ")}) VALUES (${columns.map(() => "?").join(", ")})
    ON CONFLICT (${key}) DO UPDATE SET ${rest.map((name) => `${name} = excluded.${name}`).join()}`;
}

type Row = Record<string, unknown>;

function tokenValues(token: TokenRow): SQLInputValue[] {
  return [
    token.serial,
    token.tokenId,
    token.kind,
    token.state,
    token.expiresAt ?? null,
    token.spentBy ?? null,
    token.createdAt,
    token.name ?? null,
    token.askedBy ?? null,
  ];
}

function tokenOf(row: Row): TokenRow {
  return {
    serial: numberIn(row, "serial"),
    tokenId: bytesIn(row, "token_id"),
    kind: wordIn(row, "kind", ["mesh", "invite"]),
    state: wordIn(row, "state", ["active", "rotated", "spent", "revoked"]),
    expiresAt: row.expires_at === null ? undefined : numberIn(row, "expires_at"),
    spentBy: row.spent_by === null ? undefined : textIn(row, "spent_by"),
    createdAt: numberIn(row, "created_at"),
    ...(row.name === null ? {} : { name: textIn(row, "name") }),
    ...(row.asked_by === null ? {} : { askedBy: textIn(row, "asked_by") }),
  };
}

function nodeValues(node: NodeRow): SQLInputValue[] {
  return [
    node.nodeId,
    node.staticKey,
    node.name,
    node.host,
    node.statement.sshPublicKey,
    node.statement.signature,
    node.statement.signedAt,
    JSON.stringify(node.endpoints),
    node.os ?? null,
    node.software,
    node.state,
    node.version,
    node.tokenSerial,
    node.hasConnected ? 1 : 0,
    node.joinedAt,
    node.seenAt,
    node.ssh === undefined ? null : JSON.stringify(SSH_REACH.encode(node.ssh)),
  ];
}

function nodeOf(row: Row): NodeRow {
  return {
    nodeId: textIn(row, "node_id"),
    staticKey: bytesIn(row, "static_key"),
    name: textIn(row, "name"),
    host: numberIn(row, "host"),
    statement: {
      sshPublicKey: bytesIn(row, "ssh_public_key"),
      signature: bytesIn(row, "signature"),
      signedAt: numberIn(row, "signed_at"),
    },
    // Written by nodeValues() and checked when it came in.
    endpoints: JSON.parse(textIn(row, "endpoints")) as EndpointHint[],
    os: row.os === null ? undefined : textIn(row, "os"),
    software: textIn(row, "software"),
    state: wordIn<NodeState>(row, "state", ["active", "disabled", "removed"]),
    version: numberIn(row, "version"),
    tokenSerial: numberIn(row, "token_serial"),
    hasConnected: numberIn(row, "has_connected") !== 0,
    joinedAt: numberIn(row, "joined_at"),
    seenAt: numberIn(row, "seen_at"),
    ...(row.ssh === null
      ? {}
      : { ssh: SSH_REACH.decode(JSON.parse(textIn(row, "ssh")), "column ssh") }),
  };
}

function damaged(column: string): StoreError {
  return new StoreError("damaged", `Cannot read the registry: column ${column} is damaged`);
}

function numberIn(row: Row, column: string): number {
  const value = row[column];
  if (typeof value !== "number") throw damaged(column);
  return value;
}

function textIn(row: Row, column: string): string {
  const value = row[column];
  if (typeof value !== "string") throw damaged(column);
  return value;
}

function bytesIn(row: Row, column: string): Uint8Array {
  const value = row[column];
  if (!(value instanceof Uint8Array)) throw damaged(column);
  return value;
}

function wordIn<T extends string>(row: Row, column: string, words: readonly T[]): T {
  const found = words.find((word) => word === row[column]);
  if (found === undefined) throw damaged(column);
  return found;
}
