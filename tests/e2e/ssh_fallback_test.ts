/**
 * Nodes between which no UDP passes, and SSH does: by the built-in server, and by the system's.
 *
 * ```
 *   hub (coordinator)   a (UDP blocked, SSH server)   b      one bridge
 * ```
 *
 * @module
 */

import { deepStrictEqual, ok, strictEqual } from "node:assert/strict";
import { eventually } from "../lab/processes.ts";
import { pings } from "../lab/namespaces.ts";
import { figure, Mesh, type Node } from "./mesh.ts";
import { WITHOUT_PROFILE } from "./openssh.ts";

const PORT = "2222";

/** Lets no UDP in or out of a node's host. */
async function blockUdp(node: Node): Promise<void> {
  const rules = "table inet blocked {\n" +
    "chain in { type filter hook input priority 0; meta l4proto udp drop; }\n" +
    "chain out { type filter hook output priority 0; meta l4proto udp drop; }\n}";
  await node.host.must(["nft", rules]);
}

/** Waits until b reaches a by SSH, and says how long it took. */
async function reachesBySsh(mesh: Mesh): Promise<void> {
  const [a, b] = [mesh.agent("a"), mesh.agent("b")];
  const { ipv4 } = (await a.status()).addresses!;
  const start = performance.now();
  await pings(b.host, ipv4);
  figure("first ping where UDP is blocked", performance.now() - start, "ms");
  // The relay carries the first packets, until a handshake has come through by SSH.
  for (const [node, peer] of [[a, "b"], [b, "a"]] as const) {
    await eventually(
      `${peer} reached by SSH`,
      async () => (await node.peer(peer)).path?.kind === "ssh",
    );
  }
  figure("reached by SSH", performance.now() - start, "ms");
  strictEqual((await b.host.run(["ping", "-c", "20", "-i", "0.05", "-q", ipv4])).code, 0);
}

Deno.test("nodes without UDP reach each other by the built-in SSH server", async () => {
  await using mesh = await Mesh.create();
  const a = mesh.describe("a", await mesh.lab.addHost("a"), ["--ssh-port", PORT]);
  const b = mesh.describe("b", await mesh.lab.addHost("b"));
  await Promise.all([a.start(), b.start()]);
  await mesh.settled();
  await blockUdp(a);
  await reachesBySsh(mesh);

  const scan = await b.host.run([
    "ssh-keyscan",
    "-T",
    "30",
    "-p",
    PORT,
    "-t",
    "ed25519",
    a.host.ipv4,
  ]);
  const [, , shown = ""] = scan.stdout.trim().split(" ");
  ok(shown.length > 60, scan.stderr);
  const wanted = shown.replaceAll("+", "-").replaceAll("/", "_").replace(/=+$/, "");
  await eventually(
    `b has on disk what a shows: ${shown}`,
    async () => (await Deno.readTextFile(`${b.state}/roster.json`)).includes(wanted),
  );

  await a.process!.kill();
  await a.start();
  await mesh.settled();
  await reachesBySsh(mesh);
});

Deno.test("nodes without UDP reach each other by the system's SSH server, until that is undone", async () => {
  await using mesh = await Mesh.create({ agents: ["a", "b"] });
  const a = mesh.agent("a");
  const keys = `${mesh.lab.folder}/authorized_keys`;
  const mine = "# a line of mine, without end";
  await Deno.writeTextFile(keys, mine, { mode: 0o600 });
  await Deno.mkdir("/run/sshd", { recursive: true });
  a.host.start([
    ...["/usr/sbin/sshd", "-D", "-e", "-p", PORT, "-f", "/dev/null"],
    ...["-o", `AuthorizedKeysFile=${keys}`, "-o", "PidFile=none", "-o", "StrictModes=no"],
    ...["-o", "PermitRootLogin=yes", "-o", "UsePAM=no", "-o", `SetEnv=${WITHOUT_PROFILE}`],
  ]);
  const install = ["--authorized-keys", keys, "--port", PORT, "--user", "root"];
  await a.askJson("ssh-endpoint", "install", ...install);
  const text = await Deno.readTextFile(keys);
  ok(text.startsWith(`${mine}\n# tunnelmesh begin `));
  deepStrictEqual(text.match(/(?<=[^ ]{60} )\w+$/gm), ["hub", "b"], "the peers there are");
  await blockUdp(a);
  await reachesBySsh(mesh);

  await a.askJson("ssh-endpoint", "remove");
  strictEqual(await Deno.readTextFile(keys), mine);
  const left = [...Deno.readDirSync(a.state)].map(({ name }) => name);
  deepStrictEqual(left.filter((name) => name.startsWith("ssh_endpoint")), []);
  await eventually("b hears of it", async () => {
    const roster = JSON.parse(await Deno.readTextFile(`${mesh.agent("b").state}/roster.json`));
    const nodes: { name: string; ssh?: { endpoints: string[] } }[] = roster.roster.upserts;
    return nodes.find(({ name }) => name === "a")?.ssh?.endpoints.length === 0;
  });
});
