import { deepStrictEqual, ok, strictEqual } from "node:assert/strict";
import fc from "fast-check";
import { coordinatorMetrics, nodeMetrics } from "../../lib/agent/metrics.ts";
import { openMetricsOf } from "../../lib/agent/metrics_text.ts";
import type { StaticStatus } from "../../lib/agent/static_status.ts";
import type { AgentPeerStatus, AgentStatus } from "../../lib/agent/status.ts";
import type { CoordinatorStatus } from "../../lib/coordinator/coordinator_options.ts";
import { DROP_REASONS } from "../../lib/session/actions.ts";
import { labelKey, readOpenMetrics } from "../fakes/open_metrics.ts";

function peer(change: Partial<AgentPeerStatus>): AgentPeerStatus {
  return {
    name: "bob",
    nodeId: "22".repeat(32),
    addresses: { ipv4: "100.64.0.3", ipv6: "fd00::3" },
    online: true,
    path: { kind: "relay", remote: "relay", rttMs: 12.5, why: "UDP is blocked" },
    switches: { promotions: 4, demotions: 3, rebinds: 2 },
    lastHandshakeAt: "2026-01-02T03:04:05.500Z",
    handshakes: 9,
    rxBytes: 10,
    txBytes: 2 ** 53,
    rxPackets: 1,
    txPackets: 7,
    queued: 5,
    ...change,
  };
}

const NODE: AgentStatus = {
  name: "alice",
  nodeId: "00".repeat(32),
  mesh: "11".repeat(16),
  addresses: { ipv4: "100.64.0.2", ipv6: "fd00::2" },
  interface: "tm0",
  dataPlane: { kind: "linux", aead: "libcrypto" },
  coordinator: { url: "https://hub.example:8443", connected: true },
  carriers: {
    relay: { connected: true, queueFull: 6, noConnection: 1 },
    ssh: { queueFull: 0, noConnection: 0 },
  },
  peers: [
    peer({}),
    peer({
      ...{ name: "carl", nodeId: "33".repeat(32), online: false, path: { kind: "none" } },
      lastHandshakeAt: undefined as never,
    }),
  ],
  udpPort: 4711,
  endpoints: ["192.0.2.9:4711"],
  policy: "allow-all",
  trust: "all",
  alarms: [],
  pinConflicts: 2,
  drops: { "bad-mac1": 3, "under-load": 1 },
  notes: ["a note"],
};

const COORDINATOR: CoordinatorStatus = {
  mesh: "11".repeat(16),
  listening: [{ hostname: "::", port: 8443 }],
  isTls: true,
  udpPorts: [8443],
  ipv4Range: "100.64.0.0/10",
  ipv6Range: "fd00::/48",
  policy: "allow-all",
  binding: "strict",
  memberInvites: false,
  members: 5,
  online: 4,
  rosterVersion: 17,
  pskEpoch: 2,
  counts: { joined: 5, refused: 1, displaced: 0, unknownKinds: 0 },
  relay: {
    connections: 4,
    forwardedDatagrams: 100,
    forwardedBytes: 144_000,
    queueFull: 2,
    rateLimited: 3,
    notConnected: 4,
    refused: 1,
  },
};

/** A family's only value, or that with these labels. */
function value(text: string, name: string, labels: Record<string, string> = {}) {
  return readOpenMetrics(text).get(name)?.samples.get(labelKey(labels));
}

Deno.test("nodeMetrics() says of every peer what the status says", () => {
  const text = nodeMetrics(NODE);
  for (const { name, nodeId, ...peer } of NODE.peers) {
    const of = (family: string, more = {}) =>
      value(text, `tunnelmesh_peer_${family}`, { peer: name, node_id: nodeId, ...more });
    strictEqual(of("online"), Number(peer.online));
    for (const kind of ["none", "relay", "ssh", "udp"]) {
      strictEqual(of("path", { kind }), Number(kind === peer.path.kind));
    }
    const { rttMs } = peer.path;
    strictEqual(of("rtt_seconds"), rttMs === undefined ? undefined : rttMs / 1000);
    const { promotions, demotions, rebinds } = peer.switches;
    deepStrictEqual(
      ["promotion", "demotion", "rebind"].map((direction) => of("path_switches", { direction })),
      [promotions, demotions, rebinds],
    );
    const { lastHandshakeAt: at } = peer;
    strictEqual(
      of("last_handshake_timestamp_seconds"),
      at === undefined ? undefined : Date.parse(at) / 1000,
    );
    deepStrictEqual(
      ["handshakes", "queued_packets", "received_bytes", "sent_bytes"].map((name) => of(name)),
      [peer.handshakes, peer.queued, peer.rxBytes, peer.txBytes],
    );
    deepStrictEqual(
      ["received_packets", "sent_packets"].map((name) => of(name)),
      [peer.rxPackets, peer.txPackets],
    );
  }
});

