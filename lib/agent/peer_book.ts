/**
 * The peers of a node: who the roster says they are, and where the coordinator says they may be.
 *
 * ```
 * roster, presence ──▶ book ──admitted by the gate──▶ sink: sessions, routes, SSH, relay
 * ```
 *
 * @module
 */

import { type Endpoint, parseEndpoint } from "../net/endpoint.ts";
import type { IpAddress } from "../net/endpoint.ts";
import type { EndpointHint } from "../wire/control_message.ts";
import type { NodeRecord, Presence, Roster } from "../wire/server_message.ts";
import { AgentError } from "./errors.ts";
import type { RosterCopy } from "./roster_copy.ts";

/**
 * Source of a hint whose address means "wherever you reach the coordinator": its own member cannot
 * know under which address, behind a NAT or a load balancer, others see it.
 */
export const AT_COORDINATOR = "coordinator";

/** Shortest beginning of a node id that may stand for it. */
const MIN_NODE_ID_PREFIX = 8;

/** What carries out what the book finds out. */
export interface PeerSink {
  upsertPeer(node: NodeRecord, candidates: readonly Endpoint[]): void;
  removePeer(node: NodeRecord): void;
}

/** Which of the roster's nodes this one has anything to do with; `PeerTrust` is one. */
export interface PeerGate {
  /** Asked whenever something is known anew of a peer, and again after `reconsider`. */
  admits(node: NodeRecord): boolean;
  /** A node is no member any more. */
  gone(nodeId: string): void;
  /** The roster names a node. @returns Whether others have to be judged again. */
  learn(node: NodeRecord): boolean;
}

/** Keeps a {@linkcode PeerSink} in step with roster and presence. */
export class PeerBook {
  readonly #roster: RosterCopy;
  readonly #sink: PeerSink;
  readonly #gate: PeerGate;
  readonly #ownNodeId: string;
  readonly #admitted = new Map<string, NodeRecord>();
  readonly #present = new Set<string>();
  #coordinatorAddresses: readonly IpAddress[] = [];

  /** @param ownNodeId The node that is not a peer. The sink hears of nobody before `handOver`. */
  constructor(roster: RosterCopy, sink: PeerSink, gate: PeerGate, ownNodeId: string) {
    this.#roster = roster;
    this.#sink = sink;
    this.#gate = gate;
    this.#ownNodeId = ownNodeId;
    const { peers } = this;
    for (const node of peers) gate.learn(node);
    for (const node of peers) if (gate.admits(node)) this.#admitted.set(node.nodeId, node);
  }

  /** The peers that the gate admits, by node id, always as they are. */
  get admitted(): ReadonlyMap<string, NodeRecord> {
    return this.#admitted;
  }

  /** All peers, by name, those that the gate does not admit included. */
  get peers(): NodeRecord[] {
    return [...this.#roster.nodes.values()]
      .filter((node) => node.nodeId !== this.#ownNodeId)
      .sort((a, b) => a.name < b.name ? -1 : 1);
  }

  /** Whether the coordinator has a line to a node. */
  isPresent(nodeId: string): boolean {
    return this.#present.has(nodeId);
  }

  /** Hands every peer to the sink, as when it is new. */
  handOver(): void {
    for (const node of this.peers) this.#upsert(node);
  }

  /** What the gate goes by has changed: asks it about everybody. */
  reconsider(): void {
    const { peers } = this;
    // First out, then in: an address may have moved from one to the other.
    const fresh = peers.filter((node) => {
      if (this.#gate.admits(node)) return !this.#admitted.has(node.nodeId);
      this.#withdraw(node.nodeId);
      return false;
    });
    for (const node of fresh) this.#upsert(node);
  }

  /** Takes a change of the roster. */
  applyRoster(roster: Roster): void {
    const { upserts, removes } = this.#roster.apply(roster);
    // First out, then in: an address may have moved from one to the other.
    for (const nodeId of removes) {
      this.#withdraw(nodeId);
      this.#gate.gone(nodeId);
      this.#present.delete(nodeId);
    }
    const others = upserts.filter(({ nodeId }) => nodeId !== this.#ownNodeId);
    const haveLearned = others.filter((node) => this.#gate.learn(node)).length > 0;
    if (haveLearned) this.reconsider();
    for (const node of others) this.#upsert(node);
  }

  /** Takes news of who is connected and where. */
  applyPresence(presence: Presence): void {
    if (presence.full) this.#present.clear();
    for (const nodeId of presence.offline) this.#present.delete(nodeId);
    for (const { nodeId, endpoints } of presence.online) {
      this.#present.add(nodeId);
      this.#roster.setEndpoints(nodeId, endpoints);
      const node = this.#roster.nodes.get(nodeId);
      if (node !== undefined && nodeId !== this.#ownNodeId) this.#upsert(node);
    }
  }

  /** The line is down: nobody is known to be connected. */
  forgetPresence(): void {
    this.#present.clear();
  }

  /** Sets the addresses under which this node reaches the coordinator. */
  setCoordinatorAddresses(addresses: readonly IpAddress[]): void {
    this.#coordinatorAddresses = addresses;
    for (const node of this.peers) {
      if (node.endpoints.some(({ source }) => source === AT_COORDINATOR)) this.#upsert(node);
    }
  }

  /**
   * Finds the peer that a person means.
   *
   * @param text Name, mesh address, node id, or the first digits of one.
   * @throws {AgentError} `usage` if there is none, or more than one.
   */
  find(text: string): NodeRecord {
    const wanted = text.toLowerCase();
    const exact = this.peers.filter(({ name, nodeId, addresses }) =>
      [name, nodeId, addresses.ipv4, addresses.ipv6].includes(wanted)
    );
    // Whoever took another one's name or address must not be in its way.
    const found = exact.find(({ nodeId }) => this.#admitted.has(nodeId)) ?? exact[0];
    if (found !== undefined) return found;
    const beginning = wanted.length < MIN_NODE_ID_PREFIX
      ? []
      : this.peers.filter(({ nodeId }) => nodeId.startsWith(wanted));
    if (beginning.length === 1) return beginning[0]!;
    const why = beginning.length > 1 ? "more than one node id begins so" : "no such peer";
    throw new AgentError("failed", `Cannot find peer "${text}": ${why}; see tunnelmesh peers`);
  }

  #upsert(node: NodeRecord): void {
    if (!this.#gate.admits(node)) return this.#withdraw(node.nodeId);
    this.#admitted.set(node.nodeId, node);
    this.#sink.upsertPeer(node, node.endpoints.flatMap((hint) => this.#endpointsOf(hint)));
  }

  #withdraw(nodeId: string): void {
    const node = this.#admitted.get(nodeId);
    if (node === undefined) return;
    this.#admitted.delete(nodeId);
    this.#sink.removePeer(node);
  }

  #endpointsOf({ endpoint, source }: EndpointHint): Endpoint[] {
    let parsed: Endpoint;
    try {
      parsed = parseEndpoint(endpoint);
    } catch {
      return []; // a later version's way to be reached
    }
    if (source !== AT_COORDINATOR) return [parsed];
    return this.#coordinatorAddresses.map((address) => ({ address, port: parsed.port }));
  }
}
