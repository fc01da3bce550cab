/**
 * A store that forgets: the simplest thing that passes the store contract, with a switch that makes
 * it fail as a full disk does.
 *
 * @module
 */

import {
  type NodeRow,
  type Store,
  type StoreChanges,
  type StoreContents,
  StoreError,
  type TokenRow,
} from "../../lib/coordinator/store.ts";

/** A {@linkcode Store} in memory. */
export class MemoryStore implements Store {
  /** While set, nothing can be saved. */
  isFull = false;
  /** How many saves succeeded. */
  saves = 0;
  readonly #nodes = new Map<string, NodeRow>();
  readonly #tokens = new Map<number, TokenRow>();
  readonly #settings = new Map<string, string>();

  load(): StoreContents {
    return {
      nodes: [...this.#nodes.values()],
      tokens: [...this.#tokens.values()].sort((a, b) => a.serial - b.serial),
      settings: Object.fromEntries(this.#settings),
    };
  }

  save(changes: StoreChanges): void {
    if (this.isFull) throw new StoreError("full", "Cannot write the registry: disk is full");
    this.#requireUnique(changes.nodes ?? []);
    for (const node of changes.nodes ?? []) this.#nodes.set(node.nodeId, node);
    for (const token of changes.tokens ?? []) this.#tokens.set(token.serial, token);
    for (const [name, value] of Object.entries(changes.settings ?? {})) {
      this.#settings.set(name, value);
    }
    this.saves++;
  }

  copyTo(): void {
    throw new StoreError("other", "Cannot copy: memory has no file");
  }

  close(): void {}

  #requireUnique(nodes: readonly NodeRow[]): void {
    const after = new Map(this.#nodes);
    for (const node of nodes) after.set(node.nodeId, node);
    const names = new Set<string>();
    const hosts = new Set<number>();
    for (const { name, host, state } of after.values()) {
      const isTwice = (state !== "removed" && names.has(name)) || (host !== 0 && hosts.has(host));
      if (isTwice) throw new StoreError("other", "Cannot write the registry: not unique");
      if (state !== "removed") names.add(name);
      hosts.add(host);
    }
  }
}
