/**
 * What happens when processes stop, crash and come back.
 *
 * ```
 *   hub (coordinator and member)   a   b   c      one bridge
 * ```
 *
 * @module
 */

import { deepStrictEqual, match, notStrictEqual, strictEqual } from "node:assert/strict";
import { pings } from "../lab/namespaces.ts";
import { eventually } from "../lab/processes.ts";
import { figure, Mesh, Node, tunnelmesh } from "./mesh.ts";

Deno.test("a rotated token admits nobody new, and every member comes back without one", async () => {
  await using mesh = await Mesh.create({ agents: ["a", "b"] });
  const before = await addressesOf(mesh);
  const oldToken = (await Deno.readTextFile(mesh.tokenFile)).trim();
  const rotated = await mesh.coordinator.askJson<{ token: string; joinCommand: string }>(
    "token",
    "rotate",
  );
  notStrictEqual(rotated.token, oldToken);
  match(
    rotated.joinCommand,
    new RegExp(`tunnelmesh join --coordinator https://.* ${rotated.token}`),
  );

  const late = await mesh.lab.addHost("late");
  const lateState = ["--state", `${mesh.lab.folder}/late`];
  const refused = await tunnelmesh(late, [
    ...["join", "--coordinator", mesh.url, "--token-file", mesh.tokenFile, ...lateState],
  ]);
  strictEqual(refused.code, 4, refused.stderr);
  match(refused.stderr, /^tunnelmesh: Cannot .*token.*\n$/);

  for (const node of mesh.nodes) strictEqual(await node.process!.stop(), 0);
  for (const node of mesh.nodes) await node.start();
  await mesh.settled();
  deepStrictEqual(await addressesOf(mesh), before);
  await allPing(mesh);

  await mesh.writeToken();
  await mesh.describe("late", late).start();
  await mesh.settled();
});

Deno.test("an agent and a coordinator that are killed come back as they were", async () => {
  await using mesh = await Mesh.create({ agents: ["a", "b"] });
  const before = await addressesOf(mesh);
  await allPing(mesh);
  for (const node of [mesh.agent("a"), mesh.coordinator]) {
    await node.process!.kill();
    await node.start();
    await mesh.settled();
    deepStrictEqual(await addressesOf(mesh), before, `${node.host.name} came back`);
    await allPing(mesh);
  }
});

Deno.test("without a coordinator, sessions go on and new ones begin", async () => {
  await using mesh = await Mesh.create({ agents: ["a", "b", "c"] });
  const [a, b, c] = ["a", "b", "c"].map((name) => mesh.agent(name)) as [Node, Node, Node];
  const [toB, toC] = await Promise.all([b, c].map(async (one) => (await one.status()).addresses));
  await pings(a.host, toB!.ipv4);
  strictEqual((await a.peer("c")).lastHandshakeAt, undefined, "a and c never spoke");
  await mesh.coordinator.process!.kill();
  await eventually(
    "a sees that the coordinator is gone",
    async () => !(await a.status()).coordinator.connected,
  );
  await pings(a.host, toB!.ipv4);
  await pings(a.host, toC!.ipv4);
  await pings(a.host, toC!.ipv6);

  // A joined state folder is enough to come back: no token, no coordinator, from the roster's copy.
  strictEqual(await b.process!.stop(), 0);
  const bare = new Node(b.host, b.state, ["join"]);
  await bare.start();
  const { addresses } = await a.status();
  await pings(b.host, addresses.ipv4);
  await pings(c.host, toB!.ipv6);
});

Deno.test("an agent whose clock went back a day still gets in", async () => {
  await using mesh = await Mesh.create({ agents: ["a", "b"] });
  await allPing(mesh);
  const a = mesh.agent("a");
  strictEqual(await a.process!.stop(), 0);
  a.wrapper = ["env", "FAKETIME_DONT_FAKE_MONOTONIC=1", "faketime", "-f", "-1d"];
  await a.start();
  await mesh.settled();
  await allPing(mesh);
});

