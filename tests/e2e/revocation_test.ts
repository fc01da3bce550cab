/**
 * Members that are put out, and invites.
 *
 * ```
 *   hub (coordinator and member)   a   b   c      one bridge
 * ```
 *
 * @module
 */

import { deepStrictEqual, match, notStrictEqual, ok, strictEqual } from "node:assert/strict";
import { callControlSocket } from "../../lib/agent/control_socket.ts";
import type {
  CoordinatorPeer,
  CoordinatorToken,
} from "../../lib/coordinator/coordinator_options.ts";
import { type Host, pings } from "../lab/namespaces.ts";
import { type Background, eventually } from "../lab/processes.ts";
import { lossOf, LOST_SHARE } from "./losses.ts";
import { figure, IS_SOAK, Mesh, Node, tunnelmesh } from "./mesh.ts";

/** Pings in a second, of the flow that is cut. */
const RATE = 50;
/** How late what a node was about to write may come where other tests keep it from running. */
const LATE_MS = IS_SOAK ? 1 : 1_000;
const SSH_PORT = "2222";
const COORDINATOR_PORT = "8443";

/** Data plane => what becomes of who is disabled, until it is enabled. */
const FATES = { linux: "waits", portable: "starts again" } as const;

for (const plane of ["linux", "portable"] as const) {
  Deno.test(`who is disabled and ${FATES[plane]} is cut off by one push, and comes back as it was (${plane})`, async () => {
    await using mesh = await Mesh.create({
      agents: ["a", "b", "c"],
      agentArgs: ["--data-plane", plane],
    });
    const [a, b, c] = ["a", "b", "c"].map((name) => mesh.agent(name)) as [Node, Node, Node];
    const [ofA, ofB] = await Promise.all([a, b].map(async (one) => (await one.status()).addresses));
    strictEqual((await b.status()).dataPlane.kind, plane);
    const { nodeId } = await a.status();
    for (const [from, to] of [[a, b], [c, b], [b, a], [mesh.coordinator, a]] as const) {
      await pings(from.host, (await to.status()).addresses.ipv4);
    }

    const flow = pinging(c.host, ofB!.ipv4);
    const cut = pinging(a.host, ofB!.ipv4);
    const inside = await capture(b.host, "tm0", `src host ${ofA!.ipv4}`);
    const outside = await capture(b.host, "eth0", `udp and src host ${b.host.ipv4}`);
    await inside.shows(/ICMP/);
    const askedAt = Date.now();
    await change(mesh, "disable", "a");
    await eventually("b has heard", async () => !(await namesAt(b)).includes("a"));
    const heardAt = Date.now();
    for (const node of [c, mesh.coordinator]) {
      const what = `${node.host.name} has heard`;
      await eventually(what, async () => !(await namesAt(node)).includes("a"));
    }
    await a.process!.shows(/this node is disabled: whoever runs the coordinator can enable it/);
    const dead = await a.host.run(["ping", "-n", "-c", "10", "-i", "0.2", "-W", "1", ofB!.ipv4]);
    match(dead.stdout, / 0 received/);
    strictEqual((await b.host.run(["ping", "-n", "-c", "1", "-W", "1", ofA!.ipv4])).code, 1);
    const last = Math.max(...timesOf(inside, "ICMP"));
    ok(last <= heardAt + LATE_MS, "nothing more of a's came out of b's tunnel");
    const said = Math.max(...timesOf(outside, `> ${a.host.ipv4}.`));
    ok(said <= heardAt + LATE_MS, "nor was anything said to it");
    figure(`disabled to last packet delivered, ${plane}`, last - askedAt, "ms");
    for (const node of [b, c]) {
      await eventually(
        `${node.host.name} has forgotten it on disk`,
        async () => !(await Deno.readTextFile(`${node.state}/roster.json`)).includes(nodeId),
      );
    }
    await eventually("a's status says so", async () => {
      const notes = (await a.status()).notes.join();
      return /Cannot (stay in|come back to) the mesh: .* is disabled/.test(notes);
    });
    match((await mesh.coordinator.ask("peer", "list")).stdout, /^a .* disabled /m);

    await cut.kill();
    if (plane === "portable") await insist(a, ofB!.ipv4);
    await change(mesh, "enable", "a");
    if (plane === "portable") await a.start();
    const enabledAt = performance.now();
    await mesh.settled(3, 60_000);
    figure(`enabled to connected again, ${plane}`, performance.now() - enabledAt, "ms");
    deepStrictEqual((await a.status()).addresses, ofA);
    await pings(a.host, ofB!.ipv4);
    await pings(b.host, ofA!.ipv6);
    flow.signal("SIGINT");
    await flow.ended;
    const { lost, sent } = lossOf(flow);
    ok(
      sent > 0 && lost <= sent * LOST_SHARE,
      `c noticed nothing of all this: ${lost} of ${sent} lost`,
    );
  });
}

