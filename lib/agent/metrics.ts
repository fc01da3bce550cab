/**
 * What `tunnelmesh metrics` says: the numbers of a status, for programs that watch many machines.
 *
 * The names are relied on: they may be added to, not changed. Whoever reads them learns who is a
 * peer and how much goes there; no key, token or address is in them.
 *
 * @module
 */

import { VERSION } from "../base/version.ts";
import type { CoordinatorStatus } from "../coordinator/coordinator_options.ts";
import { DROP_REASONS } from "../session/actions.ts";
import {
  type MetricFamily,
  type MetricLabels,
  type MetricSample,
  openMetricsOf,
} from "./metrics_text.ts";
import type { StaticPeerStatus, StaticStatus } from "./static_status.ts";
import type { AgentPeerStatus, AgentStatus } from "./status.ts";

type NodeStatus = AgentStatus | StaticStatus;
type Peer = AgentPeerStatus | StaticPeerStatus;

const PATH_KINDS = ["none", "relay", "ssh", "udp"] as const;

/**
 * The numbers of a node.
 *
 * @param status What `status --json` shows.
 * @returns OpenMetrics text.
 */
export function nodeMetrics(status: NodeStatus): string {
  return openMetricsOf([
    {
      name: "tunnelmesh_node",
      type: "info",
      help: "This node.",
      samples: [{
        labels: {
          version: VERSION,
          name: status.name,
          node_id: status.nodeId,
          mesh: status.mesh,
          interface: status.interface,
          data_plane: status.dataPlane.kind,
          aead: status.dataPlane.aead,
        },
        value: 1,
      }],
    },
    ...("coordinator" in status ? meshFamilies(status) : fileFamilies(status)),
    ...peerFamilies(status.peers),
    {
      name: "tunnelmesh_dropped",
      type: "counter",
      help: "Packets and datagrams dropped, by reason.",
      samples: DROP_REASONS.map((reason) => ({
        labels: { reason },
        value: status.drops[reason] ?? 0,
      })),
    },
  ]);
}

/**
 * The numbers of a coordinator.
 *
 * @param status What `status --json` shows of one that is no member.
 * @returns OpenMetrics text.
 */
export function coordinatorMetrics(status: CoordinatorStatus): string {
  const { counts, relay } = status;
  return openMetricsOf([
    {
      name: "tunnelmesh_coordinator",
      type: "info",
      help: "This coordinator.",
      samples: [{ labels: { version: VERSION, mesh: status.mesh }, value: 1 }],
    },
    gauge("tunnelmesh_members", "Members of the mesh.", status.members),
    gauge("tunnelmesh_members_online", "Members with a control connection.", status.online),
    gauge("tunnelmesh_roster_version", "Version of the list of members.", status.rosterVersion),
    gauge("tunnelmesh_psk_epoch", "Epoch of the mesh PSK in force.", status.pskEpoch),
    counter("tunnelmesh_joins", "Nodes that joined.", counts.joined),
    counter("tunnelmesh_control_refused", "Control connections refused.", counts.refused),
    counter(
      "tunnelmesh_control_displaced",
      "Control connections that a newer one of the same node ended.",
      counts.displaced,
    ),
    counter(
      "tunnelmesh_control_unknown_kinds",
      "Control messages of a kind that is not known here.",
      counts.unknownKinds,
    ),
    ...(relay === undefined ? [] : [
      gauge("tunnelmesh_relay_connections", "Members connected to the relay.", relay.connections),
      counter(
        "tunnelmesh_relay_forwarded_datagrams",
        "Datagrams that the relay passed on.",
        relay.forwardedDatagrams,
      ),
      {
        ...counter(
          "tunnelmesh_relay_forwarded_bytes",
          "Bytes of messages that the relay passed on.",
          relay.forwardedBytes,
        ),
        unit: "bytes" as const,
      },
      {
        name: "tunnelmesh_relay_dropped",
        type: "counter" as const,
        help: "Datagrams that the relay did not pass on, by reason.",
        samples: [
          { labels: { reason: "queue-full" }, value: relay.queueFull },
          { labels: { reason: "rate-limited" }, value: relay.rateLimited },
          { labels: { reason: "not-connected" }, value: relay.notConnected },
        ],
      },
      counter(
        "tunnelmesh_relay_refused",
        "Connections to the relay that were ended for what came on them.",
        relay.refused,
      ),
    ]),
  ]);
}

