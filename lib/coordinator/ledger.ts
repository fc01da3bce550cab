/**
 * The rows of a store in memory, changed only by what was saved: {@linkcode Ledger.commit} writes
 * first. All rule books of the coordinator (members, tokens, PSK epochs) share one ledger, so that
 * one commit can carry a change of several.
 *
 * @module
 */

import { RefusalError } from "../wire/refusal.ts";
import { type NodeRow, type Store, type StoreChanges, StoreError, type TokenRow } from "./store.ts";

/** Names of the settings in the store. */
export type Setting =
  | "mesh-id"
  | "coordinator-key"
  | "ipv4-range"
  | "lineage"
  | "roster-version"
  | "next-host"
  | "psk-current"
  | "psk-next"
  | "psk-next-since"
  | "psk-previous-until";

/** What one commit changes. */
export interface LedgerChanges extends StoreChanges {
  readonly settings?: Readonly<Partial<Record<Setting, string>>>;
}

/** Rows by key, and the one way to change them. */
export class Ledger {
  /** By node id. */
  readonly nodes = new Map<string, NodeRow>();
  /** By serial. */
  readonly tokens = new Map<number, TokenRow>();
  readonly #settings = new Map<string, string>();
  readonly #store: Store;
  readonly #watchers: ((node: NodeRow, before: NodeRow | undefined) => void)[] = [];

  /**
   * Reads the store.
   *
   * @throws {StoreError} when it cannot be read.
   */
  constructor(store: Store) {
    this.#store = store;
    const { nodes, tokens, settings } = store.load();
    for (const node of nodes) this.nodes.set(node.nodeId, node);
    for (const token of tokens) this.tokens.set(token.serial, token);
    for (const [name, value] of Object.entries(settings)) this.#settings.set(name, value);
  }

  /** A setting, or `undefined` where it was never set or is empty. */
  setting(name: Setting): string | undefined {
    return this.#settings.get(name) || undefined;
  }

  /** A setting that is a whole number; 0 where it was never set. */
  number(name: Setting): number {
    return Number(this.#settings.get(name) ?? 0);
  }

  /** Calls `watch` for every node now and whenever one changes, for an index over the rows. */
  watchNodes(watch: (node: NodeRow, before: NodeRow | undefined) => void): void {
    this.#watchers.push(watch);
    for (const node of this.nodes.values()) watch(node, undefined);
  }

  /**
   * Saves, then shows the changes.
   *
   * @throws {RefusalError} `storage-failure`, with the {@linkcode StoreError} as its cause; nothing
   * has changed then.
   */
  commit(changes: LedgerChanges): void {
    try {
      this.#store.save(changes);
    } catch (cause) {
      if (!(cause instanceof StoreError)) throw cause;
      throw new RefusalError("storage-failure", undefined, { cause });
    }
    for (const [name, value] of Object.entries(changes.settings ?? {})) {
      this.#settings.set(name, value);
    }
    for (const token of changes.tokens ?? []) this.tokens.set(token.serial, token);
    for (const node of changes.nodes ?? []) this.replaceInMemory(node);
  }

  /** Shows a row that need not be on disk yet (last seen, endpoints); save it by a later commit. */
  replaceInMemory(node: NodeRow): void {
    const before = this.nodes.get(node.nodeId);
    this.nodes.set(node.nodeId, node);
    for (const watch of this.#watchers) watch(node, before);
  }
}
