/**
 * Underlays of one family and of both: no IPv4 at all, and nodes that share no family.
 *
 * ```
 *   hub      four     six      dual, other
 *   v4 v6    v4       v6       v4 v6           one wire
 * ```
 *
 * @module
 */

import { deepStrictEqual, match, ok, strictEqual } from "node:assert/strict";
import { type Host, Lab, pings } from "../lab/namespaces.ts";
import { eventually } from "../lab/processes.ts";
import { Node } from "./mesh.ts";

/** Both data planes have a socket for each family. */
const PLANES = ["linux", "portable"] as const;

/** An agent that joins by a token file. */
function agent(lab: Lab, host: Host, url: string, plane: string): Node {
  return new Node(host, `${lab.folder}/${host.name}`, [
    ...["join", "--coordinator", url, "--token-file", `${lab.folder}/token`],
    ...["--name", host.name, "--data-plane", plane],
  ]);
}

/** Starts a coordinator and writes its token. */
async function coordinator(lab: Lab, host: Host, plane: string): Promise<Node> {
  const args = ["coordinator", "--name", "hub", "--data-plane", plane];
  const node = await new Node(host, `${lab.folder}/hub`, args).start();
  const { token } = await node.askJson<{ token: string }>("token", "show");
  await Deno.writeTextFile(`${lab.folder}/token`, `${token}\n`, { mode: 0o600 });
  return node;
}

/** Waits until a node reaches another one, in these inner families, by a path of this kind. */
async function reaches(
  from: Node,
  to: string,
  kind: string,
  remote: RegExp,
  families: readonly ("ipv4" | "ipv6")[] = ["ipv4", "ipv6"],
): Promise<void> {
  await eventually(`${from.host.name} knows ${to}`, async () => (await from.peer(to)).online);
  const { addresses } = await from.peer(to);
  for (const family of families) await pings(from.host, addresses[family]);
  await eventually(`${from.host.name} reaches ${to} by ${kind}, ${remote}`, async () => {
    await from.host.run(["ping", "-n", "-c", "1", "-W", "1", addresses.ipv4]);
    const { path } = await from.peer(to);
    return path.kind === kind && remote.test(path.remote ?? "");
  });
}

for (const plane of PLANES) {
  Deno.test(`a mesh lives on an underlay without IPv4, with the ${plane} data plane`, async () => {
    await using lab = await Lab.create();
    const only6 = { ipv4: false };
    const hub = await lab.addHost("hub", only6);
    const hosts = [await lab.addHost("a", only6), await lab.addHost("b", only6)];
    for (const host of [hub, ...hosts]) {
      const addresses = await host.must(["ip", "-4", "address", "show", "dev", "eth0"]);
      ok(!addresses.includes("inet "), addresses);
    }
    await coordinator(lab, hub, plane);
    const url = `https://[${hub.ipv6}]:8443`;
    const [a, b] = await Promise.all(hosts.map((host) => agent(lab, host, url, plane).start()));
    await reaches(a!, "b", "udp", /^\[fd77::3\]:\d+$/);
    await reaches(b!, "a", "udp", /^\[fd77::2\]:\d+$/);
    await reaches(a!, "hub", "udp", /^\[fd77::1\]:\d+$/);
    for (const node of [a!, b!]) {
      await eventually("the line is up", async () => (await node.glance()).coordinator.connected);
      const { endpoints, coordinator } = await node.status();
      strictEqual(coordinator.url, url);
      deepStrictEqual(endpoints.filter((text) => !text.startsWith("[")), [], "no IPv4 endpoint");
    }
  });
}

Deno.test("nodes of one family and of both reach each other", async () => {
  await using lab = await Lab.create();
  const hub = await lab.addHost("hub");
  const hosts = [
    await lab.addHost("four", { ipv6: false }),
    await lab.addHost("six", { ipv4: false }),
    await lab.addHost("dual"),
    await lab.addHost("other"),
  ];
  await coordinator(lab, hub, "linux");
  const [by4, by6] = [`https://${hub.ipv4}:8443`, `https://[${hub.ipv6}]:8443`];
  const ways = [[by4, "linux"], [by6, "linux"], [by4, "portable"], [by6, "linux"]] as const;
  const [four, six, dual] = await Promise.all(
    hosts.map((host, i) => agent(lab, host, ways[i]![0], ways[i]![1]).start()),
  );
  await reaches(six!, "dual", "udp", /^\[fd77::4\]:/);
  await reaches(dual!, "six", "udp", /^\[fd77::3\]:/);
  await reaches(dual!, "other", "udp", /:/);
  // A machine without IPv6 has none in the mesh either.
  await reaches(dual!, "four", "udp", /^198\.51\.100\.2:/, ["ipv4"]);
  await reaches(four!, "dual", "udp", /^198\.51\.100\.4:/, ["ipv4"]);
  // Nothing joins these two but the relay, which each of them reaches by its own family.
  await reaches(four!, "six", "relay", /^relay$/, ["ipv4"]);
  await reaches(six!, "four", "relay", /^relay$/, ["ipv4"]);
  match((await six!.glance()).endpoints.join(" "), /^\[fd77::3\]:\d+$/);
});