/** Neither another start nor a token helps who is disabled. */
async function insist(node: Node, peer: string): Promise<void> {
  strictEqual(await node.process!.stop(), 0);
  await node.start();
  await node.process!.shows(/Cannot come back to the mesh: this node is disabled/);
  strictEqual((await node.host.run(["ping", "-c", "2", "-W", "1", peer])).code, 1);
  strictEqual(await node.process!.stop(), 0);
  await Deno.remove(`${node.state}/membership.json`);
  const joining = node.launch();
  strictEqual(await joining.ended, 4);
  match(joining.stderr, /^tunnelmesh: Cannot join the mesh: this node is disabled: .*\n$/);
}

Deno.test("who is disabled is off SSH and relay at once, too", async () => {
  await using mesh = await Mesh.create();
  const b = mesh.describe("b", await mesh.lab.addHost("b"), ["--ssh-port", SSH_PORT]);
  const [a, c] = await Promise.all(
    ["a", "c"].map(async (name) => mesh.describe(name, await mesh.lab.addHost(name))),
  ) as [Node, Node];
  await Promise.all([a, b, c].map((node) => node.start()));
  await mesh.settled();
  const drop = "priority 0; meta l4proto udp drop;";
  await a.host.must([
    "nft",
    `table inet blocked { chain in { type filter hook input ${drop} };
      chain out { type filter hook output ${drop} }; }`,
  ]);
  const ways = [[b, "ssh"], [c, "relay"]] as const;
  for (const [to, kind] of ways) {
    await pings(a.host, (await to.status()).addresses.ipv4);
    await eventually(
      `a reaches ${to.host.name} by ${kind}`,
      async () => (await a.peer(to.host.name)).path.kind === kind,
    );
  }
  const ofA = [a.host.ipv4, a.host.ipv6];
  const connections = async (node: Node, port: string) =>
    (await node.host.must(["ss", "-Htn", "state", "established", "sport", "=", port]))
      .split("\n").filter((line) => ofA.some((one) => line.includes(one))).length;
  ok(await connections(b, SSH_PORT) >= 1);
  ok(await connections(mesh.coordinator, COORDINATOR_PORT) >= 2, "its line, and the relay's");

  await change(mesh, "disable", "a");
  await a.process!.shows(/this node is disabled/);
  await eventually(
    "its connections end",
    async () =>
      await connections(b, SSH_PORT) + await connections(mesh.coordinator, COORDINATOR_PORT) === 0,
  );
  for (const [to] of ways) {
    await eventually("it is heard", async () => !(await namesAt(to)).includes("a"));
    const { ipv4 } = (await to.status()).addresses;
    const { stdout } = await a.host.run(["ping", "-n", "-c", "2", "-W", "1", ipv4]);
    match(stdout, / 0 received/);
  }
  const [toB, toC] = await Promise.all([b, c].map(async (node) => (await node.status()).addresses));
  await pings(b.host, toC!.ipv4);
  await pings(c.host, toB!.ipv4);
});

