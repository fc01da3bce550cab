/**
 * Nodes join a mesh and reach each other, by every pair, in both families.
 *
 * ```
 *   hub (coordinator and member)   a   b   c   d   e      one bridge, IPv4 and IPv6
 * ```
 *
 * @module
 */

import { deepStrictEqual, match, notStrictEqual, ok, strictEqual } from "node:assert/strict";
import type { AgentStatus } from "../../lib/agent/status.ts";
import { Lab, pings } from "../lab/namespaces.ts";
import { eventually, must } from "../lab/processes.ts";
import { COMMAND, ENVIRONMENT, Mesh, Node } from "./mesh.ts";

Deno.test("five agents join, and every node pings every other in both families", async () => {
  const startedAt = Date.now();
  await using mesh = await Mesh.create({ agents: ["a", "b", "c", "d", "e"] });
  const statuses = await Promise.all(mesh.nodes.map((node) => node.status()));
  const addresses = statuses.flatMap(({ addresses }) => [addresses.ipv4, addresses.ipv6]);
  strictEqual(new Set(addresses).size, 12, "addresses are unique");
  await Promise.all(mesh.nodes.map(async (node, from) => {
    for (const [to, { addresses }] of statuses.entries()) {
      if (to === from) continue;
      await pings(node.host, addresses.ipv4);
      await pings(node.host, addresses.ipv6);
    }
  }));

  // The relay carries the first packets, until a handshake has come through by UDP.
  const status = await eventually("every peer reached by UDP", async () => {
    const now = await mesh.agent("a").status();
    return now.peers.every(({ path }) => path.kind === "udp") && now;
  });
  checkShape(status);
  deepStrictEqual(status.peers.map((peer) => peer.name).sort(), ["b", "c", "d", "e", "hub"]);
  for (const peer of status.peers) {
    strictEqual(peer.online, true, peer.name);
    ok(peer.rxBytes > 0 && peer.txBytes > 0, `${peer.name} has traffic`);
    const handshakeAt = Date.parse(peer.lastHandshakeAt!);
    ok(startedAt <= handshakeAt && handshakeAt <= Date.now(), peer.name);
  }
  deepStrictEqual(
    (await mesh.agent("a").askJson<AgentStatus["peers"]>("peers")).map(({ name }) => name),
    status.peers.map(({ name }) => name),
    "peers --json is that list",
  );
  await eventually("both pings of the program's own are answered", async () => {
    const { code, stdout } = await mesh.agent("a").ask("ping", "b", "-c", "2", "-i", "0.1");
    return code === 0 && /2 sent, 2 answered, 0 % lost/.test(stdout);
  });
  match((await mesh.agent("a").ask("peers")).stdout, /^NAME +IPV4 +IPV6/);
});

Deno.test("the command that a coordinator shows on a terminal joins another machine", async () => {
  await using lab = await Lab.create();
  const [hub, a] = [await lab.addHost("hub"), await lab.addHost("a")];
  const words = [...COMMAND, "coordinator", "--state", `${lab.folder}/hub`].map((word) =>
    `'${word}'`
  );
  const terminal = ["script", "-qefc", words.join(" "), "/dev/null"];
  const shown = hub.start(terminal, { env: ENVIRONMENT });
  const [command] = await shown.shows(/sudo \.\/tunnelmesh join .*tm1_[\w-]+/);
  const pasted = command.split(" ").slice(2);
  deepStrictEqual(pasted.slice(0, 3), ["join", "--coordinator", "https://198.51.100.1:8443"]);
  const token = pasted.at(-1)!;
  const joined = new Node(a, `${lab.folder}/a`, pasted);
  await joined.start();
  await pings(a, "100.64.0.1");
  strictEqual(await joined.process!.stop(), 0);

  // The same token by the environment, for a script.
  const named = ["join", "--coordinator", pasted[2]!, "--name", "b"];
  await new Node(a, `${lab.folder}/b`, named, { TUNNELMESH_TOKEN: token }).start();
  await pings(a, "100.64.0.1");
});