Deno.test("nodeMetrics() has every drop reason, those of admission among them, and both carriers", () => {
  const text = nodeMetrics(NODE);
  for (const reason of DROP_REASONS) {
    strictEqual(value(text, "tunnelmesh_dropped", { reason }), NODE.drops[reason] ?? 0);
  }
  const lost = (carrier: string, reason: string) =>
    value(text, "tunnelmesh_carrier_dropped", { carrier, reason });
  deepStrictEqual([lost("relay", "queue-full"), lost("relay", "no-connection")], [6, 1]);
  deepStrictEqual([lost("ssh", "queue-full"), lost("ssh", "no-connection")], [0, 0]);
  const alone = ["coordinator_connected", "relay_connected", "pin_conflicts"];
  deepStrictEqual(alone.map((name) => value(text, `tunnelmesh_${name}`)), [1, 1, 2]);
});

Deno.test("nodeMetrics() holds no address, URL or endpoint", () => {
  const text = nodeMetrics(NODE);
  for (const part of ["100.64.", "fd00:", "192.0.2", "hub.example", "4711", "a note"]) {
    ok(!text.includes(part), part);
  }
});

Deno.test("nodeMetrics() of a node in allow-list mode says whether its file is in force", () => {
  const { coordinator: _, carriers: _1, trust: _2, alarms: _3, pinConflicts: _4, ...rest } = NODE;
  const status = (fault?: string): StaticStatus => ({
    ...rest,
    profile: "allowed-peers",
    publicKey: "AAAA",
    peers: [],
    config: {
      path: "/etc/tunnelmesh.yaml",
      loadedAt: "2026-01-02T03:04:05.000Z",
      ...(fault !== undefined && { fault }),
    },
    masquerade: false,
    defaultRoute: false,
  });
  const inForce = (status: StaticStatus) =>
    value(nodeMetrics(status), "tunnelmesh_config_in_force");
  deepStrictEqual([inForce(status()), inForce(status("line 3"))], [1, 0]);
  const families = [...readOpenMetrics(nodeMetrics(status())).keys()];
  ok(!families.some((name) => /coordinator|carrier|pin|peer/.test(name)), String(families));
});

Deno.test("coordinatorMetrics() says what the status says, with and without a relay", () => {
  const text = coordinatorMetrics(COORDINATOR);
  const of = (...names: string[]) => names.map((name) => value(text, `tunnelmesh_${name}`));
  deepStrictEqual(of("members", "members_online", "roster_version", "psk_epoch"), [5, 4, 17, 2]);
  deepStrictEqual(
    of("joins", "control_refused", "control_displaced", "control_unknown_kinds"),
    [5, 1, 0, 0],
  );
  deepStrictEqual(
    of("relay_connections", "relay_forwarded_datagrams", "relay_forwarded_bytes", "relay_refused"),
    [4, 100, 144_000, 1],
  );
  const lost = ["queue-full", "rate-limited", "not-connected"].map((reason) =>
    value(text, "tunnelmesh_relay_dropped", { reason })
  );
  deepStrictEqual(lost, [2, 3, 4]);
  const { relay: _, ...without } = COORDINATOR;
  const families = [...readOpenMetrics(coordinatorMetrics(without)).keys()];
  ok(!families.some((name) => name.includes("relay")), String(families));
});

Deno.test("openMetricsOf() gives back labels, texts and values as they were, whatever is in them", () => {
  const labels = fc.dictionary(fc.stringMatching(/^[a-z_][a-z0-9_]{0,8}$/), fc.string());
  const number = fc.oneof(fc.double({ noDefaultInfinity: false }), fc.maxSafeNat());
  fc.assert(fc.property(labels, number, fc.string({ unit: "binary" }), (labels, value, extra) => {
    const all = { ...labels, extra: `"\\\n${extra}` };
    const text = openMetricsOf([
      { name: "a", type: "gauge", help: "One\nline \\.", samples: [{ labels: all, value }] },
      { name: "b_bytes", type: "counter", unit: "bytes", help: "B.", samples: [] },
    ]);
    const read = readOpenMetrics(text);
    deepStrictEqual([...read.keys()], ["a"]);
    const got = read.get("a")!.samples.get(labelKey(all));
    ok(Object.is(got, value) || got === value, `${got} for ${value}`);
  }));
});
