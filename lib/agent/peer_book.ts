/**
 * The peers of a node: who the roster says they are, and where the coordinator says they may be.
 *
 * @module
 */

import { type Endpoint, parseEndpoint } from "../net/endpoint.ts";
import type { IpAddress } from "../net/endpoint.ts";
import type { EndpointHint, NodeRecord, Presence, Roster } from "../wire/control_message.ts";
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

/** Keeps a {@linkcode PeerSink} in step with roster and presence. */
export class PeerBook {
  readonly #roster: RosterCopy;
  readonly #sink: PeerSink;
  readonly #ownNodeId: string;
  readonly #present = new Set<string>();
  #coordinatorAddresses: readonly IpAddress[] = [];

  /** @param ownNodeId The node that is not a peer. */
  constructor(roster: RosterCopy, sink: PeerSink, ownNodeId: string) {
    this.#roster = roster;
    this.#sink = sink;
    this.#ownNodeId = ownNodeId;
  }

  /** All peers, by name. */
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

  /** Takes a change of the roster. */
  applyRoster(roster: Roster): void {
    const before = new Map(this.#roster.nodes);
    const { upserts, removes } = this.#roster.apply(roster);
    // First out, then in: an address may have moved from one to the other.
    for (const nodeId of removes) {
      const node = before.get(nodeId);
      if (node !== undefined && nodeId !== this.#ownNodeId) this.#sink.removePeer(node);
      this.#present.delete(nodeId);
    }
    for (const node of upserts) if (node.nodeId !== this.#ownNodeId) this.#upsert(node);
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
    const exact = this.peers.find(({ name, nodeId, addresses }) =>
      [name, nodeId, addresses.ipv4, addresses.ipv6].includes(wanted)
    );
    if (exact !== undefined) return exact;
    const beginning = wanted.length < MIN_NODE_ID_PREFIX
      ? []
      : this.peers.filter(({ nodeId }) => nodeId.startsWith(wanted));
    if (beginning.length === 1) return beginning[0]!;
    const why = beginning.length > 1 ? "more than one node id begins so" : "no such peer";
    throw new AgentError("failed", `Cannot find peer "${text}": ${why}; see tunnelmesh peers`);
  }

  #upsert(node: NodeRecord): void {
    this.#sink.upsertPeer(node, node.endpoints.flatMap((hint) => this.#endpointsOf(hint)));
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
