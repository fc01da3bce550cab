/**
 * How things stand with one peer, out of what its parts say.
 *
 * @module
 */

import type { PeerTraffic } from "../dataplane/data_plane.ts";
import type { PathLimit } from "../dataplane/path_limit.ts";
import { type Endpoint, formatEndpoint } from "../net/endpoint.ts";
import type { Keypair } from "../session/keypair.ts";
import type { PeerSession } from "../session/sessions.ts";
import type { DevicePeer, PeerStatus, Underlay } from "./device_options.ts";
import { whyNotDirect } from "./path_selection.ts";
import type { PathSwitches } from "./seeker_host.ts";

/** What {@linkcode peerStatusOf} puts together. */
export interface PeerFacts {
  readonly spec: DevicePeer;
  readonly session: PeerSession | undefined;
  readonly traffic: PeerTraffic;
  /** Packets that wait for a session. */
  readonly queued: number;
  readonly candidates: readonly Endpoint[];
  readonly underlay: Underlay;
  readonly switches: PathSwitches;
  /** From the search for paths. */
  readonly soughtForMs: number | undefined;
  /** What fits the path. */
  readonly limit: PathLimit;
}

/** How things stand with one peer. */
export function peerStatusOf(facts: PeerFacts): PeerStatus {
  const { spec, session, traffic, queued, candidates, switches, limit } = facts;
  const path = session?.current?.path;
  return {
    ...traffic,
    nodeId: spec.nodeId,
    path: path && { kind: path.kind, remote: path.remote },
    mtu: limit.mtu === Infinity ? undefined : limit.mtu,
    why: whyOf(facts),
    switches: { ...switches },
    rttMs: session?.rttMs,
    lastHandshakeAt: session?.lastHandshakeAt,
    handshakes: session?.handshakes ?? 0,
    isSilent: session?.isSilent ?? false,
    queued,
    candidates: candidates.map(formatEndpoint),
  };
}

function whyOf({ spec, session, candidates, underlay, soughtForMs }: PeerFacts) {
  const path = session?.current?.path;
  if (path?.kind === "udp" || (path === undefined && soughtForMs === undefined)) return undefined;
  return whyNotDirect({
    candidates: candidates.length,
    isUdpOpen: underlay.isUdpOpen,
    ownNat: underlay.nat,
    peerNat: spec.nat ?? "unknown",
    soughtForMs,
  });
}

/** When the last of those was made that are our own and were not heard of. */
export function unheardSince(keypairs: readonly Keypair[]): number {
  const unheard = keypairs.filter(({ isInitiator, activity }) =>
    isInitiator && activity.receivedAt === -Infinity
  );
  return Math.max(-Infinity, ...unheard.map(({ createdAt }) => createdAt));
}

/** When a packet last passed by any of these keypairs. */
export function lastUseOf(keypairs: readonly Keypair[]): number {
  const moments = keypairs.map(({ activity }) =>
    Math.max(activity.payloadSentAt, activity.payloadReceivedAt)
  );
  return Math.max(-Infinity, ...moments);
}
