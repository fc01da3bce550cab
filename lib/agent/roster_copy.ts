/**
 * This node's copy of the roster: changed by the coordinator's deltas, kept on disk.
 *
 * The disk gets it a moment after a change, never for each of many, but at once if somebody is no
 * member any more: a start without the coordinator must not bring that one back. A full disk costs
 * nothing but the copy's freshness.
 *
 * @module
 */

import type { Clock } from "../base/clock.ts";
import { toHex } from "../base/bytes.ts";
import { sha256 } from "../crypto/hash.ts";
import type { EndpointHint } from "../wire/control_message.ts";
import type { NodeRecord, Psks, Roster } from "../wire/server_message.ts";
import { type CachedRoster, writeCachedRoster } from "./membership.ts";
import type { StateFolder } from "./state_folder.ts";

/** How long changes are gathered before they are written. */
const WRITE_DELAY_MS = 500;
/** The same for endpoints, which change more often and matter less. */
const ENDPOINTS_WRITE_DELAY_MS = 20_000;
/** How long a disk that did not take the copy is left alone. */
const RETRY_DELAY_MS = 30_000;

/** What one body changed. */
export interface RosterChange {
  /** Nodes that are new, or no longer as they were. */
  readonly upserts: readonly NodeRecord[];
  /** Node ids that are no longer members. */
  readonly removes: readonly string[];
}

/** What a {@linkcode RosterCopy} needs. */
export interface RosterCopyOptions {
  readonly folder: StateFolder;
  readonly clock: Clock;
  /** What the disk had. */
  readonly cached?: CachedRoster | undefined;
  /** Told when the disk did not take the copy. */
  readonly writeFailed: (error: unknown) => void;
}

/** The roster as this node knows it. */
export class RosterCopy {
  readonly #options: RosterCopyOptions;
  readonly #nodes = new Map<string, NodeRecord>();
  #version = 0;
  #lineage: string | undefined;
  #psks: Psks | undefined;
  /** Node ids named since a `full` body began, until the one that completes it. */
  #fullInProgress: Set<string> | undefined;
  #nextWrite: { readonly at: number; readonly cancel: () => void } | undefined;

  /** Takes over what the disk had. */
  constructor(options: RosterCopyOptions) {
    this.#options = options;
    if (options.cached === undefined) return;
    this.#psks = options.cached.psks;
    this.#change(options.cached.roster);
  }

  /** Members, this node included, by node id. */
  get nodes(): ReadonlyMap<string, NodeRecord> {
    return this.#nodes;
  }

  /** For the next `hello`: 0 if the copy is not complete. */
  get version(): number {
    return this.#version;
  }

  /** For the next `hello`: which history the version counts in. */
  get lineage(): string | undefined {
    return this.#lineage;
  }

  /** Mesh PSKs in force. */
  get psks(): Psks | undefined {
    return this.#psks;
  }

  /** Takes what the coordinator said about members, and says what that changed. */
  apply(roster: Roster): RosterChange {
    const change = this.#change(roster);
    // At once is: after the caller has ended the sessions of who is removed.
    this.#writeSoon(change.removes.length > 0 ? 0 : WRITE_DELAY_MS);
    return change;
  }

  /** Remembers where a member is, for a start without the coordinator. */
  setEndpoints(nodeId: string, endpoints: readonly EndpointHint[]): void {
    const node = this.#nodes.get(nodeId);
    if (node === undefined || JSON.stringify(node.endpoints) === JSON.stringify(endpoints)) return;
    this.#nodes.set(nodeId, { ...node, endpoints });
    this.#writeSoon(ENDPOINTS_WRITE_DELAY_MS);
  }

  /**
   * Takes the mesh PSKs in force; the disk has them when this returns, as an acknowledgement says.
   *
   * @returns Whether the disk took them.
   */
  setPsks(psks: Psks): boolean {
    this.#psks = psks;
    return this.#write();
  }

  /** Gives up what is not written yet: the node has left this mesh. */
  discard(): void {
    this.#nextWrite?.cancel();
    this.#nextWrite = undefined;
  }

  /** Writes what is not written yet and stops. */
  close(): void {
    if (this.#nextWrite === undefined) return;
    this.#nextWrite.cancel();
    this.#nextWrite = undefined;
    this.#write();
  }

  #change(roster: Roster): RosterChange {
    if (roster.full) {
      this.#fullInProgress = new Set();
      this.#version = 0;
    }
    const upserts: NodeRecord[] = [];
    for (const node of roster.upserts) {
      // A node id is the hash of its key; anything else is no roster of this protocol.
      if (toHex(sha256(node.staticKey)) !== node.nodeId) continue;
      this.#fullInProgress?.add(node.nodeId);
      const known = this.#nodes.get(node.nodeId);
      if (known !== undefined && JSON.stringify(known) === JSON.stringify(node)) continue;
      this.#nodes.set(node.nodeId, node);
      upserts.push(node);
    }
    const removes = roster.removes.filter((nodeId) => this.#nodes.delete(nodeId));
    if (roster.version !== 0) {
      removes.push(...this.#removeUnnamed());
      this.#version = roster.version;
    }
    this.#lineage = roster.lineage;
    return { upserts, removes };
  }

  #removeUnnamed(): string[] {
    const named = this.#fullInProgress;
    if (named === undefined) return [];
    this.#fullInProgress = undefined;
    const gone = [...this.#nodes.keys()].filter((nodeId) => !named.has(nodeId));
    for (const nodeId of gone) this.#nodes.delete(nodeId);
    return gone;
  }

  #writeSoon(delayMs: number): void {
    const { clock } = this.#options;
    const at = clock.now() + delayMs;
    if (this.#nextWrite !== undefined && this.#nextWrite.at <= at) return;
    this.#nextWrite?.cancel();
    const cancel = clock.schedule(at, () => {
      this.#nextWrite = undefined;
      if (!this.#write()) this.#writeSoon(RETRY_DELAY_MS);
    });
    this.#nextWrite = { at, cancel };
  }

  #write(): boolean {
    // Half a roster, or one whose keys are missing, would be worse than the one on disk.
    if (this.#psks === undefined || this.#version === 0 || this.#lineage === undefined) return true;
    const roster: Roster = {
      kind: "roster",
      version: this.#version,
      lineage: this.#lineage,
      full: true,
      upserts: [...this.#nodes.values()],
      removes: [],
    };
    try {
      writeCachedRoster(this.#options.folder, { roster, psks: this.#psks });
      return true;
    } catch (error) {
      this.#options.writeFailed(error);
      return false;
    }
  }
}
