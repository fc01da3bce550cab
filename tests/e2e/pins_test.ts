/**
 * Pins in a real mesh: whom a person verified, nobody else can pretend to be.
 *
 * ```
 *      hub 198.51.100.1, coordinator and member
 *   ───┬──────────┬──────────┬──────────┬───
 *      a          b          c          thief, joins as "b" once the coordinator removed b
 * ```
 *
 * @module
 */

import { deepStrictEqual, match, notStrictEqual, ok, strictEqual } from "node:assert/strict";
import { callControlSocket } from "../../lib/agent/control_socket.ts";
import type { AgentPeerStatus } from "../../lib/agent/status.ts";
import { fingerprintHex, fingerprintWords } from "../../lib/token/fingerprint.ts";
import { eventually } from "../lab/processes.ts";
import { COMMAND, ENVIRONMENT, Mesh, Node } from "./mesh.ts";

const ZEROS = "0".repeat(64);

/** What a node prints about itself, as the text of its QR code. */
async function codeOf(node: Node): Promise<string> {
  return (await node.askJson<{ text: string }>("peer", "show")).text;
}

/** Verifies a peer by what the peer itself shows. */
async function verify(node: Node, name: string, peer: Node): Promise<void> {
  const args = ["peer", "verify", name, "--scan", await codeOf(peer)];
  const { trust } = await node.askJson<{ trust: string }>(...args);
  strictEqual(trust, "verified");
}

/** Waits until a node says this of a peer. */
async function becomes(node: Node, name: string, want: Partial<AgentPeerStatus>): Promise<void> {
  await eventually(`${node.host.name} has ${name} as ${JSON.stringify(want)}`, async () => {
    const peer = (await node.glance()).peers.find((one) => one.name === name);
    return peer !== undefined &&
      Object.entries(want).every(([key, value]) => peer[key as keyof AgentPeerStatus] === value);
  });
}

/** Whether a peer answers a node's own ping, below IP. */
async function reaches(node: Node, peer: string, timeoutMs = 10_000): Promise<boolean> {
  const folder = node.args[0] === "coordinator" ? `${node.state}/member` : node.state;
  const asked = callControlSocket(folder, "agent.sock", "ping", { peer, timeoutMs });
  return await asked.then(() => true, () => false);
}

/** Waits until a peer answers such a ping. */
async function getsThrough(node: Node, peer: string): Promise<void> {
  await eventually(`${node.host.name} reaches ${peer}`, () => reaches(node, peer, 3_000), 40_000);
}

/** Runs a command on a terminal and types an answer. */
function onTerminal(node: Node, answer: string, ...args: string[]) {
  const words = [...COMMAND, ...args, "--state", node.state].map((word) => `'${word}'`).join(" ");
  const typing = `printf '%s\\n' '${answer}' | script -qefc "${words}" /dev/null`;
  return node.host.run(["sh", "-c", typing], { env: { ...ENVIRONMENT } });
}