function meshFamilies(status: AgentStatus): MetricFamily[] {
  const { coordinator, carriers, pinConflicts } = status;
  const relay = carriers.relay;
  return [
    gauge(
      "tunnelmesh_coordinator_connected",
      "Whether there is a line to the coordinator.",
      Number(coordinator.connected),
    ),
    ...(relay === undefined ? [] : [
      gauge(
        "tunnelmesh_relay_connected",
        "Whether there is a connection to the relay.",
        Number(relay.connected),
      ),
    ]),
    {
      name: "tunnelmesh_carrier_dropped",
      type: "counter",
      help: "Sealed datagrams that the relay's or an SSH connection did not take, by reason.",
      samples: (["relay", "ssh"] as const).flatMap((carrier) => {
        const counts = carriers[carrier];
        if (counts === undefined) return [];
        return [
          { labels: { carrier, reason: "queue-full" }, value: counts.queueFull },
          { labels: { carrier, reason: "no-connection" }, value: counts.noConnection },
        ];
      }),
    },
    counter(
      "tunnelmesh_pin_conflicts",
      "Alarms about a peer with the name or address of a verified one.",
      pinConflicts,
    ),
  ];
}

function fileFamilies({ config }: StaticStatus): MetricFamily[] {
  return [
    gauge(
      "tunnelmesh_config_in_force",
      "Whether the configuration is in force as its file has it now.",
      Number(config.fault === undefined),
    ),
    {
      ...gauge(
        "tunnelmesh_config_loaded_timestamp_seconds",
        "When the configuration in force was read, since 1970.",
        Date.parse(config.loadedAt) / 1000,
      ),
      unit: "seconds",
    },
  ];
}

function peerFamilies(peers: readonly Peer[]): MetricFamily[] {
  /** One sample for each peer that has a value. */
  const each = (valueOf: (peer: Peer) => number | undefined): MetricSample[] =>
    peers.flatMap((peer) => {
      const value = valueOf(peer);
      return value === undefined ? [] : [{ labels: labelsOf(peer), value }];
    });
  /** One sample for each peer and each value of another label. */
  const by = <T extends string>(
    label: string,
    values: readonly T[],
    valueOf: (peer: Peer, value: T) => number,
  ): MetricSample[] =>
    peers.flatMap((peer) =>
      values.map((value) => ({
        labels: { ...labelsOf(peer), [label]: value },
        value: valueOf(peer, value),
      }))
    );
  const family = (
    type: "counter" | "gauge",
    name: string,
    help: string,
    samples: readonly MetricSample[],
    unit?: "bytes" | "seconds",
  ): MetricFamily => ({
    name: `tunnelmesh_peer_${name}`,
    type,
    help,
    samples,
    ...unit && { unit },
  });
  return [
    family("gauge", "online", "Whether the peer is online.", each(({ online }) => Number(online))),
    family(
      "gauge",
      "path",
      "1 for the kind of path by which the peer is reached.",
      by("kind", PATH_KINDS, ({ path }, kind) => Number(path.kind === kind)),
    ),
    family(
      "gauge",
      "rtt_seconds",
      "Round trip of echoes, smoothed.",
      each(({ path }) => path.rttMs === undefined ? undefined : path.rttMs / 1000),
      "seconds",
    ),
    family(
      "counter",
      "path_switches",
      "Changes of the path: to a better kind, to a worse one, to another of the same kind.",
      by(
        "direction",
        ["promotion", "demotion", "rebind"] as const,
        ({ switches }, direction) => switches[`${direction}s`],
      ),
    ),
    family(
      "gauge",
      "last_handshake_timestamp_seconds",
      "When the last handshake led to a session, since 1970.",
      each(({ lastHandshakeAt: at }) => at === undefined ? undefined : Date.parse(at) / 1000),
      "seconds",
    ),
    family(
      "counter",
      "handshakes",
      "Handshakes that led to a session.",
      each(({ handshakes }) => handshakes),
    ),
    family(
      "gauge",
      "queued_packets",
      "Packets that wait for a session.",
      each(({ queued }) => queued),
    ),
    family(
      "counter",
      "received_bytes",
      "Bytes of packets from the peer.",
      each(({ rxBytes }) => rxBytes),
      "bytes",
    ),
    family(
      "counter",
      "sent_bytes",
      "Bytes of packets to the peer.",
      each(({ txBytes }) => txBytes),
      "bytes",
    ),
    family(
      "counter",
      "received_packets",
      "Packets from the peer.",
      each(({ rxPackets }) => rxPackets),
    ),
    family(
      "counter",
      "sent_packets",
      "Packets to the peer.",
      each(({ txPackets }) => txPackets),
    ),
  ];
}

/** Two peers may have had one name, one after the other; ids are for ever. */
function labelsOf({ name, nodeId }: Peer): MetricLabels {
  return { peer: name, node_id: nodeId };
}

function gauge(name: string, help: string, value: number): MetricFamily {
  return { name, type: "gauge", help, samples: [{ value }] };
}

function counter(name: string, help: string, value: number): MetricFamily {
  return { name, type: "counter", help, samples: [{ value }] };
}
