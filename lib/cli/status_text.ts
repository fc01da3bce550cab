/**
 * What `status` and `peers` say to a person.
 *
 * @module
 */

import type { StaticPeerStatus, StaticStatus } from "../agent/static_status.ts";
import type { AgentPeerStatus, AgentStatus } from "../agent/status.ts";
import type { CoordinatorPeer, CoordinatorStatus } from "../coordinator/coordinator.ts";
import { formatAge, formatBytes, formatTable, paint } from "./output.ts";

/**
 * The state of a node for a person.
 *
 * @param status What the agent says.
 * @param now Milliseconds since 1970, to say how long ago things were.
 */
export function formatStatus(status: AgentStatus | StaticStatus, now: number): string {
  const { dataPlane } = status;
  const online = status.peers.filter((peer) => peer.online).length;
  const facts: [string, string][] = [
    ["Name", paint("bold", status.name)],
    ["Node id", status.nodeId],
    ["Mesh", status.mesh],
    ["Addresses", joinAddresses(status.addresses)],
    ["Interface", status.interface],
    [
      "Data plane",
      `${dataPlane.kind}, ${dataPlane.aead}${dataPlane.reason ? ` (${dataPlane.reason})` : ""}`,
    ],
    ...("coordinator" in status ? factsOfMesh(status) : factsOfFile(status)),
    ["Peers", `${status.peers.length}, ${online} online`],
    ...alarmsOf(status),
    ...status.notes.map((note): [string, string] => ["Note", note]),
  ];
  const table = formatTable(facts.map(([name, value]) => [`${name}:`, value]));
  return status.peers.length === 0 ? table : `${table}\n\n${formatPeers(status.peers, now)}`;
}

function factsOfMesh({ coordinator, policy, trust }: AgentStatus): [string, string][] {
  const link = coordinator.connected ? paint("green", "connected") : paint("red", "not connected");
  return [
    ["Coordinator", `${coordinator.url}, ${link}`],
    ["Policy", policy],
    ...(trust === "all" ? [] : [["Trust", trust] as [string, string]]),
  ];
}

/** Whoever took the name or the address of a verified peer. */
function alarmsOf(status: AgentStatus | StaticStatus): [string, string][] {
  if (!("alarms" in status)) return [];
  return status.alarms.map(({ name, nodeId }) => {
    const refused = status.peers.find((peer) => peer.nodeId === nodeId)?.refused;
    return ["Alarm", paint("red", `${name}: ${refused ?? "refused"}`)];
  });
}

/** A node in allow-list mode has a file in place of a coordinator. */
function factsOfFile({ config, publicKey, ...status }: StaticStatus): [string, string][] {
  const fault = config.fault === undefined ? "in force" : paint("red", "broken, not in force");
  const disabled = status.peers.filter((peer) => !peer.enabled).map(({ name }) => name);
  return [
    ["Public key", publicKey],
    ["Policy", `${config.path}, ${fault}`],
    ...(disabled.length === 0 ? [] : [["Disabled", disabled.join(", ")] as [string, string]]),
    ...(status.masquerade ? [["Masquerade", "on"] as [string, string]] : []),
    ...(status.defaultRoute ? [["Default route", "through the tunnel"] as [string, string]] : []),
  ];
}

function joinAddresses({ ipv4, ipv6 }: AgentStatus["addresses"]): string {
  return [ipv4, ipv6].filter((address) => address !== "").join(", ");
}

/**
 * The peers of a node as a table, and below it why some are refused or not reached directly.
 *
 * @param peers What the agent says.
 * @param now Milliseconds since 1970.
 */
export function formatPeers(peers: readonly AgentPeerStatus[], now: number): string {
  if (peers.length === 0) return "No peers yet";
  // Where a file says who is a peer, nobody else can be taken for one.
  const hasTrust = peers.some(({ trust }) => trust !== undefined);
  const heading = [
    ...["NAME", "IPV4", "IPV6", "STATE", ...hasTrust ? ["TRUST"] : []],
    ...["PATH", "RTT", "HANDSHAKE", "RX", "TX"],
  ];
  const rows = peers.map((peer) => [
    peer.name,
    peer.addresses.ipv4 || "-",
    peer.addresses.ipv6 || "-",
    stateOf(peer),
    ...(hasTrust ? [peer.trust ?? "-"] : []),
    peer.path.kind === "none" ? "-" : [peer.path.kind, peer.path.remote].join(" ").trim(),
    peer.path.rttMs === undefined ? "-" : `${peer.path.rttMs.toFixed(1)} ms`,
    peer.lastHandshakeAt === undefined
      ? "-"
      : formatAge((now - Date.parse(peer.lastHandshakeAt)) / 1000),
    formatBytes(peer.rxBytes),
    formatBytes(peer.txBytes),
  ]);
  const refusals = peers.filter(({ refused }) => refused !== undefined)
    .map(({ name, refused }) => `${name} is refused: ${refused}`);
  const reasons = peers.filter(({ path }) => path.why !== undefined)
    .map(({ name, path }) => `${name} has no direct path: ${path.why}`);
  const limits = peers.filter(({ path }) => path.mtu !== undefined)
    .map(({ name, path }) => `The path to ${name} carries packets of ${path.mtu} bytes at most`);
  const columns = heading.length;
  const table = formatTable([heading, ...rows], [columns - 4, columns - 2, columns - 1]);
  return [table, ...refusals, ...reasons, ...limits].join("\n");
}

/** Whoever is refused, or disabled in the file of allow-list mode, is offline for a reason. */
function stateOf(peer: AgentPeerStatus | StaticPeerStatus): string {
  if ("enabled" in peer && !peer.enabled) return "disabled";
  if (peer.refused !== undefined) return "refused";
  return peer.online ? "online" : "offline";
}

/**
 * The state of a coordinator that is no member of its mesh.
 *
 * @param status What the coordinator says.
 */
export function formatCoordinator(status: CoordinatorStatus): string {
  const listening = status.listening.map(({ hostname, port }) =>
    hostname.includes(":") ? `[${hostname}]:${port}` : `${hostname}:${port}`
  );
  return formatTable([
    ["Coordinator:", `${listening.join(", ")} (${status.isTls ? "HTTPS" : "plain HTTP"})`],
    ["UDP ports:", status.udpPorts.join(", ")],
    ["Mesh:", status.mesh],
    ["Ranges:", `${status.ipv4Range}, ${status.ipv6Range}`],
    ["Policy:", status.policy],
    ["Binding:", status.binding],
    ...(status.memberInvites ? [["Invites:", "members may ask for them"]] : []),
    ["Members:", `${status.members}, ${status.online} online`],
  ]);
}

/**
 * The members of a mesh as a table.
 *
 * @param members What the coordinator says.
 * @param now Milliseconds since 1970.
 */
export function formatMembers(members: readonly CoordinatorPeer[], now: number): string {
  if (members.length === 0) return "No members yet";
  const heading = ["NAME", "IPV4", "IPV6", "STATE", "SEEN", "FROM"];
  const rows = members.map((member) => [
    member.name,
    member.addresses.ipv4,
    member.addresses.ipv6,
    member.state !== "active" ? member.state : member.online ? "online" : "offline",
    formatAge((now - Date.parse(member.seenAt)) / 1000),
    member.remote ?? "-",
  ]);
  return formatTable([heading, ...rows]);
}