Deno.test("an agent that is told to stop takes everything with it", async () => {
  await using mesh = await Mesh.create({ agents: ["a"] });
  const a = mesh.agent("a");
  const { interface: name } = await a.status();
  match(await a.host.must(["ip", "link", "show", name]), /mtu 1408/);
  for (const signal of ["SIGTERM", "SIGINT"] as const) {
    const startedAt = performance.now();
    a.process!.signal(signal);
    strictEqual(await a.process!.ended, 0, a.process!.stderr);
    figure(`${signal} to gone`, performance.now() - startedAt, "ms");
    deepStrictEqual(await leftovers(a), { links: ["lo", "eth0"], routes: 0, socket: false });
    strictEqual((await a.ask("status")).code, 3, "not running");
    await a.start();
  }
});

Deno.test("a node that leaves is forgotten by all", async () => {
  await using mesh = await Mesh.create({ agents: ["a", "b"] });
  const left = await mesh.agent("b").ask("leave");
  strictEqual(left.code, 0, left.stderr);
  strictEqual(await mesh.agent("b").process!.ended, 0);
  await eventually("a knows only the hub", async () => {
    const { peers } = await mesh.agent("a").status();
    return peers.length === 1 && peers[0]!.name === "hub";
  });
});

Deno.test("a backup of a running coordinator restores the mesh on another machine", async () => {
  await using mesh = await Mesh.create({ agents: ["a", "b"] });
  const before = await addressesOf(mesh);
  const file = `${mesh.lab.folder}/mesh.backup`;
  const backup = await mesh.coordinator.ask("coordinator", "backup", file);
  strictEqual(backup.code, 0, backup.stderr);
  strictEqual((await Deno.stat(file)).mode! & 0o777, 0o600);

  await mesh.coordinator.process!.kill();
  await Deno.remove(mesh.coordinator.state, { recursive: true });
  const restore = await mesh.coordinator.ask("coordinator", "restore", file);
  strictEqual(restore.code, 0, restore.stderr);
  await mesh.coordinator.start();
  await eventually("a and b are back", async () => {
    const [a, b] = await Promise.all(["a", "b"].map((name) => mesh.agent(name).status()));
    return a!.coordinator.connected && b!.coordinator.connected;
  }, 90_000);
  const { a, b } = await addressesOf(mesh);
  deepStrictEqual({ a, b }, { a: before.a, b: before.b });
});

Deno.test("a coordinator with another key is refused by members, who stay as they are", async () => {
  await using mesh = await Mesh.create({ agents: ["a", "b"] });
  await mesh.coordinator.process!.stop();
  await Deno.remove(mesh.coordinator.state, { recursive: true });
  await mesh.coordinator.start();
  const a = mesh.agent("a");
  await eventually(
    "a says what to do",
    () => Promise.resolve(/restore/.test(a.process!.stderr) && /join/.test(a.process!.stderr)),
  );
  const { addresses } = await mesh.agent("b").status();
  await pings(a.host, addresses.ipv4);
});

async function addressesOf(mesh: Mesh): Promise<Record<string, unknown>> {
  const statuses = await Promise.all(mesh.nodes.map((node) => node.status()));
  return Object.fromEntries(statuses.map(({ name, addresses }) => [name, addresses]));
}

async function allPing(mesh: Mesh): Promise<void> {
  const statuses = await Promise.all(mesh.nodes.map((node) => node.status()));
  await Promise.all(mesh.nodes.map(async (node, from) => {
    for (const [to, { addresses }] of statuses.entries()) {
      if (to === from) continue;
      await pings(node.host, addresses.ipv4);
      await pings(node.host, addresses.ipv6);
    }
  }));
}

/** What could be left on a host after an agent has ended. */
async function leftovers(node: Node) {
  const links = JSON.parse(await node.host.must(["ip", "-j", "link"]));
  const routes = await node.host.must(["ip", "route"]) +
    await node.host.must(["ip", "-6", "route"]);
  return {
    links: links.map((link: { ifname: string }) => link.ifname),
    routes: routes.split("\n").filter((line) => /\btm\d|\b100\.64\./.test(line)).length,
    socket: await Deno.stat(`${node.state}/agent.sock`).then(() => true, () => false),
  };
}
