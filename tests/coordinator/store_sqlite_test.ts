/**
 * SqliteStore: the contract, and what only a file has: modes, a full disk, a killed process.
 *
 * @module
 */

import { deepStrictEqual, ok, strictEqual, throws } from "node:assert/strict";
import { DatabaseSync } from "node:sqlite";
import { type Store, StoreError } from "../../lib/coordinator/store.ts";
import { SqliteStore } from "../../lib/coordinator/store_sqlite.ts";
import { MemoryStore } from "./memory_store.ts";
import { nodeRow, storeContract, tokenRow } from "./store_contract.ts";

storeContract("MemoryStore", { open: () => new MemoryStore() });
storeContract("SqliteStore in memory", { open: () => new SqliteStore(":memory:") });

const paths = new Map<Store, string>();
storeContract("SqliteStore in a file", {
  open() {
    const path = `${Deno.makeTempDirSync()}/registry.db`;
    const store = new SqliteStore(path);
    paths.set(store, path);
    return store;
  },
  reopen(before) {
    const path = paths.get(before)!;
    before.close();
    return new SqliteStore(path);
  },
});

/** Runs with the path of a database in a folder that is removed afterwards. */
async function withFile(run: (path: string) => void | Promise<void>): Promise<void> {
  const folder = await Deno.makeTempDir();
  try {
    await run(`${folder}/registry.db`);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

Deno.test("SqliteStore keeps its files, -wal and -shm too, for the owner alone", async () => {
  await withFile((path) => {
    Deno.umask(0o022);
    const store = new SqliteStore(path);
    store.save({ nodes: [nodeRow()] });
    for (const suffix of ["", "-wal", "-shm"]) {
      strictEqual(Deno.statSync(path + suffix).mode! & 0o777, 0o600, suffix);
    }
    store.copyTo(`${path}.copy`);
    strictEqual(Deno.statSync(`${path}.copy`).mode! & 0o777, 0o600, "the copy");
    store.close();
    Deno.chmodSync(path, 0o644);
    new SqliteStore(path).close();
    strictEqual(Deno.statSync(path).mode! & 0o777, 0o600, "mended on opening");
  });
});

Deno.test("SqliteStore.save() on a full disk saves nothing and goes on", async () => {
  await withFile((path) => {
    const store = new SqliteStore(path, { maxPages: 12 });
    const long = new Uint8Array(4000).fill(7);
    let saved = 0;
    let failure: unknown;
    for (let i = 1; i < 100 && failure === undefined; i++) {
      const nodeId = i.toString(16).padStart(64, "0");
      const statement = { sshPublicKey: long, signature: long, signedAt: i };
      try {
        store.save({
          nodes: [nodeRow({ nodeId, name: `n${i}`, host: i, statement })],
          settings: { count: String(i) },
        });
        saved = i;
      } catch (error) {
        failure = error;
      }
    }
    ok(failure instanceof StoreError, String(failure));
    strictEqual(failure.fault, "full");
    const { nodes, settings } = store.load();
    deepStrictEqual([nodes.length, settings.count], [saved, String(saved)], "nothing by halves");
    store.save({ settings: { count: "small" } });
    strictEqual(store.load().settings.count, "small", "what still fits is saved");
    store.close();
  });
});

/** Version => what takes a registry of today back to it. */
const BACK: Readonly<Record<number, string>> = {
  1: "ALTER TABLE tokens DROP COLUMN asked_by; ALTER TABLE tokens DROP COLUMN name; " +
    "ALTER TABLE nodes DROP COLUMN ssh",
  2: "ALTER TABLE tokens DROP COLUMN asked_by; ALTER TABLE tokens DROP COLUMN name",
  3: "ALTER TABLE tokens DROP COLUMN asked_by",
};
for (const [version, back] of Object.entries(BACK)) {
  Deno.test(`SqliteStore opens a registry of version ${version}, and keeps what is in it`, async () => {
    await withFile((path) => {
      let store = new SqliteStore(path);
      const { askedBy, ...token } = tokenRow();
      store.save({ nodes: [nodeRow()], tokens: [token], settings: { a: "1" } });
      const before = store.load();
      store.close();
      const database = new DatabaseSync(path);
      database.exec(`${back}; PRAGMA user_version = ${version}`);
      database.close();
      store = new SqliteStore(path);
      deepStrictEqual(store.load(), before);
      store.save({ tokens: [tokenRow({ serial: 2, tokenId: new Uint8Array(8), name: "desk" })] });
      store.close();
      store = new SqliteStore(path);
      const [, saved] = store.load().tokens;
      deepStrictEqual([saved!.name, saved!.askedBy], ["desk", askedBy]);
      store.close();
    });
  });
}

Deno.test("SqliteStore refuses files that are newer, damaged or somewhere impossible", async () => {
  await withFile((path) => {
    new SqliteStore(path).close();
    const database = new DatabaseSync(path);
    database.exec("PRAGMA user_version = 99");
    database.close();
    const opening = () => new SqliteStore(path);
    throws(opening, (error: unknown) => error instanceof StoreError && error.fault === "too-new");
    Deno.writeTextFileSync(
      path,
      "this is no database, but long enough to be looked at\n".repeat(9),
    );
    throws(opening, (error: unknown) => error instanceof StoreError && error.fault === "damaged");
    throws(() => new SqliteStore(`${path}/no/such`), StoreError);
  });
});

Deno.test("SqliteStore survives kill -9 between and within saves", async () => {
  await withFile(async (path) => {
    const writer = `
      import { SqliteStore } from ${
      JSON.stringify(new URL("../../lib/coordinator/store_sqlite.ts", import.meta.url).href)
    };
      const store = new SqliteStore(${JSON.stringify(path)});
      const row = ${
      JSON.stringify(nodeRow(), (_, value) => value instanceof Uint8Array ? [...value] : value)
    };
      row.staticKey = Uint8Array.from(row.staticKey);
      row.statement.sshPublicKey = Uint8Array.from(row.statement.sshPublicKey);
      row.statement.signature = Uint8Array.from(row.statement.signature);
      for (let i = 1;; i++) {
        const nodeId = i.toString(16).padStart(64, "0");
        store.save({
          nodes: [{ ...row, nodeId, name: "n" + i, host: i }],
          settings: { count: String(i) },
        });
        console.log(i);
      }`;
    const script = `${path}.ts`;
    Deno.writeTextFileSync(script, writer);
    const child = new Deno.Command(Deno.execPath(), {
      args: ["run", "-A", "--no-config", "--no-check", script],
      stdout: "piped",
      stderr: "null",
    }).spawn();
    let said = "";
    const decoder = new TextDecoder();
    for await (const chunk of child.stdout) {
      said += decoder.decode(chunk, { stream: true });
      if (said.split("\n").length > 50) break;
    }
    child.kill("SIGKILL");
    await child.status;
    const acknowledged = Number(said.trimEnd().split("\n").slice(0, -1).at(-1));
    const store = new SqliteStore(path);
    const { nodes, settings } = store.load();
    strictEqual(String(nodes.length), settings.count, "row and setting of one save stay together");
    ok(nodes.length >= acknowledged, "what was acknowledged is there");
    store.close();
  });
});
