/**
 * Agents whose UDP goes nowhere reach each other by the coordinator's relay.
 *
 * ```
 *    a ──┐          ┌── b        UDP is dropped at a and b
 *        └── hub ───┘            TCP 8443 passes
 * ```
 *
 * @module
 */

import { ok, strictEqual } from "node:assert/strict";
import { callControlSocket } from "../../lib/agent/control_socket.ts";
import type { CoordinatorStatus } from "../../lib/coordinator/coordinator_options.ts";
import type { DropReason } from "../../lib/session/actions.ts";
import { labelKey, readOpenMetrics } from "../fakes/open_metrics.ts";
import { type Host, pings } from "../lab/namespaces.ts";
import { eventually } from "../lab/processes.ts";
import { figure, Mesh, type Node } from "./mesh.ts";

/** Both data planes carry datagrams of the relay. */
const PLANES = (Deno.env.get("TUNNELMESH_RELAY_PLANES") ?? "portable,linux").split(",");

const DROP_UDP = `table inet no_udp {
  chain out { type filter hook output priority 0; oifname != { "lo", "tm*" } udp dport != 53 drop; }
  chain in { type filter hook input priority 0; iifname != { "lo", "tm*" } ip protocol udp drop; }
}`;

for (const plane of PLANES) {
  Deno.test(`the relay connects nodes without UDP, with the ${plane} data plane`, async () => {
    const args = ["--data-plane", plane];
    // Its own member finds the relay as well where loopback is not listened on.
    const listen = plane === "linux" ? ["--listen", "198.51.100.1:8443"] : [];
    await using mesh = await Mesh.create({ coordinatorArgs: [...args, ...listen] });
    const names = ["a", "b"];
    const [a, b] = await Promise.all(names.map(async (name) => {
      const host = await mesh.lab.addHost(name);
      await dropUdp(host);
      return await mesh.describe(name, host, args).start();
    }));
    await mesh.settled();
    const startedAt = performance.now();
    const { addresses } = await a!.peer("b");
    await pings(a!.host, addresses.ipv4);
    figure(`first ping over the relay, ${plane}`, performance.now() - startedAt, "ms");
    for (const [from, to] of [[a!, "b"], [b!, "a"], [a!, "hub"]] as const) {
      const { ipv4, ipv6 } = (await from.peer(to)).addresses;
      for (const address of [ipv4, ipv6]) {
        await pings(from.host, address);
      }
      await eventually(`${from.host.name} reaches ${to} by the relay`, async () => {
        const { kind, remote } = (await from.peer(to)).path;
        return kind === "relay" && remote === "relay";
      });
    }
    // The worker tells its counts now and then.
    await eventually("the relay has counted", async () => {
      const { relay } = await callControlSocket(
        mesh.coordinator.state,
        "coordinator.sock",
        "status",
      ) as CoordinatorStatus;
      return relay?.connections === 3 && relay.forwardedDatagrams > 10;
    });
    await checkMetrics(mesh, a!);

    // A restart of the coordinator ends the relay's connections; they come back by themselves.
    await mesh.coordinator.process!.stop();
    await mesh.coordinator.start();
    await eventually("the relay carries again", async () => {
      const { code } = await a!.host.run(["ping", "-n", "-c", "1", "-W", "1", addresses.ipv4]);
      return code === 0;
    });
  });
}

/** What `metrics` prints is what `status --json` says, and nothing that a stranger could use. */
async function checkMetrics(mesh: Mesh, a: Node): Promise<void> {
  const before = await a.glance();
  const { code, stdout } = await a.ask("metrics");
  const after = await a.glance();
  strictEqual(code, 0);
  const metrics = readOpenMetrics(stdout);
  const valueOf = (family: string, labels: Record<string, string> = {}) =>
    metrics.get(`tunnelmesh_${family}`)?.samples.get(labelKey(labels));
  for (const [i, { name, nodeId, path, rxBytes, txPackets }] of before.peers.entries()) {
    const labels = { peer: name, "node_id": nodeId };
    strictEqual(valueOf("peer_path", { ...labels, kind: path.kind }), 1, name);
    strictEqual(valueOf("peer_path", { ...labels, kind: "udp" }), 0, name);
    const later = after.peers[i]!;
    const [received, sent] = [
      valueOf("peer_received_bytes", labels)!,
      valueOf("peer_sent_packets", labels)!,
    ];
    ok(rxBytes <= received && received <= later.rxBytes, `${name}: ${received}`);
    ok(txPackets <= sent && sent <= later.txPackets, `${name}: ${sent}`);
    ok(later.path.why !== undefined, name);
  }
  strictEqual(valueOf("relay_connected"), 1);
  for (const reason of ["bad-mac1", "under-load", "rate-limited", "unknown-static-key"]) {
    const [least, most] = [before, after].map(({ drops }) => drops[reason as DropReason] ?? 0);
    const dropped = valueOf("dropped", { reason })!;
    ok(least! <= dropped && dropped <= most!, `${reason}: ${dropped}`);
  }
  ok(!stdout.includes(a.host.ipv4) && !stdout.includes((await mesh.writeToken()).slice(4, 40)));
  const { stdout: ofHub } = await mesh.coordinator.ask("metrics", "--coordinator");
  const relayed = readOpenMetrics(ofHub);
  strictEqual(relayed.get("tunnelmesh_relay_connections")?.samples.get("[]"), 3);
  ok(relayed.get("tunnelmesh_relay_forwarded_datagrams")!.samples.get("[]")! > 10);
}

async function dropUdp(host: Host): Promise<void> {
  await host.must(["nft", "-f", "-"], { input: DROP_UDP });
}
