/**
 * What the machine around the program does to it: a full disk, a crash, a proxy, a coordinator that
 * only coordinates.
 *
 * @module
 */

import { deepStrictEqual, match, ok, strictEqual } from "node:assert/strict";
import type { AgentPeerStatus } from "../../lib/agent/status.ts";
import { pings } from "../lab/namespaces.ts";
import { eventually, must, run } from "../lab/processes.ts";
import { Mesh, Node, tunnelmesh } from "./mesh.ts";

Deno.test("a full disk fails a registration cleanly; sessions and rosters live on", async () => {
  const disk = await Deno.makeTempDir({ prefix: "tunnelmesh-disk-" });
  await must(["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", disk]);
  try {
    await using mesh = await Mesh.create({ agents: ["a", "b"], stateFolder: disk });
    const [a, b] = [mesh.agent("a"), mesh.agent("b")];
    const { addresses } = await b.status();
    await pings(a.host, addresses.ipv4);
    await run(["sh", "-c", `cat /dev/zero > ${disk}/ballast 2>/dev/null`]);

    const late = await mesh.lab.addHost("late");
    const join = mesh.describe("late", late).args;
    mesh.agents.delete("late");
    const state = `${mesh.lab.folder}/late`;
    const refused = await tunnelmesh(late, [...join, "--state", state]);
    ok([1, 4].includes(refused.code), `${refused.code} ${refused.stderr}`);
    match(refused.stderr, /^tunnelmesh: Cannot .*(disk|stor)/);
    await pings(a.host, addresses.ipv4);
    await pings(b.host, (await a.glance()).addresses.ipv6);
    strictEqual((await mesh.coordinator.status()).peers.length, 2, "nobody was added");

    await Deno.remove(`${disk}/ballast`);
    await new Node(late, state, join).start();
    await eventually(
      "a sees the late one",
      async () => (await a.glance()).peers.some(({ name }) => name === "late"),
    );
    for (const node of mesh.nodes) {
      await node.process!.kill();
      await node.start();
    }
    await mesh.settled(3);
  } finally {
    await must(["umount", disk]);
    await Deno.remove(disk);
  }
});

Deno.test("a start after a crash takes away what the crash left", async () => {
  await using mesh = await Mesh.create({ agents: ["a"] });
  const a = mesh.agent("a");
  const rules = async () =>
    await a.host.must(["ip", "rule"]) + await a.host.must(["ip", "-6", "rule"]);
  const links = async () => JSON.parse(await a.host.must(["ip", "-j", "link"])).length;
  await a.process!.stop();
  const [rulesBefore, linksBefore] = [await rules(), await links()];
  for (let crash = 0; crash < 3; crash++) {
    await a.start();
    await a.process!.kill();
  }
  await a.start();
  const { addresses } = await mesh.coordinator.status();
  await pings(a.host, addresses.ipv4);
  strictEqual(await a.process!.stop(), 0);
  strictEqual(await rules(), rulesBefore);
  strictEqual(await links(), linksBefore);
});

Deno.test("a coordinator without a member coordinates, and says who is there", async () => {
  await using mesh = await Mesh.create({ coordinatorArgs: ["--no-member"] });
  for (const name of ["a", "b"]) await mesh.describe(name, await mesh.lab.addHost(name)).start();
  const [a, b] = [mesh.agent("a"), mesh.agent("b")];
  await eventually("a sees b", async () => (await a.peer("b")).online);
  await pings(a.host, (await b.status()).addresses.ipv4);
  const hub = mesh.coordinator;
  const links = JSON.parse(await hub.host.must(["ip", "-j", "link"])) as { ifname: string }[];
  deepStrictEqual(links.map(({ ifname }) => ifname), ["lo", "eth0"], "no interface");
  const members = await hub.askJson<AgentPeerStatus[]>("peers");
  deepStrictEqual(members.map(({ name, online }) => [name, online]), [["a", true], ["b", true]]);
  match((await hub.ask("status")).stdout, /^Members: +2, 2 online$/m);
  // Discovery is answered by both ports without a member, too.
  await eventually("a knows its endpoint", async () => {
    const { endpoints } = await a.askJson<{ endpoints: string[] }>("status");
    return endpoints.some((endpoint) => endpoint.startsWith(`${a.host.ipv4}:`));
  });
});

Deno.test("plain HTTP is for a proxy on the same machine; every process says in JSON that it is up", async () => {
  const args = ["--http", "--listen", "127.0.0.1:8080", "--listen", "[::1]:8080"];
  await using mesh = await Mesh.create({ coordinatorArgs: args });
  const { host } = mesh.coordinator;
  const near = new Node(host, `${mesh.lab.folder}/near`, [
    ...["join", "--coordinator", "http://127.0.0.1:8080", "--token-file", mesh.tokenFile],
    ...["--name", "near", "--json"],
  ]);
  const [line] = await near.launch().shows(/^\{.*\}$/m);
  const up = JSON.parse(line);
  strictEqual(up.event, "joined");
  strictEqual(up.name, "near");
  await eventually("the hub sees it", async () => (await mesh.coordinator.peer("near")).online);
  const other = await mesh.lab.addHost("other");
  const refused = await tunnelmesh(other, [
    ...["join", "--coordinator", `http://${host.ipv4}:8080`, "--token-file", mesh.tokenFile],
    ...["--state", `${mesh.lab.folder}/other`],
  ]);
  strictEqual(refused.code, 1, "nothing listens outside of loopback");
});
