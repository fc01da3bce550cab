/**
 * What every store must do.
 *
 * @module
 */

import { deepStrictEqual, ok, strictEqual, throws } from "node:assert/strict";
import {
  type NodeRow,
  type Store,
  StoreError,
  type TokenRow,
} from "../../lib/coordinator/store.ts";

/** A node row, all fields set. */
export function nodeRow(change: Partial<NodeRow> = {}): NodeRow {
  return {
    nodeId: "ab".repeat(32),
    staticKey: new Uint8Array(32).fill(1),
    name: "laptop",
    host: 1,
    statement: {
      sshPublicKey: Uint8Array.of(1, 2),
      signature: Uint8Array.of(3, 4, 5),
      signedAt: 1_800_000_000,
    },
    endpoints: [{ endpoint: "192.0.2.1:5000", source: "local" }],
    os: "linux",
    software: "tunnelmesh 0.1.0",
    state: "active",
    version: 1,
    tokenSerial: 1,
    hasConnected: false,
    joinedAt: 1_800_000_000_000,
    seenAt: 1_800_000_000_001,
    ...change,
  };
}

/** A token row, all fields set. */
export function tokenRow(change: Partial<TokenRow> = {}): TokenRow {
  return {
    serial: 1,
    tokenId: Uint8Array.of(1, 2, 3, 4, 5, 6, 7, 8),
    kind: "invite",
    state: "spent",
    expiresAt: 1_900_000_000_000,
    spentBy: "ab".repeat(32),
    askedBy: "cd".repeat(32),
    createdAt: 1_800_000_000_000,
    ...change,
  };
}

const OTHER = nodeRow({
  nodeId: "cd".repeat(32),
  name: "phone",
  host: 2,
  joinedAt: 1_800_000_000_001,
});

/**
 * Registers the cases.
 *
 * @param name Which store.
 * @param open Makes an empty store.
 * @param reopen Opens what the store before left; without it, a store that forgets.
 */
export function storeContract(
  name: string,
  { open, reopen }: { open: () => Store; reopen?: (before: Store) => Store },
): void {
  const again = (store: Store) => reopen === undefined ? store : reopen(store);

  Deno.test(`${name} starts empty and gives back what was saved`, () => {
    let store = open();
    deepStrictEqual(store.load(), { nodes: [], tokens: [], settings: {} });
    const bare = tokenRow({
      serial: 2,
      tokenId: new Uint8Array(8),
      kind: "mesh",
      state: "active",
      expiresAt: undefined,
      spentBy: undefined,
      askedBy: undefined,
    });
    const nodes = [nodeRow(), { ...OTHER, os: undefined, endpoints: [] }];
    store.save({ nodes, tokens: [tokenRow(), bare], settings: { a: "1", b: "" } });
    store = again(store);
    const loaded = store.load();
    deepStrictEqual(plain(loaded.nodes), plain(nodes));
    deepStrictEqual(plain(loaded.tokens), plain([tokenRow(), bare]));
    deepStrictEqual(loaded.settings, { a: "1", b: "" });
    store.close();
    store.close();
  });

  Deno.test(`${name} replaces rows by their key and leaves the others`, () => {
    let store = open();
    store.save({ nodes: [nodeRow(), OTHER], settings: { a: "1", b: "2" } });
    store.save({ nodes: [nodeRow({ name: "desk" })], settings: { a: "3" } });
    store = again(store);
    deepStrictEqual(store.load().nodes.map((node) => node.name), ["desk", "phone"]);
    deepStrictEqual(store.load().settings, { a: "3", b: "2" });
    store.close();
  });

  /** Rows that clash with a saved `nodeRow()`, and why. */
  const clashes: [NodeRow, string][] = [
    [{ ...OTHER, name: "laptop" }, "a name"],
    [{ ...OTHER, host: 1 }, "a host number"],
  ];
  for (const [row, why] of clashes) {
    Deno.test(`${name} saves nothing when ${why} would be there twice`, () => {
      let store = open();
      store.save({ nodes: [nodeRow()], settings: { a: "1" } });
      throws(
        () => store.save({ nodes: [row], tokens: [tokenRow()], settings: { a: "2" } }),
        StoreError,
      );
      store = again(store);
      const { nodes, tokens, settings } = store.load();
      deepStrictEqual([nodes.length, tokens.length, settings.a], [1, 0, "1"], "all or nothing");
      store.save({ nodes: [OTHER] });
      strictEqual(store.load().nodes.length, 2, "and it works on");
      store.close();
    });
  }

  Deno.test(`${name} lets a removed node's name and a given-up host number be used again`, () => {
    const store = open();
    store.save({ nodes: [nodeRow()] });
    store.save({
      nodes: [nodeRow({ state: "removed", host: 0 }), { ...OTHER, name: "laptop", host: 1 }],
    });
    store.save({ nodes: [nodeRow({ nodeId: "ef".repeat(32), state: "removed", host: 0 })] });
    strictEqual(store.load().nodes.length, 3);
    ok(store.load().nodes.some((node) => node.host === 1 && node.nodeId === OTHER.nodeId));
    store.close();
  });
}

/** Without what differs between a fresh and a stored object but means nothing. */
function plain(value: unknown): unknown {
  return JSON.parse(
    JSON.stringify(value, (_, field) => field instanceof Uint8Array ? [...field] : field),
  );
}
