/**
 * What `status --json` says of a node in allow-list mode. The names are those of `status.ts`, with
 * the file in place of the coordinator.
 *
 * @module
 */

import { toBase64, toHex } from "../base/bytes.ts";
import type { Clock } from "../base/clock.ts";
import type { AllowedPeer } from "../config/allowed_peers.ts";
import type { Device } from "../mesh/device.ts";
import type { IpAddress } from "../net/endpoint.ts";
import { formatIpAddress } from "../net/ip_address.ts";
import { formatIpPrefix } from "../net/ip_prefix.ts";
import type { NodeAddresses } from "../wire/server_message.ts";
import { nodeIdOf, type StaticPolicy } from "./static_policy.ts";
import { type AgentPeerStatus, type AgentStatus, nonZero, peerStatusOf } from "./status.ts";

/** A peer of the file. */
export interface StaticPeerStatus extends AgentPeerStatus {
  readonly enabled: boolean;
  /** Base64. */
  readonly publicKey: string;
  readonly allowedIps: readonly string[];
}

/** A node in allow-list mode; an address is empty where it has none of that family. */
export interface StaticStatus
  extends
    Omit<AgentStatus, "coordinator" | "carriers" | "peers" | "trust" | "alarms" | "pinConflicts"> {
  readonly profile: "allowed-peers";
  /** Base64, for the other end's configuration. */
  readonly publicKey: string;
  readonly peers: readonly StaticPeerStatus[];
  /** The file that says who may connect. */
  readonly config: {
    readonly path: string;
    /** When what is in force was read: ISO 8601, UTC. */
    readonly loadedAt: string;
    /** What is wrong with the file as it is now; absent if it is in force. */
    readonly fault?: string;
  };
  readonly masquerade: boolean;
  readonly defaultRoute: boolean;
}

/** What a status is made of. */
export interface StaticStatusParts {
  readonly policy: StaticPolicy;
  readonly publicKey: Uint8Array;
  readonly device: Device;
  readonly addresses: readonly IpAddress[];
  readonly interfaceName: string;
  readonly dataPlaneReason: string | undefined;
  readonly port: number;
  readonly clock: Clock;
}

/** Describes the node. */
export function staticStatusOf(parts: StaticStatusParts): StaticStatus {
  const { policy, publicKey, device, clock } = parts;
  const { config, fault } = policy;
  const { kind, aead } = device.dataPlane;
  const reason = parts.dataPlaneReason;
  return {
    profile: "allowed-peers",
    name: config.name ?? Deno.hostname(),
    nodeId: nodeIdOf({ publicKey }),
    publicKey: toBase64(publicKey),
    mesh: toHex(config.meshId),
    addresses: addressesOf(parts.addresses),
    interface: parts.interfaceName,
    dataPlane: { kind, aead, ...(reason === undefined ? {} : { reason }) },
    config: {
      path: config.file,
      loadedAt: new Date(policy.loadedAt).toISOString(),
      ...(fault === undefined ? {} : { fault }),
    },
    peers: config.peers.map((peer) => staticPeerStatusOf(peer, device, clock)),
    udpPort: parts.port,
    endpoints: [],
    policy: "allowed-peers",
    masquerade: config.masquerade,
    defaultRoute: config.defaultRoute,
    drops: nonZero(device.drops),
    notes: policy.notes,
  };
}

function staticPeerStatusOf(peer: AllowedPeer, device: Device, clock: Clock): StaticPeerStatus {
  const { name, enabled, ipv4, ipv6 } = peer;
  const nodeId = nodeIdOf(peer);
  const addresses = addressesOf([ipv4, ipv6].filter((address) => address !== undefined));
  return {
    ...peerStatusOf({ name, nodeId, addresses }, device.peerStatus(nodeId), false, clock),
    enabled,
    publicKey: toBase64(peer.publicKey),
    allowedIps: peer.allowedIps.map(formatIpPrefix),
  };
}

function addressesOf(addresses: readonly IpAddress[]): NodeAddresses {
  const first = (length: number) => {
    const found = addresses.find((address) => address.length === length);
    return found === undefined ? "" : formatIpAddress(found);
  };
  return { ipv4: first(4), ipv6: first(16) };
}
