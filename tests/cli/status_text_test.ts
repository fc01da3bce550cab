/**
 * What `status` and `peers` look like.
 *
 * @module
 */

import { match, strictEqual } from "node:assert/strict";
import type { AgentStatus } from "../../lib/agent/status.ts";
import { formatPeers, formatStatus } from "../../lib/cli/status_text.ts";

const NOW = Date.parse("2026-01-02T03:04:05Z");

const UNTOUCHED = {
  switches: { promotions: 0, demotions: 0, rebinds: 0 },
  rxPackets: 0,
  txPackets: 0,
  queued: 0,
};

const STATUS: AgentStatus = {
  name: "a",
  nodeId: "00".repeat(32),
  mesh: "11".repeat(16),
  addresses: { ipv4: "100.64.0.2", ipv6: "fd00::2" },
  interface: "tm0",
  dataPlane: { kind: "portable", aead: "wasm" },
  coordinator: { url: "https://hub:8443", connected: false },
  carriers: {},
  peers: [{
    name: "hub",
    nodeId: "22".repeat(32),
    addresses: { ipv4: "100.64.0.1", ipv6: "fd00::1" },
    online: true,
    path: { kind: "udp", remote: "192.0.2.1:8443", rttMs: 1.26 },
    lastHandshakeAt: "2026-01-02T03:03:05.000Z",
    handshakes: 1,
    rxBytes: 0,
    txBytes: 1500,
    ...UNTOUCHED,
  }, {
    name: "long-name",
    nodeId: "33".repeat(32),
    addresses: { ipv4: "100.64.0.3", ipv6: "fd00::3" },
    online: false,
    path: { kind: "none" },
    handshakes: 0,
    rxBytes: 0,
    txBytes: 0,
    ...UNTOUCHED,
  }],
  udpPort: 1,
  endpoints: [],
  policy: "allow-all",
  trust: "all",
  alarms: [],
  pinConflicts: 0,
  drops: {},
  notes: ["IPv6 is off"],
};

Deno.test("formatPeers() makes a table", () => {
  strictEqual(
    formatPeers(STATUS.peers, NOW),
    [
      "NAME       IPV4        IPV6     STATE    PATH                   RTT  HANDSHAKE   RX      TX",
      "hub        100.64.0.1  fd00::1  online   udp 192.0.2.1:8443  1.3 ms  60 s ago   0 B  1.5 kB",
      "long-name  100.64.0.3  fd00::3  offline  -                        -  -          0 B     0 B",
    ].join("\n"),
  );
  strictEqual(formatPeers([], NOW), "No peers yet");
  const [hub] = STATUS.peers;
  const path = { kind: "relay", remote: "relay", why: "UDP is blocked here" } as const;
  strictEqual(
    formatPeers([{ ...hub!, path }], NOW).split("\n").at(-1),
    "hub has no direct path: UDP is blocked here",
  );
  strictEqual(
    formatPeers([{ ...hub!, path: { ...hub!.path, mtu: 1340 } }], NOW).split("\n").at(-1),
    "The path to hub carries packets of 1340 bytes at most",
  );
});

Deno.test("formatPeers() says who is known, and why somebody is refused", () => {
  const peers = STATUS.peers.map((peer, i) =>
    i === 0
      ? { ...peer, trust: "verified" as const }
      : { ...peer, trust: "conflict" as const, refused: "its key is another one" }
  );
  const text = formatPeers(peers, NOW);
  match(text, /^NAME +IPV4 +IPV6 +STATE +TRUST +PATH +RTT /);
  match(text, /^hub .+ online +verified +udp 192/m);
  match(text, /^long-name .+ refused +conflict +-/m);
  match(text, /^long-name is refused: its key is another one$/m);
  const alarm = {
    ...{ kind: "key-changed" as const, name: "long-name", nodeId: "33".repeat(32) },
    ...{ pinnedName: "long-name", pinnedNodeId: "44".repeat(32), since: "2026-01-02T03:04:05Z" },
  };
  const status = formatStatus({ ...STATUS, peers, alarms: [alarm], trust: "verified-only" }, NOW);
  match(status, /^Alarm: +long-name: its key is another one$/m);
  match(status, /^Trust: +verified-only$/m);
});

Deno.test("formatStatus() says what a person should know", () => {
  const text = formatStatus(STATUS, NOW);
  match(text, /^Name: +a$/m);
  match(text, /^Coordinator: +https:\/\/hub:8443, not connected$/m);
  match(text, /^Policy: +allow-all$/m);
  match(text, /^Peers: +2, 1 online$/m);
  match(text, /^Note: +IPv6 is off$/m);
});
