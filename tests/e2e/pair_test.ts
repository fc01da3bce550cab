/**
 * Pairing: two machines meet for the first time, without a coordinator.
 *
 * ```
 *   left   right   mallory      one bridge
 * ```
 *
 * @module
 */

import { deepStrictEqual, match, ok, strictEqual } from "node:assert/strict";
import jsQr from "jsqr";
import { PNG } from "pngjs";
import { Buffer } from "node:buffer";
import type { CoordinatorToken } from "../../lib/coordinator/coordinator_options.ts";
import { type Host, Lab, pings } from "../lab/namespaces.ts";
import { eventually } from "../lab/processes.ts";
import { figure, IS_SOAK, Mesh, Node, tunnelmesh } from "./mesh.ts";
import { PAIR_PORT, type Paired, PairEnd } from "./pairs.ts";

Deno.test("pair: both confirm what both screens show, then up pings", async () => {
  await using lab = await Lab.create();
  const { left, right } = await describe(lab);
  await left.listen("--qr", `${lab.folder}/left.png`);
  const startedAt = performance.now();
  await right.start(at(left), "--qr", `${lab.folder}/right.png`);
  const [onLeft, onRight] = await Promise.all([left.met(), right.met()]);
  figure("start of pair to the question", performance.now() - startedAt, "ms");

  // Each screen shows the other one: as every other command shows that one itself.
  strictEqual(onLeft.name, "right");
  strictEqual(onRight.name, "left");
  strictEqual(await decodeQr(`${lab.folder}/left.png`), onLeft.qr);
  strictEqual(await decodeQr(`${lab.folder}/right.png`), onRight.qr);
  ok(onLeft.qr.includes(onLeft.nodeId) && onRight.qr.includes(onRight.nodeId));
  deepStrictEqual(await left.files(), KEYS, "nothing is kept before both have said yes");

  await left.type("y");
  await right.type("yes");
  const [leftEnd, rightEnd] = await Promise.all([left.paired(), right.paired()]);
  ok(leftEnd.isMutual && rightEnd.isMutual);
  deepStrictEqual(await left.pins(), [`right verified ${onLeft.nodeId}`]);
  deepStrictEqual(await right.pins(), [`left verified ${onRight.nodeId}`]);
  for (const end of [left, right]) {
    const own = JSON.parse(
      (await tunnelmesh(end.host, [
        ...["init", "--json", "--state", end.state],
      ])).stdout,
    ) as { nodeId: string };
    strictEqual(own.nodeId, end === left ? onRight.nodeId : onLeft.nodeId);
    const { mode } = await Deno.stat(end === left ? leftEnd.file! : rightEnd.file!);
    strictEqual(mode! & 0o777, 0o600);
  }

  const nodes = [left, right].map((end) => {
    const file = end === left ? leftEnd.file! : rightEnd.file!;
    return { end, node: new Node(end.host, end.state, ["up", "--config", file]), file };
  });
  for (const { node } of nodes) {
    node.launch();
    await node.process!.shows(/^Up as /m);
  }
  for (const { end, file } of nodes) {
    const text = await Deno.readTextFile(file);
    const [, ipv4, ipv6] = /allowedIps: \[([\d.]+)\/32, ([\w:]+)\/128\]/.exec(text)!;
    await pings(end.host, ipv4!);
    await pings(end.host, ipv6!);
  }
});

