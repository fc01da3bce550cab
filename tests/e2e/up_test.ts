/**
 * Allow-list mode: `tunnelmesh up --config FILE` at both ends, no coordinator.
 *
 * ```
 *   server (10.9.0.1)   one   two   three (10.9.0.11 to 13)      one bridge
 * ```
 *
 * @module
 */

import { match, ok, strictEqual } from "node:assert/strict";
import { Lab, pings } from "../lab/namespaces.ts";
import { PORT, StaticEnd } from "./static_net.ts";

const CLIENTS = ["one", "two", "three"];

Deno.test("up: a server and its clients ping both ways, both families", async () => {
  await using lab = await Lab.create();
  const { server, clients } = await describe(lab);
  await server.start();
  for (const client of clients) await client.start();
  for (const [i, client] of clients.entries()) {
    await pings(client.host, "10.9.0.1");
    await pings(client.host, "fd09::1");
    await pings(server.host, `10.9.0.${11 + i}`);
    await pings(server.host, `fd09::${11 + i}`);
  }
  const { peers, policy } = await server.status();
  strictEqual(policy, "allowed-peers");
  strictEqual(peers.filter(({ online }) => online).length, CLIENTS.length);
  const asked = await server.ask("ping", "two", "-c", "1");
  match(asked.stdout, /^two: answer by udp /);
  const status = await server.ask("status");
  match(status.stdout, /Policy: .*server\.yaml, in force/);
  ok((await server.ask("peers")).stdout.includes("10.9.0.13"));
});

/** A server and three clients who dial it. */
async function describe(lab: Lab): Promise<{ server: StaticEnd; clients: StaticEnd[] }> {
  const hub = await lab.addHost("server");
  const server = new StaticEnd(hub, lab.folder, {
    listen: `[::]:${PORT}`,
    addresses: ["10.9.0.1/24", "fd09::1/64"],
  });
  const clients = [];
  for (const [i, name] of CLIENTS.entries()) {
    const host = await lab.addHost(name);
    clients.push(
      new StaticEnd(host, lab.folder, {
        addresses: [`10.9.0.${11 + i}/24`, `fd09::${11 + i}/64`],
        allowedPeers: [{
          name: "server",
          publicKey: server.publicKey,
          allowedIps: ["10.9.0.1/32", "fd09::1/128"],
          endpoint: `${hub.ipv4}:${PORT}`,
          keepalive: "10s",
        }],
      }),
    );
  }
  server.config = {
    ...server.config,
    allowedPeers: clients.map((client, i) => ({
      name: client.host.name,
      publicKey: client.publicKey,
      enabled: true,
      clientIp: `10.9.0.${11 + i}`,
      allowedIps: [`10.9.0.${11 + i}/32`, `fd09::${11 + i}/128`],
    })),
  };
  return { server, clients };
}
