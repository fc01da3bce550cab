/**
 * What `status --json` says. Other programs rely on these names: they may be added to, not changed.
 *
 * @module
 */

import { toHex } from "../base/bytes.ts";
import type { Clock } from "../base/clock.ts";
import type { DropReason } from "../session/actions.ts";
import type { PeerStatus } from "../mesh/device_options.ts";
import type { PathSwitches } from "../mesh/seeker_host.ts";
import type { NodeAddresses, NodeRecord, Welcome } from "../wire/server_message.ts";
import type { DataSide } from "./data_side.ts";
import type { PeerBook } from "./peer_book.ts";
import { type PeerTrust, refusalText, type TrustAlarm, type TrustMode } from "./peer_trust.ts";
import type { PinState } from "./pins.ts";

/** One peer. */
export interface AgentPeerStatus extends PeerTrustStatus {
  readonly name: string;
  /** 64 hex digits. */
  readonly nodeId: string;
  readonly addresses: NodeAddresses;
  /** Whether the coordinator has a line to it, or this node a session that answers. */
  readonly online: boolean;
  /** How datagrams reach it. */
  readonly path: {
    readonly kind: "udp" | "ssh" | "relay" | "none";
    readonly remote?: string;
    readonly rttMs?: number;
    /** Largest packet that passes by it, where that is less than the interface takes. */
    readonly mtu?: number;
    /** Why that is no direct path, for a person; absent if it is one, or nobody wanted one. */
    readonly why?: string;
  };
  /** How often the path changed, since this process started. */
  readonly switches: PathSwitches;
  /** ISO 8601, UTC. */
  readonly lastHandshakeAt?: string;
  /** Handshakes that led to a session, since this process started. */
  readonly handshakes: number;
  readonly rxBytes: number;
  readonly txBytes: number;
  readonly rxPackets: number;
  readonly txPackets: number;
  /** Packets that wait for a session. */
  readonly queued: number;
}

/** A way beside UDP, and the sealed datagrams that it lost before they left. */
export interface CarrierStatus {
  /** Its connection was behind. */
  readonly queueFull: number;
  /** There was no connection. */
  readonly noConnection: number;
}

/** Ways beside UDP; absent where there are none. */
export interface CarriersStatus {
  readonly relay?: CarrierStatus & { readonly connected: boolean };
  readonly ssh?: CarrierStatus;
}

/** What a node knows of a peer that a coordinator names; absent where there is no coordinator. */
export interface PeerTrustStatus {
  /** What is known of name and key together. */
  readonly trust?: PinState;
  /** Why there is no session with it, for a person. */
  readonly refused?: string;
  /** The node id that its name was seen with before, until a person looks at it. */
  readonly keyBefore?: string;
}

/** One node. */
export interface AgentStatus {
  readonly name: string;
  /** 64 hex digits. */
  readonly nodeId: string;
  /** Mesh id, 32 hex digits. */
  readonly mesh: string;
  /** Without prefix length. */
  readonly addresses: NodeAddresses;
  /** Name of the network interface. */
  readonly interface: string;
  readonly dataPlane: {
    readonly kind: "portable" | "linux";
    readonly aead: string;
    readonly reason?: string;
  };
  readonly coordinator: { readonly url: string; readonly connected: boolean };
  readonly carriers: CarriersStatus;
  readonly peers: readonly AgentPeerStatus[];
  /** UDP port of this node. */
  readonly udpPort: number;
  /** Where this node says it can be reached. */
  readonly endpoints: readonly string[];
  /** The packet policy in force. */
  readonly policy: string;
  /** Which members are peers of this node. */
  readonly trust: TrustMode;
  /** Peers that took name or address of a verified one, and are refused. */
  readonly alarms: readonly TrustAlarm[];
  /** How many alarms there have been since this process started. */
  readonly pinConflicts: number;
  /** Packets and datagrams dropped, by reason; reasons that did not occur are left out. */
  readonly drops: Readonly<Partial<Record<DropReason, number>>>;
  /** What a person should know, a line each. */
  readonly notes: readonly string[];
}

