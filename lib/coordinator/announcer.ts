/**
 * Tells connected members what changed: who they are with (roster) and who is there (presence).
 *
 * Changes are gathered for a moment and told to all at once, so that a change costs one body per
 * member whatever the size of the mesh, and many changes at a time cost little more than one.
 *
 * @module
 */

import type { Clock } from "../base/clock.ts";
import { encodeServerMessage, type OnlineNode } from "../wire/server_message.ts";
import type { ControlConnection } from "./control_connection.ts";
import type { Registry } from "./registry.ts";

/** Changes are told at most this often: a first one at once, what follows together. */
export const GATHER_MS = 40;

/** What an {@linkcode Announcer} works with. */
export interface AnnouncerOptions {
  readonly clock: Clock;
  readonly registry: Registry;
  /** Connected members by node id; read only. */
  readonly members: ReadonlyMap<string, ControlConnection>;
}

/** Gathers changes and tells them. */
export class Announcer {
  readonly #clock: Clock;
  readonly #registry: Registry;
  readonly #members: ReadonlyMap<string, ControlConnection>;
  readonly #changedPresence = new Set<string>();
  #cancel: (() => void) | undefined;
  #toldAt = -Infinity;
  #isStopped = false;

  constructor(options: AnnouncerOptions) {
    this.#clock = options.clock;
    this.#registry = options.registry;
    this.#members = options.members;
  }

  /** Brings a member that has just been greeted up to date: roster, then everybody's presence. */
  greet(member: ControlConnection, rosterVersion: number, lineage: string | undefined): void {
    for (const body of this.#registry.rosterSince(rosterVersion, lineage)) member.send(body);
    member.rosterVersion = this.#registry.version;
    const online = [...this.#members.keys()].map((nodeId) => this.#onlineNode(nodeId));
    member.send({ kind: "presence", full: true, online, offline: [] });
  }

  /** A member came, went or moved. */
  presenceChanged(nodeId: string): void {
    this.#changedPresence.add(nodeId);
    this.rosterChanged();
  }

  /** The roster may have a new version. */
  rosterChanged(): void {
    if (this.#cancel !== undefined || this.#isStopped) return;
    const at = Math.max(this.#clock.now(), this.#toldAt + GATHER_MS);
    this.#cancel = this.#clock.schedule(at, () => this.#tell());
  }

  /** Tells nothing any more. */
  stop(): void {
    this.#isStopped = true;
    this.#cancel?.();
  }

  /** The roster first, since presence speaks of its nodes; both in one message per member. */
  #tell(): void {
    this.#cancel = undefined;
    this.#toldAt = this.#clock.now();
    const { version } = this.#registry;
    const presence = this.#presence();
    /** Bodies by what the member has; members differ only if one was greeted in between. */
    const rosters = new Map<number, Uint8Array>();
    for (const member of this.#members.values()) {
      const bodies: Uint8Array[] = [];
      if (member.rosterVersion < version) bodies.push(this.#roster(rosters, member.rosterVersion));
      if (presence !== undefined) bodies.push(presence);
      if (bodies.length > 0) member.sendBodies(bodies);
      member.rosterVersion = version;
    }
  }

  #roster(rosters: Map<number, Uint8Array>, since: number): Uint8Array {
    let body = rosters.get(since);
    if (body === undefined) {
      body = encodeServerMessage(this.#registry.changesSince(since));
      rosters.set(since, body);
    }
    return body;
  }

  #presence(): Uint8Array | undefined {
    if (this.#changedPresence.size === 0) return undefined;
    const changed = [...this.#changedPresence];
    this.#changedPresence.clear();
    return encodeServerMessage({
      kind: "presence",
      full: false,
      online: changed.filter((id) => this.#members.has(id)).map((id) => this.#onlineNode(id)),
      offline: changed.filter((id) => !this.#members.has(id)),
    });
  }

  #onlineNode(nodeId: string): OnlineNode {
    return { nodeId, endpoints: this.#registry.node(nodeId)?.endpoints ?? [] };
  }
}
