/**
 * What members say of themselves and SSH: it reaches the others, outlives a restart, and nobody can
 * say that another's key is its own.
 *
 * @module
 */

import { deepStrictEqual, strictEqual } from "node:assert/strict";
import { DatabaseSync } from "node:sqlite";
import { SqliteStore } from "../../lib/coordinator/store_sqlite.ts";
import { MemoryMesh } from "./memory_mesh.ts";
import { nodeRow } from "./store_contract.ts";

const SSH = {
  hostKeys: [Uint8Array.of(1, 2), Uint8Array.of(3)],
  clientKey: Uint8Array.of(4, 5),
  endpoints: ["192.0.2.1:2222", "root@[2001:db8::1]:22"],
};

Deno.test("SqliteStore keeps what a node says of SSH, and takes over a registry from before", () => {
  const folder = Deno.makeTempDirSync();
  try {
    const path = `${folder}/registry.db`;
    const plain = nodeRow();
    let store = new SqliteStore(path);
    store.save({ nodes: [plain] });
    store.close();
    // As a program left it that knew nothing of SSH, nor of invites with names and who asked.
    const old = new DatabaseSync(path);
    old.exec(
      "ALTER TABLE nodes DROP COLUMN ssh; ALTER TABLE tokens DROP COLUMN name;" +
        "ALTER TABLE tokens DROP COLUMN asked_by; PRAGMA user_version = 1",
    );
    old.close();
    store = new SqliteStore(path);
    deepStrictEqual([...store.load().nodes], [plain]);
    store.save({ nodes: [{ ...plain, ssh: SSH }] });
    store.close();
    store = new SqliteStore(path);
    deepStrictEqual([...store.load().nodes], [{ ...plain, ssh: SSH }]);
    store.close();
  } finally {
    Deno.removeSync(folder, { recursive: true });
  }
});

Deno.test("what a node says of SSH reaches the others, but not as the owner of another's key", () => {
  const mesh = new MemoryMesh();
  const a = mesh.join("a");
  const b = mesh.join("b");
  a.say({ kind: "ssh", ...SSH });
  mesh.run();
  deepStrictEqual(b.peer("a")?.ssh, SSH);
  b.say({ kind: "ssh", ...SSH, hostKeys: [Uint8Array.of(9)] });
  mesh.run();
  strictEqual(a.peer("b")?.ssh, undefined);
  b.say({ kind: "ssh", ...SSH, clientKey: Uint8Array.of(7) });
  mesh.run();
  deepStrictEqual(a.peer("b")?.ssh?.clientKey, Uint8Array.of(7));
});
