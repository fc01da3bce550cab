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

import { deepStrictEqual } from "node:assert/strict";
import { callControlSocket } from "../../lib/agent/control_socket.ts";
import type { CoordinatorStatus } from "../../lib/coordinator/coordinator.ts";
import { type Host, pings } from "../lab/namespaces.ts";
import { eventually } from "../lab/processes.ts";
import { figure, Mesh } from "./mesh.ts";

/** Both data planes carry datagrams of the relay. */
const PLANES = (Deno.env.get("TUNNELMESH_RELAY_PLANES") ?? "portable,linux").split(",");

const DROP_UDP = `table inet no_udp {
  chain out { type filter hook output priority 0; oifname != { "lo", "tm*" } udp dport != 53 drop; }
  chain in { type filter hook input priority 0; iifname != { "lo", "tm*" } ip protocol udp drop; }
}`;

for (const plane of PLANES) {
  Deno.test(`the relay connects nodes without UDP, with the ${plane} data plane`, async () => {
    const args = ["--data-plane", plane];
    await using mesh = await Mesh.create({ coordinatorArgs: args });
    const names = ["a", "b"];
    const [a, b] = await Promise.all(names.map(async (name) => {
      const host = await mesh.lab.addHost(name);
      await dropUdp(host);
      return await mesh.describe(name, host, args).start();
    }));
    await mesh.settled();
    const startedAt = performance.now();
    const { addresses } = await a!.peer("b");
    await pings(a!.host, addresses.ipv4, 20_000);
    figure(`first ping over the relay, ${plane}`, performance.now() - startedAt, "ms");
    for (const [from, to] of [[a!, "b"], [b!, "a"], [a!, "hub"]] as const) {
      const { ipv4, ipv6 } = (await from.peer(to)).addresses;
      for (const address of [ipv4, ipv6]) {
        await pings(from.host, address, 20_000);
      }
      const { kind, remote } = (await from.peer(to)).path;
      deepStrictEqual([kind, remote], ["relay", "relay"]);
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

    // A restart of the coordinator ends the relay's connections; they come back by themselves.
    await mesh.coordinator.process!.stop();
    await mesh.coordinator.start();
    await eventually("the relay carries again", async () => {
      const { code } = await a!.host.run(["ping", "-n", "-c", "1", "-W", "1", addresses.ipv4]);
      return code === 0;
    }, 30_000);
  });
}

async function dropUdp(host: Host): Promise<void> {
  await host.must(["nft", "-f", "-"], { input: DROP_UDP });
}