Deno.test("who is removed stays out until a person starts it with a token", async () => {
  await using mesh = await Mesh.create({ agents: ["a", "b"] });
  const [a, b] = [mesh.agent("a"), mesh.agent("b")];
  const { addresses, nodeId } = await a.status();
  await pings(b.host, addresses.ipv4);
  const removed = await change(mesh, "remove", nodeId.slice(0, 12));
  deepStrictEqual([removed.name, removed.state, removed.online], ["a", "removed", false]);
  await a.process!.shows(/this node was removed from the mesh: join again with a token/);
  await eventually("b has heard", async () => !(await namesAt(b)).includes("a"));
  strictEqual((await b.host.run(["ping", "-c", "2", "-W", "1", addresses.ipv4])).code, 1);
  // It has a token that is good, and its next attempt is refused all the same.
  const members = await mesh.coordinator.askJson<CoordinatorPeer[]>("peer", "list");
  deepStrictEqual(members.map(({ name }) => name), ["hub", "b"]);
  strictEqual(await a.process!.stop(), 0);
  const bare = new Node(a.host, a.state, ["join"]);
  await bare.start();
  await bare.process!.shows(/Cannot come back to the mesh: this node was removed/);
  strictEqual(await bare.process!.stop(), 0);
  await a.start();
  await mesh.settled();
  deepStrictEqual((await a.status()).addresses, addresses);
  await pings(b.host, addresses.ipv4);
});