Deno.test("pair: one scans the other screen, the other one answers", async () => {
  await using lab = await Lab.create();
  const { left, right } = await describe(lab);
  const png = `${lab.folder}/left.png`;
  await left.listen("--qr", png);
  await right.start(at(left));
  const [onLeft] = await Promise.all([left.met(), right.met()]);
  const own = await left.scan(onLeft.qr);
  strictEqual(own.code, 2);
  match(own.stderr, /^tunnelmesh: .* this machine's own screen; scan the other one\n$/);
  const scanned = await right.scan(await decodeQr(png));
  strictEqual(scanned.code, 0, scanned.stderr);
  match(scanned.stdout, /^It is left: confirmed here/);
  strictEqual(left.process.code, undefined, "left has been asked, and has not answered");
  await left.type("y");
  await Promise.all([left.paired(), right.paired()]);
  const late = await right.scan(await decodeQr(png));
  strictEqual(late.code, 3);
  match(late.stderr, /^tunnelmesh: Cannot check what was scanned: no pairing waits for it here;/);
});

Deno.test("pair: what was scanned is typed at the question; a fingerprint is known beforehand", async () => {
  await using lab = await Lab.create();
  const { left, right } = await describe(lab);
  const { stdout } = await tunnelmesh(left.host, ["init", "--json", "--state", left.state]);
  const known = JSON.parse(stdout) as { fingerprint: { words: string } };
  await left.listen();
  await right.start(at(left), "--expect", known.fingerprint.words, "--yes");
  const onLeft = await left.met();
  await right.process.shows(/"event":"met"/);
  const { qr } = JSON.parse(/^.*"event":"met".*$/m.exec(right.process.stdout)![0]) as {
    qr: string;
  };
  await left.type("tunnelmesh:0123");
  await left.process.shows(/That is no whole fingerprint/);
  await left.type(qr);
  await Promise.all([left.paired(), right.paired()]);
  deepStrictEqual(await left.pins(), [`right verified ${onLeft.nodeId}`]);
});

Deno.test("pair: a no at either end keeps nothing at both", async () => {
  // A stop at the dialling end is told in the same way; see below.
  for (const refuser of IS_SOAK ? ["left", "right"] as const : ["left"] as const) {
    await using lab = await Lab.create();
    const ends = await describe(lab);
    const { left, right } = ends;
    await left.listen("--qr", `${lab.folder}/left.png`);
    await right.start(at(left));
    await Promise.all([left.met(), right.met()]);
    const other = refuser === "left" ? right : left;
    await other.type("y");
    await ends[refuser].type("n");
    strictEqual(await right.process.ended, 4);
    const [own, others] = [
      /it was not confirmed; nothing was kept/,
      /other side refused or stopped/,
    ];
    match(right.process.stderr, refuser === "right" ? own : others);
    await left.listensOn(refuser === "left" ? own : others);
    await nothingIsLeft(lab, left, right);
  }
});

Deno.test("pair: somebody in between is found out by a scan, and nothing is kept", async () => {
  await using lab = await Lab.create();
  const { left, right, mallory } = await describe(lab);
  const second = new PairEnd(mallory.host, `${lab.folder}/second`);
  await Deno.mkdir(`${lab.folder}/second`);
  await left.listen();
  // Right believes that it dials left; both handshakes are of mallory.
  await mallory.listen();
  await right.start(at(mallory));
  await second.start(at(left));
  const [onLeft, onRight] = await Promise.all([left.met(), right.met()]);
  await Promise.all([mallory.met(), second.met()]);
  await mallory.type("y");
  await second.type("y");
  const scanned = await right.scan(onLeft.qr);
  strictEqual(scanned.code, 4);
  match(scanned.stderr, /^tunnelmesh: Cannot confirm .* somebody may be in between; .*\n$/);
  strictEqual(await right.process.ended, 4);
  await left.type(onRight.qr);
  strictEqual(await left.process.ended, 4);
  match(left.process.stderr, /what was scanned is of another machine, somebody may be in between/);
  strictEqual(await second.process.ended, 4);
  await mallory.listensOn(/other side refused or stopped/);
  await nothingIsLeft(lab, left, right, mallory, second);
});

Deno.test("pair: other partitions and profiles do not meet", async () => {
  await using lab = await Lab.create();
  const { left, right } = await describe(lab);
  await left.listen("--prologue", "hoppr-mesh/1");
  await right.start(at(left));
  strictEqual(await right.process.ended, 4);
  match(right.process.stderr, /^tunnelmesh: Cannot pair with .* same --prologue, .*\n$/);
  await right.start(at(left), "--timeout", "3", "--interop");
  strictEqual(await right.process.ended, 2);
  match(right.process.stderr, /--interop is for loopback and local networks/);
  for (const [host, address] of [[left.host, "10.99.0.1"], [right.host, "10.99.0.2"]] as const) {
    await host.must(["ip", "address", "add", `${address}/24`, "dev", "eth0"]);
  }
  await right.start(`10.99.0.1:${PAIR_PORT}`, "--timeout", "2", "--interop");
  strictEqual(await right.process.ended, 1);
  match(right.process.stderr, /^tunnelmesh: Cannot pair with .*: no answer; .* --interop .*\n$/);
  await right.start(at(left), "--prologue", "hoppr-mesh/1");
  strictEqual((await left.met()).name, "right", "those who say the same meet");
  await right.type("n");
  await right.process.ended;
  await left.listensOn(/other side refused or stopped/);
  await left.listen("--interop");
  await right.start(`10.99.0.1:${PAIR_PORT}`, "--interop");
  await Promise.all([left.met(), right.met()]);
  await Promise.all([left.type("y"), right.type("y")]);
  await Promise.all([left.paired(), right.paired()]);
});

Deno.test("pair: Ctrl-C leaves nothing, at whatever time, and tells the other one", async () => {
  await using lab = await Lab.create();
  const { left, right } = await describe(lab);
  await left.listen();
  left.process.signal("SIGINT");
  strictEqual(await left.process.ended, 1);
  match(left.process.stderr, /^tunnelmesh: Cannot pair: stopped\n$/);
  strictEqual(await left.files(), undefined);
  await left.listen("--qr", `${lab.folder}/left.png`);
  await right.start(at(left));
  await Promise.all([left.met(), right.met()]);
  await left.type("y");
  right.process.signal("SIGINT");
  strictEqual(await right.process.ended, 1);
  await left.listensOn(/other side refused or stopped/);
  await nothingIsLeft(lab, left, right);
});

Deno.test("pair: who comes first and is not the right one keeps nobody else from coming", async () => {
  await using lab = await Lab.create();
  const { left, right, mallory } = await describe(lab);
  const png = `${lab.folder}/left.png`;
  await left.listen("--qr", png);
  await mallory.start(at(left));
  const [stranger] = await Promise.all([left.met(), mallory.met()]);
  await right.start(at(left)); // there is no place for it as yet
  await mallory.type("y");
  await left.type("n");
  strictEqual(await mallory.process.ended, 4);
  match(mallory.process.stderr, /the other side refused or stopped; nothing was kept/);
  deepStrictEqual(await mallory.files(), undefined);
  let asked = 2;
  let { met, yes } = await left.question(asked);
  if (IS_SOAK) {
    // Killed, it cannot say that it goes.
    await right.process.kill();
    await left.process.shows(/nothing comes from the other machine any more; this side listens on/);
    await right.start(at(left));
    ({ met, yes } = await left.question(++asked));
  }

  // What says yes to this one is no y: that may have been on its way to the question before.
  await right.met();
  await right.type("y");
  ok(met.nodeId !== stranger.nodeId);
  deepStrictEqual([stranger.name, met.name], ["mallory", "right"]);
  strictEqual(await decodeQr(png), met.qr, "of the one that is there");
  match(yes, /^\d{4}$/);
  await left.type("y");
  await left.process.shows(/meant for the machine before; for this one type \d{4}$/m);
  deepStrictEqual(await left.files(), KEYS, "nothing is kept for an answer to another question");
  await left.type(yes);
  await Promise.all([left.paired(), right.paired()]);
  deepStrictEqual(await left.pins(), [`right verified ${met.nodeId}`]);
});

Deno.test("pair: a fingerprint known beforehand lets strangers pass by, and takes the right one", async () => {
  await using lab = await Lab.create();
  const { left, right, mallory } = await describe(lab);
  const { stdout } = await tunnelmesh(right.host, ["init", "--json", "--state", right.state]);
  const { fingerprint } = JSON.parse(stdout) as { fingerprint: { words: string } };
  await left.listen("--expect", fingerprint.words, "--yes");
  await mallory.start(at(left));
  strictEqual(await mallory.process.ended, 4);
  await left.process.shows(/tunnelmesh: .* not the expected one, somebody may be .* listens on$/m);
  await right.start(at(left));
  await right.met();
  await right.type("y");
  await Promise.all([left.paired(), right.paired()]);
  strictEqual((await left.pins()).length, 1);
});

Deno.test("pair: what cannot be is told in one line", async () => {
  await using lab = await Lab.create();
  const { left, right } = await describe(lab);
  await left.listen();
  const ask = (host: Host, ...args: string[]) =>
    tunnelmesh(host, ["pair", "--state", right.state, "--name", "right", ...args]);
  const there = `${lab.folder}/there.png`;
  await Deno.writeTextFile(there, "");
  /** Flags, exit code, what it says. */
  const rows: [host: Host, flags: string[], code: number, says: RegExp][] = [
    [left.host, ["--listen"], 1, /UDP port 51820: another process has it; choose another by/],
    [left.host, ["--listen", "--state", left.state], 1, /another tunnelmesh process runs on it/],
    [right.host, [], 2, /say --listen on one machine/],
    [right.host, [at(left), "--listen"], 2, /say --listen on one machine/],
    [right.host, [at(left), "--yes"], 2, /give --expect FINGERPRINT/],
    [right.host, [at(left), "--interop", "--prologue", "x"], 2, /--interop has no prologue/],
    [right.host, [at(left), "--prologue", "a b"], 2, /printable ASCII/],
    [right.host, [at(left), "--range", "10.1.2.0/24"], 2, /the listening side chooses it/],
    [right.host, [at(left), "--invite"], 3, /neither a coordinator nor a member of a mesh runs/],
    [right.host, [at(left), "--expect", "tunnelmesh:00"], 2, /no whole fingerprint/],
    [right.host, [at(left), "--qr", there], 2, /it is there already/],
    [right.host, ["--listen", "left:0"], 2, /port 0/],
    [right.host, ["--listen", "left:1"], 2, /no address/],
    [right.host, ["nowhere.invalid:1"], 1, /no address/],
    [right.host, ["--scan", "tunnelmesh:00"], 3, /no pairing waits/],
    [left.host, [`127.0.0.1:${PAIR_PORT}`, "--state", left.state], 1, /another tunnelmesh process/],
  ];
  for (const [host, flags, code, says] of rows) {
    const { code: ended, stderr, stdout } = await ask(host, ...flags);
    match(stderr, /^tunnelmesh: Cannot .*\n$/, flags.join(" "));
    match(stderr, says, flags.join(" "));
    strictEqual(ended, code, `${flags.join(" ")}: ${stderr}${stdout}`);
    strictEqual(await right.files(), undefined, flags.join(" "));
  }
  strictEqual(left.process.code, undefined, "left waits on");
});

Deno.test("pair: a file or a pin in the way is told before anybody is asked", async () => {
  await using lab = await Lab.create();
  const { left, right } = await describe(lab);
  const meet = async () => {
    await left.listen();
    await right.start(at(left));
  };
  await meet();
  await Promise.all([left.met(), right.met()]);
  await Promise.all([left.type("y"), right.type("y")]);
  await Promise.all([left.paired(), right.paired()]);
  await meet();
  ok(await right.process.ended > 0);
  await left.listensOn(/right\.yaml" is there already; remove it, or .* --config/);
  // Another machine under a pinned name.
  await Deno.remove(right.state, { recursive: true });
  await Deno.remove(`${left.state}/right.yaml`);
  await meet();
  await right.process.ended;
  await left.listensOn(/that name is pinned to another key, .* peer forget right first/);
  strictEqual((await left.pins()).length, 1);
  strictEqual(await right.files(), undefined);
});

Deno.test("pair: a coordinator's machine invites the other one, which joins; both are pinned", async () => {
  await using mesh = await Mesh.create();
  const { lab, coordinator } = mesh;
  const host = await lab.addHost("laptop");
  const hub = new PairEnd(coordinator.host, lab.folder);
  const laptop = new PairEnd(host, lab.folder);
  strictEqual(hub.state, coordinator.state);
  await hub.listen("--invite");
  await laptop.start(`${coordinator.host.ipv4}:${PAIR_PORT}`);
  const [onHub, onLaptop] = await Promise.all([hub.met(), laptop.met()]);
  deepStrictEqual([onHub.outcome, onLaptop.outcome], ["we-invite", "they-invite"]);
  await Promise.all([hub.type("y"), laptop.type("y")]);
  const [, paired] = await Promise.all([hub.paired(), laptop.paired()]);
  ok(!laptop.process.stdout.includes("tm1_") && !hub.process.stdout.includes("tm1_"), "no token");
  const agent = await goOn(laptop, paired);
  await eventually("laptop sees hub online", async () => (await agent.peer("hub")).online);
  const hubsPins = JSON.parse(await Deno.readTextFile(`${hub.state}/member/pins.json`)) as {
    pins: { name: string; nodeId: string; state: string }[];
  };
  const pin = hubsPins.pins.find(({ name }) => name === "laptop");
  deepStrictEqual([pin?.nodeId, pin?.state], [onHub.nodeId, "verified"]);
  ok((await laptop.pins()).includes(`hub verified ${onLaptop.nodeId}`));
  const { nodeId } = await agent.glance();
  strictEqual(nodeId, onHub.nodeId);
  const [address] = Object.values((await agent.peer("hub")).addresses);
  await pings(host, address!);
});

Deno.test("pair: a member elsewhere invites, once the coordinator lets members; the other joins", async () => {
  await using mesh = await Mesh.create({ agents: ["member"] });
  const { lab, coordinator } = mesh;
  const member = mesh.agent("member");
  const screen = new PairEnd(member.host, lab.folder);
  strictEqual(screen.state, member.state);
  const invite = ["pair", "--listen", "--invite"];
  const refused = await member.ask(...invite);
  strictEqual(refused.code, 4, refused.stderr);
  match(refused.stderr, /^tunnelmesh: Cannot invite: .+ start it with --member-invites, .+\n$/);

  // One word to the coordinator; the member hears of it when it comes back.
  await coordinator.process!.stop();
  await coordinator.start("--member-invites");
  await mesh.settled();
  const laptop = new PairEnd(await lab.addHost("laptop"), lab.folder);
  await screen.listen("--invite");
  await laptop.start(`${member.host.ipv4}:${PAIR_PORT}`);
  const [onMember, onLaptop] = await Promise.all([screen.met(), laptop.met()]);
  deepStrictEqual([onMember.outcome, onLaptop.outcome], ["we-invite", "they-invite"]);
  await Promise.all([screen.type("y"), laptop.type("y")]);
  const [, paired] = await Promise.all([screen.paired(), laptop.paired()]);
  const said = [screen, laptop].map(({ process: { stdout, stderr } }) => stdout + stderr).join("");
  ok(!said.includes("tm1_"), "no token on any screen");
  ok(!member.process!.stderr.includes("tm1_") && !coordinator.process!.stderr.includes("tm1_"));
  const agent = await goOn(laptop, paired);
  for (const address of Object.values((await agent.peer("member")).addresses)) {
    await pings(laptop.host, address);
  }
  deepStrictEqual((await agent.peer("member")).trust, "verified");
  deepStrictEqual((await member.peer("laptop")).trust, "verified");
  deepStrictEqual((await member.peer("laptop")).nodeId, onMember.nodeId);

  const tokens = await coordinator.askJson<CoordinatorToken[]>("token", "list");
  deepStrictEqual(
    tokens.map(({ kind, state, name, askedBy, usedBy }) => [
      ...[kind, state, name, askedBy?.name, usedBy?.name],
    ]),
    [
      ["mesh", "active", undefined, undefined, undefined],
      ["invite", "spent", "laptop", "member", "laptop"],
    ],
  );
  const { createdAt, expiresAt } = tokens[1]!;
  strictEqual(Date.parse(expiresAt!) - Date.parse(createdAt), 600_000);

  // Whoever is out cannot ask any more; and only the owner of the socket ever could.
  strictEqual((await coordinator.ask("peer", "disable", "member")).code, 0);
  const isOut = async () => !(await member.glance()).coordinator.connected;
  await eventually("member is out", isOut);
  const late = await member.ask(...invite);
  strictEqual(late.code, 1, late.stderr);
  match(late.stderr, /^tunnelmesh: Cannot invite: the coordinator cannot be reached; .+\n$/);
  const { mode } = await Deno.stat(`${member.state}/agent.sock`);
  strictEqual(mode! & 0o777, 0o600);
});

/** Joins by what a pairing said, under the same name. */
function goOn(end: PairEnd, { command }: Paired): Promise<Node> {
  const args = command!.replace(/^sudo tunnelmesh /, "").split(" ");
  const agent = new Node(end.host, end.state, args.slice(0, args.indexOf("--state")), {});
  return agent.start("--name", end.host.name);
}

/** What is used of the package, which comes without types. */
interface PngReader {
  readonly sync: {
    read(file: Uint8Array): { data: Uint8Array; width: number; height: number };
  };
}

/** Files of a state folder that has an identity and nothing else. */
const KEYS = ["lock", "pair.sock", "ssh_key", "ssh_key.pub", "static.key", "static.salt"];

async function describe(lab: Lab): Promise<Record<"left" | "right" | "mallory", PairEnd>> {
  const end = async (name: string) => new PairEnd(await lab.addHost(name), lab.folder);
  return { left: await end("left"), right: await end("right"), mallory: await end("mallory") };
}

function at(end: PairEnd): string {
  return `${end.host.ipv4}:${PAIR_PORT}`;
}

async function nothingIsLeft(lab: Lab, ...ends: PairEnd[]): Promise<void> {
  for (const end of ends) strictEqual(await end.files(), undefined, end.host.name);
  for await (const { name } of Deno.readDir(lab.folder)) {
    ok(name.endsWith(".keyboard") || name === "second", `${name} is left`);
  }
}

/** Reads a QR code as a camera program does. */
async function decodeQr(file: string): Promise<string> {
  const png = PNG as PngReader;
  const { data, width, height } = png.sync.read(Buffer.from(await Deno.readFile(file)));
  const found = jsQr.default(Uint8ClampedArray.from(data), width, height);
  if (found === null) throw new Error(`No QR code in ${file}`);
  return found.data;
}
