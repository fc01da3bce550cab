/**
 * What `status` and `peers` say to a person. The shape of `Status` is what `status --json` writes,
 * and other programs rely on it.
 *
 * @module
 */

import { formatAge, formatBytes, formatTable, paint } from "./output.ts";

/** Addresses of a node in the mesh, without prefix lengths. */
export interface StatusAddresses {
  /** As in `100.64.0.2`; absent if the mesh has no IPv4. */
  readonly ipv4?: string;
  /** As in `fd12::2`; absent if the mesh has no IPv6. */
  readonly ipv6?: string;
}

/** One peer of `status --json`; a row of `peers --json`. */
export interface StatusPeer {
  readonly name: string;
  /** 64 hex digits. */
  readonly nodeId: string;
  readonly addresses: StatusAddresses;
  /** Whether it has a channel to the coordinator. */
  readonly online: boolean;
  readonly path: {
    readonly kind: "udp" | "ssh" | "relay" | "none";
    readonly remote?: string;
    readonly rttMs?: number;
  };
  /** ISO 8601, UTC. */
  readonly lastHandshakeAt?: string;
  readonly rxBytes: number;
  readonly txBytes: number;
}

/** What `status --json` writes. */
export interface Status {
  readonly name: string;
  /** 64 hex digits. */
  readonly nodeId: string;
  readonly mesh: string;
  readonly addresses: StatusAddresses;
  readonly interface: string;
  readonly dataPlane: {
    readonly kind: "portable" | "linux";
    readonly aead: string;
    readonly reason?: string;
  };
  readonly coordinator: { readonly url: string; readonly connected: boolean };
  readonly peers: readonly StatusPeer[];
  readonly policy?: string;
  readonly notes?: readonly string[];
}

/**
 * The state of a node for a person.
 *
 * @param status What the agent says.
 * @param now Milliseconds since 1970, to say how long ago things were.
 */
export function formatStatus(status: Status, now: number): string {
  const { dataPlane, coordinator } = status;
  const online = status.peers.filter((peer) => peer.online).length;
  const link = coordinator.connected ? paint("green", "connected") : paint("red", "not connected");
  const facts: [string, string][] = [
    ["Name", paint("bold", status.name)],
    ["Node id", status.nodeId],
    ["Mesh", status.mesh],
    ["Addresses", addressText(status.addresses)],
    ["Interface", status.interface],
    [
      "Data plane",
      `${dataPlane.kind}, ${dataPlane.aead}${dataPlane.reason ? ` (${dataPlane.reason})` : ""}`,
    ],
    ["Coordinator", `${coordinator.url}, ${link}`],
    ...(status.policy ? [["Policy", status.policy] as [string, string]] : []),
    ["Peers", `${status.peers.length}, ${online} online`],
    ...(status.notes ?? []).map((note): [string, string] => ["Note", note]),
  ];
  const table = formatTable(facts.map(([name, value]) => [`${name}:`, value]));
  return status.peers.length === 0 ? table : `${table}\n\n${formatPeers(status.peers, now)}`;
}

/**
 * The peers of a node as a table.
 *
 * @param peers What the agent says.
 * @param now Milliseconds since 1970.
 */
export function formatPeers(peers: readonly StatusPeer[], now: number): string {
  if (peers.length === 0) return "No peers yet";
  const heading = ["NAME", "IPV4", "IPV6", "STATE", "PATH", "RTT", "HANDSHAKE", "RX", "TX"];
  const rows = peers.map((peer) => [
    peer.name,
    peer.addresses.ipv4 ?? "-",
    peer.addresses.ipv6 ?? "-",
    peer.online ? "online" : "offline",
    peer.path.kind === "none" ? "-" : [peer.path.kind, peer.path.remote].join(" ").trim(),
    peer.path.rttMs === undefined ? "-" : `${peer.path.rttMs.toFixed(1)} ms`,
    peer.lastHandshakeAt === undefined
      ? "-"
      : formatAge((now - Date.parse(peer.lastHandshakeAt)) / 1000),
    formatBytes(peer.rxBytes),
    formatBytes(peer.txBytes),
  ]);
  return formatTable([heading, ...rows], [5, 7, 8]);
}

/** Both addresses, or the one there is. */
function addressText(addresses: StatusAddresses): string {
  return [addresses.ipv4, addresses.ipv6].filter((one) => one !== undefined).join(", ") || "-";
}