Deno.test("nobody gets the name of a verified peer by another key (T35)", async () => {
  await using mesh = await Mesh.create({ agents: ["a", "b", "c"] });
  const [a, b, c] = ["a", "b", "c"].map((name) => mesh.agent(name)) as [Node, Node, Node];
  await getsThrough(a, "b");
  await getsThrough(c, "b");
  await becomes(a, "b", { trust: "seen" });
  await becomes(c, "b", { trust: "seen" });

  // What is scanned has to be the key that the mesh has under this name, whole.
  const { nodeId } = await b.status();
  for (
    const [scanned, code, says] of [
      [await codeOf(c), 1, /^tunnelmesh: Cannot verify "b": what was scanned is another key .+\n$/],
      [fingerprintWords(ZEROS), 1, /another key/],
      [nodeId.slice(0, 32), 2, /^tunnelmesh: Cannot verify "b": the text is no whole .+\n$/],
      ["", 2, /no whole fingerprint/],
    ] as const
  ) {
    const refused = await a.ask("peer", "verify", "b", "--scan", scanned);
    strictEqual(refused.code, code, scanned);
    match(refused.stderr, says);
  }
  strictEqual((await a.peer("b")).trust, "seen");
  strictEqual((await a.ask("peer", "verify", "b")).code, 2, "nobody there to be asked");

  // By what b itself shows: the code here, words and digits for others, and by eye.
  await verify(a, "b", b);
  for (const scanned of [fingerprintWords(nodeId), fingerprintHex(nodeId)]) {
    strictEqual((await a.ask("peer", "verify", "b", "--scan", scanned)).code, 0, scanned);
  }
  notStrictEqual((await onTerminal(a, "no", "peer", "verify", "hub")).code, 0);
  notStrictEqual((await a.peer("hub")).trust, "verified");
  const shown = await onTerminal(a, "yes", "peer", "verify", "hub");
  strictEqual(shown.code, 0, shown.stdout);
  const hubId = (await mesh.coordinator.glance()).nodeId;
  ok(shown.stdout.includes(fingerprintWords(hubId).split(" ").slice(0, 6).join(" ")));
  strictEqual((await a.peer("hub")).trust, "verified");

  await a.process!.stop();
  await a.start();
  await becomes(a, "b", { trust: "verified" });
  await getsThrough(a, "b");
  const held = (await a.peer("b")).addresses;
  const { addresses: own } = await a.status();

  // Another machine, another key, the same name.
  strictEqual((await mesh.coordinator.ask("peer", "remove", "b")).code, 0);
  await b.process!.kill();
  const join = ["join", "--coordinator", mesh.url, "--token-file", mesh.tokenFile, "--name", "b"];
  const thief = new Node(await mesh.lab.addHost("thief"), `${mesh.lab.folder}/thief`, join);
  await thief.start();
  const { nodeId: thiefId, addresses } = await thief.status();
  await becomes(a, "b", { nodeId: thiefId, trust: "conflict" });
  await becomes(c, "b", { nodeId: thiefId, keyBefore: nodeId });
  // c knew nobody of that name for sure, but says so.
  await getsThrough(c, "b");
  match((await c.ask("status")).stdout, /^Note: +b has another key than before.*peer verify b/m);

  const refuses = async () => {
    const silent = [
      ...[held.ipv4, held.ipv6, addresses.ipv4, addresses.ipv6].map((to) => [a, to] as const),
      ...[own.ipv4, own.ipv6].map((to) => [thief, to] as const),
    ].map(async ([from, to]) => (await from.host.run(["ping", "-c1", "-W1", to])).code);
    deepStrictEqual(await Promise.all(silent), Array(6).fill(1));
    const { path, handshakes, refused } = await a.peer("b");
    deepStrictEqual([path.kind, handshakes], ["none", 0]);
    match(refused!, /not the one that "b" was verified with.*tunnelmesh peer forget b/);
    const { alarms, pinConflicts } = await a.glance();
    const [pinnedName, kind, name] = ["b", "key-changed", "b"];
    deepStrictEqual(alarms.map((alarm) => ({ ...alarm, since: "" })), [
      { kind, name, nodeId: thiefId, pinnedName, pinnedNodeId: nodeId, since: "" },
    ]);
    strictEqual(pinConflicts, 1);
    strictEqual(warningsOf(a), 1, "one event, one warning");
  };
  await refuses();
  strictEqual(await reaches(a, "b"), false);
  match((await a.ask("status")).stdout, /^Alarm: +b: its key is not the one/m);
  match((await a.ask("metrics")).stdout, /^tunnelmesh_pin_conflicts_total 1$/m);
  match((await a.ask("peers")).stdout, /^b .+ refused +conflict [^]+^b is refused: its key/m);

  // More of the roster is no news, nor does a restart pin anything else.
  strictEqual((await mesh.coordinator.ask("peer", "disable", "c")).code, 0);
  await eventually("a lost c", async () => (await a.glance()).peers.every((p) => p.name !== "c"));
  strictEqual((await mesh.coordinator.ask("peer", "enable", "c")).code, 0);
  await becomes(a, "c", { name: "c" });
  await refuses();
  await a.process!.stop();
  await a.start();
  await becomes(a, "b", { trust: "conflict" });
  await refuses();
  const pinned = await a.ask("peer", "verify", "b", "--scan", await codeOf(thief));
  strictEqual(pinned.code, 1);
  match(pinned.stderr, /^tunnelmesh: Cannot verify "b": the name is pinned to another key/);

  // Somebody says that the change is right.
  const silent = await a.ask("peer", "forget", "b");
  deepStrictEqual([silent.code, silent.stdout], [2, ""]);
  strictEqual((await onTerminal(a, "no", "peer", "forget", "b")).stdout.includes("Forgot"), false);
  strictEqual((await a.peer("b")).trust, "conflict");
  strictEqual((await a.ask("peer", "forget", "b", "--yes")).code, 0);
  await getsThrough(a, "b");
  await becomes(a, "b", { trust: "seen" });
  deepStrictEqual((await a.status()).alarms, []);
  await verify(a, "b", thief);
  deepStrictEqual((await a.status()).notes, []);
});

