/**
 * Where the registry is kept. A store holds rows and saves changes whole or not at all; it knows no
 * rules and no secrets. All stores pass one contract suite (tests/coordinator/store_contract.ts).
 *
 * @module
 */

import type { EndpointHint, SshReach, Statement } from "../wire/control_message.ts";

/**
 * Whether a node is a member.
 *
 * ```
 * join → active ⇄ disabled
 *          │ leave, taken over
 *          ▼
 *       removed → join → active
 * ```
 */
export type NodeState = "active" | "disabled" | "removed";

/** A node that is or was a member. */
export interface NodeRow {
  /** 64 hex digits; the key of the row. */
  readonly nodeId: string;
  /** 32 bytes. */
  readonly staticKey: Uint8Array;
  /** Unique among the nodes that are not removed. */
  readonly name: string;
  /** Unique; 0 once another node has taken its addresses over. */
  readonly host: number;
  readonly statement: Statement;
  /** Last known. */
  readonly endpoints: readonly EndpointHint[];
  readonly os: string | undefined;
  /** As it said; its client key is no other member's. */
  readonly ssh?: SshReach | undefined;
  readonly software: string;
  readonly state: NodeState;
  /** Roster version of the last change that other members see. */
  readonly version: number;
  /** Serial of the token it joined with. */
  readonly tokenSerial: number;
  /** Whether it has connected as a member since it joined (a spent invite then serves no more). */
  readonly hasConnected: boolean;
  /** Unix milliseconds. */
  readonly joinedAt: number;
  /** Unix milliseconds; behind by up to half a minute. */
  readonly seenAt: number;
}

/** A token: what is needed to check one, nothing that could make one. */
export interface TokenRow {
  /** The key of the row, from 1. */
  readonly serial: number;
  /** 8 bytes, unique. */
  readonly tokenId: Uint8Array;
  /** A mesh token admits any number of nodes, an invite one. */
  readonly kind: "mesh" | "invite";
  readonly state: "active" | "rotated" | "spent" | "revoked";
  /** Name of the node that an invite is for, unless that node asks for another. */
  readonly name?: string | undefined;
  /** Node id of the member that asked for it; invites only. */
  readonly askedBy?: string | undefined;
  /** Unix milliseconds; invites only. */
  readonly expiresAt: number | undefined;
  /** Node id that spent the invite. */
  readonly spentBy: string | undefined;
  /** Unix milliseconds. */
  readonly createdAt: number;
}

/** Rows to write, replacing those of the same key, and settings. */
export interface StoreChanges {
  readonly nodes?: readonly NodeRow[];
  readonly tokens?: readonly TokenRow[];
  readonly settings?: Readonly<Record<string, string>>;
}

/** Everything in a store. */
export interface StoreContents {
  readonly nodes: readonly NodeRow[];
  readonly tokens: readonly TokenRow[];
  readonly settings: Readonly<Record<string, string>>;
}

/** A place that keeps the registry. */
export interface Store {
  /**
   * Reads everything.
   *
   * @throws {StoreError} when it cannot be read.
   */
  load(): StoreContents;
  /**
   * Writes all of the changes, durably, or none of them.
   *
   * @throws {StoreError} when they cannot be written; the store then is as before and works on.
   */
  save(changes: StoreChanges): void;
  /**
   * Writes a consistent copy while the store is in use.
   *
   * @param path File that must not exist yet.
   * @throws {StoreError} when it cannot be written.
   */
  copyTo(path: string): void;
  /** Releases it. Safe to call twice. */
  close(): void;
}

/** Why a store failed. */
export type StoreFault = "full" | "input-output" | "damaged" | "too-new" | "locked" | "other";

/** A store could not do its work. */
export class StoreError extends Error {
  override readonly name = "StoreError";
  /** What kind of failure. */
  readonly fault: StoreFault;

  /** @param message One line for people. */
  constructor(fault: StoreFault, message: string, options?: ErrorOptions) {
    super(message, options);
    this.fault = fault;
  }
}