Deno.test("invites admit one node, in time, unless they are revoked; the list says what became of them", async () => {
  await using mesh = await Mesh.create();
  const hub = mesh.coordinator;
  const host = await mesh.lab.addHost("guest");
  let folders = 0;
  const joining = async (token: string, ...more: string[]) => {
    const file = `${mesh.lab.folder}/invite`;
    await Deno.writeTextFile(file, token, { mode: 0o600 });
    const state = `${mesh.lab.folder}/guest${folders++}`;
    return new Node(host, state, [
      ...["join", "--coordinator", mesh.url, "--token-file", file, "--udp-port", "0", ...more],
    ]);
  };
  const refused = async (token: string, reason: RegExp) => {
    const { state, args } = await joining(token);
    const { code, stderr } = await tunnelmesh(host, [...args, "--state", state]);
    strictEqual(code, 4, stderr);
    match(stderr, reason);
  };
  const invite = (...args: string[]) =>
    hub.askJson<CoordinatorToken & { token: string; joinCommand: string }>(
      ...["token", "invite", ...args],
    );

  const shown = await hub.ask("token", "invite", "--expires", "2h");
  match(
    shown.stdout,
    /^tm1_\S+\n\nInvite 2 admits one node until .*\n.*\n {2}sudo .* --token tm1_/,
  );
  strictEqual(shown.stderr, "");
  const used = await invite("--name", "desk", "--expires", "10m");
  ok(used.joinCommand.endsWith(`--token ${used.token}`));
  const desk = await (await joining(used.token)).start();
  strictEqual((await desk.status()).name, "desk");
  await refused(used.token, /the invite was used already: ask for another one\n$/);
  const [revoked, late] = [await invite(), await invite("--expires", "1s")];
  notStrictEqual(revoked.token, late.token);
  match((await hub.ask("token", "revoke", String(revoked.id))).stdout, /^Revoked invite 4\n$/);
  await refused(revoked.token, /the invite was revoked: ask for another one\n$/);
  await eventually("the last one has expired", async () => {
    const tokens = await hub.askJson<CoordinatorToken[]>("token", "list");
    return tokens.at(-1)!.state === "expired";
  });
  await refused(late.token, /the invite has expired: ask for another one\n$/);
  const tokens = await hub.askJson<CoordinatorToken[]>("token", "list");
  deepStrictEqual(tokens.map(({ id, kind, state, name }) => [id, kind, state, name]), [
    [1, "mesh", "active", undefined],
    [2, "invite", "active", undefined],
    [3, "invite", "spent", "desk"],
    [4, "invite", "revoked", undefined],
    [5, "invite", "expired", undefined],
  ]);
  const { nodeId } = await desk.status();
  deepStrictEqual(tokens[2]!.usedBy, { nodeId, name: "desk" });
  const list = await hub.ask("token", "list");
  match(list.stdout, /^ID {2}KIND .*\n 1 {2}mesh .*\n 2 {2}invite {2}active /);
  ok(!list.stdout.includes("tm1_") && !hub.process!.stderr.includes("tm1_"), "shown once");

  // What cannot be done says why in one line, and does nothing.
  const mistakes: [words: string[], code: number, message: RegExp][] = [
    [["peer", "disable", "dsek"], 1, /Cannot disable "dsek": .*did you mean "desk"\?/],
    [["peer", "enable", "nobody"], 1, /Cannot enable "nobody": no member/],
    [["peer", "remove", "hub"], 1, /Cannot remove "hub": it is the coordinator itself/],
    [["peer", "disable"], 2, /missing required argument 'peer'/],
    [["token", "revoke", "1"], 1, /Cannot revoke token 1: it is the mesh token; .*token rotate/],
    [["token", "revoke", "3"], 1, /Cannot revoke token 3: "desk" has used it; .*peer disable/],
    [["token", "revoke", "99"], 1, /Cannot revoke token 99: there is no such token/],
    [["token", "revoke", "x"], 2, /it is a number of the list/],
    [["token", "invite", "--expires", "never"], 2, /it is a time such as 90s, 15m, 1h or 7d/],
    [["token", "invite", "--name", "local host"], 1, /Cannot invite: the name is no valid name/],
  ];
  for (const [words, code, message] of mistakes) {
    const answer = await hub.ask(...words);
    strictEqual(answer.code, code, words.join(" "));
    match(answer.stderr, /^tunnelmesh: Cannot [^\n]*\n$/);
    match(answer.stderr, message);
  }
  strictEqual((await hub.askJson<CoordinatorToken[]>("token", "list")).length, 5);
  await pings(desk.host, (await hub.status()).addresses.ipv4);

  const dialogue: [verb: string, answer: RegExp][] = [
    ["disable", /^Disabled desk: .*\n {2}tunnelmesh peer enable desk\n$/],
    ["disable", /^desk is disabled already\n$/],
    ["enable", /^Enabled desk: it comes back as 100\.64\.0\.2, fd/],
    ["enable", /^desk is not disabled\n$/],
    ["remove", /^Removed desk: .*\n.*\n {2}tunnelmesh token rotate\n$/],
  ];
  for (const [verb, answer] of dialogue) {
    match((await hub.ask("peer", verb, "desk")).stdout, answer);
  }
  match((await hub.ask("peer", "enable", "desk")).stderr, /: it was removed; .* with a token\n$/);
});

/** Asks the coordinator without a process for the question. */
async function change(mesh: Mesh, verb: string, peer: string): Promise<CoordinatorPeer> {
  const { state } = mesh.coordinator;
  const method = `peer-${verb}`;
  return await callControlSocket(state, "coordinator.sock", method, { peer }) as CoordinatorPeer;
}

async function namesAt(node: Node): Promise<string[]> {
  return (await node.glance()).peers.map(({ name }) => name);
}

function pinging(host: Host, address: string): Background {
  return host.start(["ping", "-n", "-i", String(1 / RATE), address]);
}

/** Starts to show what passes, each line with milliseconds since 1970. */
async function capture(host: Host, device: string, what: string): Promise<Background> {
  const process = host.start(["tcpdump", "-n", "-l", "-tt", "-i", device, what]);
  await process.shows(/listening on/);
  return process;
}

/** When the packets of a capture passed whose lines say something, in milliseconds since 1970. */
function timesOf(process: Background, word: string): number[] {
  const lines = process.stdout.split("\n").filter((line) => line.includes(word));
  return lines.map((line) => Number(line.split(" ")[0]) * 1000);
}