Deno.test("a node that trusts verified peers only has no session with any other", async () => {
  await using mesh = await Mesh.create({ agents: ["b"] });
  const [b, hub] = [mesh.agent("b"), mesh.coordinator];
  const a = mesh.describe("a", await mesh.lab.addHost("a"), ["--trust", "verified-only"]);
  await a.start();
  await becomes(a, "b", { online: true, trust: "new" });
  await becomes(b, "a", { online: true });
  const answered = (from: Node, to: string) => reaches(from, to, 1_000);
  const meet = (from: Node, to: Node) =>
    Promise.all([answered(from, to.host.name), answered(to, from.host.name)]);

  deepStrictEqual(await meet(a, b), [false, false]);
  strictEqual((await b.peer("a")).handshakes, 0, "not even a handshake");
  const { stderr } = await a.ask("ping", "b");
  match(stderr, /^tunnelmesh: Cannot ping "b": it is not verified, .+tunnelmesh peer verify\n$/);
  match(
    (await a.ask("peers")).stdout,
    /^b +.+ refused +new [^]+^b is refused: it is not verified/m,
  );
  match((await a.ask("status")).stdout, /^Trust: +verified-only$/m);
  strictEqual((await a.status()).pinConflicts, 0, "nothing to be alarmed about");

  await verify(a, "b", b);
  await getsThrough(a, "b");
  await getsThrough(b, "a");
  deepStrictEqual(await meet(a, hub), [false, false]);

  await a.process!.stop();
  await a.start();
  await getsThrough(a, "b");
  deepStrictEqual(await meet(a, hub), [false, false]);

  strictEqual((await a.ask("peer", "forget", "b", "--yes")).code, 0);
  strictEqual((await a.peer("b")).path.kind, "none", "at once");
  deepStrictEqual(await meet(a, b), [false, false]);

  // Without the pins, any key would do.
  await a.process!.stop();
  const damaged = '{ "version": 1, "pins": [';
  await Deno.writeTextFile(`${a.state}/pins.json`, damaged);
  const process = a.launch();
  strictEqual(await process.ended, 1);
  match(process.stderr, /^tunnelmesh: Cannot read ".+pins\.json": it is damaged; .+\n$/);
  strictEqual(await Deno.readTextFile(`${a.state}/pins.json`), damaged);
});

Deno.test("a coordinator's own member trusts verified peers only; the mesh does as before", async () => {
  const coordinatorArgs = ["--trust", "verified-only"];
  await using mesh = await Mesh.create({ agents: ["a", "b"], coordinatorArgs });
  const [a, b, hub] = [mesh.agent("a"), mesh.agent("b"), mesh.coordinator];
  await getsThrough(a, "b");
  const meetsHub = async (node: Node) => [
    await reaches(hub, node.host.name, 1_000),
    await reaches(node, "hub", 1_000),
  ];
  deepStrictEqual([await meetsHub(a), await meetsHub(b)], [[false, false], [false, false]]);
  strictEqual((await a.peer("hub")).handshakes, 0, "not even a handshake");
  match((await hub.ask("status")).stdout, /^Trust: +verified-only$/m);
  match((await hub.ask("peers")).stdout, /^b is refused: it is not verified/m);

  // Each command finds the member in the coordinator's folder, and has the key from it.
  const { nodeId } = await b.status();
  const shown = await hub.askJson<{ nodeId: string; trust: string }>("peer", "show", "b");
  deepStrictEqual([shown.nodeId, shown.trust], [nodeId, "new"]);
  strictEqual(await codeOf(hub), `tunnelmesh:${(await hub.glance()).nodeId}`);
  const other = await hub.ask("peer", "verify", "b", "--scan", await codeOf(a));
  match(other.stderr, /^tunnelmesh: Cannot verify "b": what was scanned is another key/);
  await verify(hub, "b", b);
  await getsThrough(hub, "b");
  await getsThrough(b, "hub");
  deepStrictEqual(await meetsHub(a), [false, false]);

  strictEqual((await hub.ask("peer", "forget", "b", "--yes")).code, 0);
  strictEqual((await hub.peer("b")).path.kind, "none", "at once");
  deepStrictEqual(await meetsHub(b), [false, false]);
});

/** How often a node's log warned of another key. */
function warningsOf(node: Node): number {
  return node.process!.stderr.match(/ warning .*Verified peer came with another key/g)?.length ?? 0;
}