Deno.test("two agents on one machine with one SSH key are two nodes", async () => {
  await using mesh = await Mesh.create({ agents: ["a"] });
  const key = `${mesh.lab.folder}/id_ed25519`;
  await must(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key]);
  const host = await mesh.lab.addHost("twins");
  const join = ["join", "--coordinator", mesh.url, "--token-file", mesh.tokenFile];
  const twins = ["one", "two"].map((name) =>
    new Node(host, `${mesh.lab.folder}/${name}`, [...join, "--name", name, "--ssh-key", key])
  );
  for (const twin of twins) {
    mesh.agents.set(twin.state, twin);
    await twin.start();
  }
  await mesh.settled();
  const [one, two] = await Promise.all(twins.map((twin) => twin.status()));
  notStrictEqual(one!.nodeId, two!.nodeId);
  notStrictEqual(one!.interface, two!.interface);
  const a = mesh.agent("a");
  for (const { addresses } of [one!, two!]) {
    await pings(a.host, addresses.ipv4);
    await pings(a.host, addresses.ipv6);
  }
  const { addresses } = await a.status();
  await pings(host, addresses.ipv4);
  await pings(host, addresses.ipv6);
});

Deno.test("a machine without IPv6 is a member by IPv4, and says so", async () => {
  await using mesh = await Mesh.create({ agents: ["a"] });
  const host = await mesh.lab.addHost("old", { ipv6: false });
  const old = await mesh.describe("old", host).start();
  await mesh.settled();
  const status = await old.status();
  await pings(mesh.agent("a").host, status.addresses.ipv4);
  await pings(host, (await mesh.agent("a").status()).addresses.ipv4);
  match(JSON.stringify(status), /IPv4 only|no IPv6|without IPv6/i);
});

Deno.test("a coordinator and a peer are reached by the second address of an interface", async () => {
  await using mesh = await Mesh.create();
  const hub = mesh.coordinator;
  await hub.host.must(["ip", "address", "add", "198.51.100.201/24", "dev", "eth0"]);
  const [a, b] = [await mesh.lab.addHost("a"), await mesh.lab.addHost("b")];
  await b.must(["ip", "address", "add", "198.51.100.202/24", "dev", "eth0"]);
  // What comes from a first address can't be answered by a: only the second ones are left.
  const firsts = [hub.host.ipv4, b.ipv4, hub.host.ipv6, b.ipv6];
  for (const first of firsts) await a.must(["ip", "route", "add", "blackhole", first]);
  const args = ["join", "--coordinator", "https://198.51.100.201:8443"];
  for (const host of [a, b]) {
    const named = [...args, "--token-file", mesh.tokenFile, "--name", host.name];
    mesh.agents.set(host.name, new Node(host, `${mesh.lab.folder}/${host.name}`, named));
    await mesh.agent(host.name).start();
  }
  await mesh.settled();
  const statuses = await Promise.all(mesh.nodes.map((node) => node.status()));
  for (const { name, addresses } of statuses) {
    if (name === "a") continue;
    await pings(a, addresses.ipv4);
    await pings(a, addresses.ipv6);
  }
  // The relay carries the first packets, until a handshake has come through by UDP.
  for (const [name, address] of [["hub", "198.51.100.201:"], ["b", "198.51.100.202:"]] as const) {
    await eventually(
      `${name} reached by ${address}`,
      async () => (await mesh.agent("a").peer(name)).path.remote?.startsWith(address),
    );
  }
});

/** The fields of `status --json` that other programs rely on. */
function checkShape(status: AgentStatus): void {
  match(status.nodeId, /^[0-9a-f]{64}$/);
  match(status.addresses.ipv4, /^100\.(6[4-9]|[7-9]\d|1[01]\d|12[0-7])\.\d+\.\d+$/);
  match(status.addresses.ipv6, /^fd[0-9a-f:]+$/);
  match(status.interface, /^tm\d+$/);
  ok(["portable", "linux"].includes(status.dataPlane.kind));
  strictEqual(typeof status.dataPlane.aead, "string");
  strictEqual(status.coordinator.connected, true);
  match(status.coordinator.url, /^https:\/\/198\.51\.100\.1:8443/);
  for (const peer of status.peers) {
    match(peer.nodeId, /^[0-9a-f]{64}$/);
    match(peer.lastHandshakeAt!, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/);
  }
}