/** What a status is made of. */
export interface StatusParts {
  readonly welcome: Welcome;
  readonly nodeId: string;
  readonly url: string;
  readonly isConnected: boolean;
  readonly data: DataSide;
  readonly carriers: CarriersStatus;
  readonly book: PeerBook;
  readonly trust: PeerTrust;
  readonly endpoints: readonly string[];
  readonly notes: readonly string[];
  readonly clock: Clock;
}

/** Describes the node. */
export function agentStatusOf(parts: StatusParts): AgentStatus {
  const { welcome, data, book, trust, clock } = parts;
  const { device } = data;
  const { kind, aead } = device?.dataPlane ?? { kind: "portable", aead: "none" };
  const { reason } = data.dataPlane;
  const { ipv4, ipv6 } = welcome.addresses;
  return {
    name: welcome.name,
    nodeId: parts.nodeId,
    mesh: toHex(welcome.mesh.id),
    addresses: { ipv4, ipv6 },
    interface: data.interfaceName,
    dataPlane: { kind, aead, ...(reason === undefined ? {} : { reason }) },
    coordinator: { url: parts.url, connected: parts.isConnected },
    carriers: parts.carriers,
    peers: book.peers.map((node) => ({
      ...peerStatusOf(node, device?.peerStatus(node.nodeId), book.isPresent(node.nodeId), clock),
      ...trustStatusOf(node, trust),
    })),
    udpPort: data.port,
    endpoints: parts.endpoints,
    policy: welcome.mesh.policy,
    trust: trust.mode,
    alarms: trust.alarms,
    pinConflicts: trust.conflicts,
    drops: device === undefined ? {} : nonZero(device.drops),
    notes: [...parts.notes, ...book.peers.flatMap((node) => trust.noteOf(node) ?? [])],
  };
}

/**
 * Describes one peer.
 *
 * @param node From the roster.
 * @param peer From the device; `undefined` if it does not have the peer.
 * @param isPresent Whether the coordinator has a line to it.
 * @param clock Makes times of the device's instants.
 */
export function peerStatusOf(
  node: Pick<NodeRecord, "name" | "nodeId" | "addresses">,
  peer: PeerStatus | undefined,
  isPresent: boolean,
  clock: Clock,
): AgentPeerStatus {
  const hasPath = peer?.path !== undefined && !peer.isSilent;
  const at = peer?.lastHandshakeAt;
  return {
    name: node.name,
    nodeId: node.nodeId,
    addresses: node.addresses,
    online: isPresent || hasPath,
    path: {
      kind: peer?.path?.kind ?? "none",
      ...(peer?.path === undefined ? {} : { remote: peer.path.remote }),
      ...(peer?.path === undefined || peer.rttMs === undefined ? {} : { rttMs: peer.rttMs }),
      ...(peer?.path === undefined || peer.mtu === undefined ? {} : { mtu: peer.mtu }),
      ...(peer?.why === undefined ? {} : { why: peer.why }),
    },
    switches: peer?.switches ?? { promotions: 0, demotions: 0, rebinds: 0 },
    ...(at === undefined || at === -Infinity
      ? {}
      : { lastHandshakeAt: new Date(clock.unixNow() - (clock.now() - at)).toISOString() }),
    handshakes: peer?.handshakes ?? 0,
    rxBytes: peer?.rxBytes ?? 0,
    txBytes: peer?.txBytes ?? 0,
    rxPackets: peer?.rxPackets ?? 0,
    txPackets: peer?.txPackets ?? 0,
    queued: peer?.queued ?? 0,
  };
}

function trustStatusOf(node: NodeRecord, trust: PeerTrust): PeerTrustStatus {
  const { state, refusal } = trust.judge(node);
  const keyBefore = trust.keyBefore(node);
  return {
    trust: state,
    ...(refusal !== undefined && { refused: refusalText(refusal) }),
    ...(keyBefore !== undefined && { keyBefore }),
  };
}

/** The counters that are not zero. */
export function nonZero<K extends string>(
  counts: Readonly<Record<K, number>>,
): Partial<Record<K, number>> {
  const entries = Object.entries<number>(counts).filter(([, count]) => count > 0);
  return Object.fromEntries(entries) as Partial<Record<K, number>>;
}
