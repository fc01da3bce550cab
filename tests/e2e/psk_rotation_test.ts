/**
 * The mesh PSK is replaced under load: nobody notices, who is away meanwhile included.
 *
 * ```
 *   a ──┐ 1000 UDP datagrams a second         hub (coordinator and member)
 *       ├───────────────────────────> b
 *   c ──┘ the same; the coordinator is out of its reach during the first rotation
 * ```
 *
 * @module
 */

import { deepStrictEqual, match, ok, strictEqual } from "node:assert/strict";
import type { PskAnswer } from "../../lib/agent/coordinator_admin.ts";
import type { PskStatus } from "../../lib/coordinator/coordinator_options.ts";
import type { DropReason } from "../../lib/session/actions.ts";
import { watchStalls } from "../lab/machine.ts";
import { pings } from "../lab/namespaces.ts";
import { eventually, sleep } from "../lab/processes.ts";
import { kernelDrops, LOST_SHARE } from "./losses.ts";
import { figure, IS_SOAK, Mesh, type Node, testProgram } from "./mesh.ts";

const RATE = 1000;
/** How long it takes at the most, and in the long form at the least. */
const MAX_SECONDS = 240;
const MIN_SECONDS = IS_SOAK ? 60 : 0;
/** Sessions are renewed so often, so that each key that is in force is used. */
const REKEY_SECONDS = 2;
/** An initiator whose key the other end has given up tries the next one a second later. */
const REJECT_SECONDS = 20;
/** What a packet is lost by that waits for a session, or is sealed for one that is no more. */
const SESSION_DROPS: readonly DropReason[] = [
  "no-keypair",
  "expired-keypair",
  "queue-full",
  "unknown-index",
];

/** Share of the rate that a machine has to keep to, the start of the probes included. */
const RATE_SHARE = IS_SOAK ? 0.6 : 0.2;

/** So long nothing more must have arrived for all of it to be there. */
const QUIET_SECONDS = 3;

/** A machine that does not run a test for so long did not run the nodes either. */
const HALT_MS = 250;

/** UDP ports that a and c send to. */
const PORTS = [5001, 5002] as const;
/** Length of a probe's datagram; its last ones are shorter. */
const PROBE_LENGTH = 64;

Deno.test("the mesh PSK is replaced under load without a packet lost, for who is away too", async () => {
  const config = await Deno.makeTempFile({ suffix: ".yaml" });
  const limits = `rekeyAfterSeconds: ${REKEY_SECONDS}, rejectAfterSeconds: ${REJECT_SECONDS}`;
  await Deno.writeTextFile(config, `session: { ${limits} }\n`);
  await using mesh = await Mesh.create({
    agents: ["a", "b", "c"],
    coordinatorArgs: ["--config", config],
  });
  await Deno.remove(config);
  const [a, b, c] = ["a", "b", "c"].map((name) => mesh.agent(name)) as [Node, Node, Node];
  const hub = mesh.coordinator;
  const { ipv4 } = (await b.status()).addresses;
  const epoch = (await hub.askJson<PskStatus>("psk", "status")).current;

  // c comes back without its coordinator: it knows the key of today, and no other.
  strictEqual(await c.process!.stop(), 0);
  await c.host.must(["ip", "route", "add", "unreachable", `${hub.host.ipv4}/32`]);
  await c.start();
  for (const node of [a, c]) await pings(node.host, ipv4);
  const before = await Promise.all([a, c].map((node) => node.peer("b")));
  const dropsBefore = await sessionDrops([a, b, c]);
  const droppedBefore = await kernelDrops([a, b, c]);
  const arrivals = await watchArrivals(mesh, b);
  const stall = watchStalls();
  const queueFull = async () => (await b.glance()).drops["queue-full"] ?? 0;
  const queueFullBefore = await queueFull();
  const startedAt = performance.now();
  const probes = [a, c].map((node, i) => {
    const numbers = [PORTS[i], MAX_SECONDS, RATE].map(String);
    return node.host.start(testProgram("udp_probe", "send", ipv4, ...numbers));
  });

  const answer = await hub.askJson<PskAnswer>("psk", "rotate");
  deepStrictEqual([answer.changed, answer.current, answer.next], [true, epoch, epoch + 1]);
  await isInForce(hub, epoch + 1);
  strictEqual((await c.glance()).coordinator.connected, false, "c has not heard of it");
  await rekeyed([a, c]);
  await c.host.must(["ip", "route", "del", "unreachable", `${hub.host.ipv4}/32`]);
  await eventually("c is back", async () => (await c.glance()).coordinator.connected, 60_000);
  match((await hub.ask("psk", "rotate")).stdout, /^The key of epoch \d+ is announced and comes/);
  await isInForce(hub, epoch + 2);
  await rekeyed([a, c]);

  const leftMs = MIN_SECONDS * 1000 - (performance.now() - startedAt);
  if (leftMs > 0) await sleep(leftMs);
  for (const sender of probes) sender.signal("SIGINT");
  const sent = await Promise.all(probes.map(async (sender) => {
    strictEqual(await sender.ended, 0, sender.stderr);
    return Number(sender.stdout);
  }));
  const seconds = (performance.now() - startedAt) / 1000;
  const arrived = await arrivals.count();
  const overflowed = await kernelDrops([a, b, c]) - droppedBefore;
  const after = await Promise.all([a, c].map((node) => node.peer("b")));
  const dropsAfter = await sessionDrops([a, b, c]);
  // After a halt all comes at once, and more than may wait for a session that is not confirmed yet.
  const stallMs = stall();
  const isHalted = !IS_SOAK && stallMs > HALT_MS;
  const excused = isHalted ? await queueFull() - queueFullBefore : 0;
  let lost = 0;
  for (const [i, name] of ["a", "c"].entries()) {
    lost += sent[i]! - arrived[i]!;
    figure(`${name}'s datagrams lost over two rotations`, sent[i]! - arrived[i]!, `of ${sent[i]}`);
    figure(
      `${name}'s rekeys`,
      after[i]!.handshakes - before[i]!.handshakes,
      `in ${seconds.toFixed()} s`,
    );
    ok(sent[i]! > seconds * RATE * RATE_SHARE, `${sent[i]} sent`);
  }
  figure("of these by full queues of the kernel", overflowed, "packets");
  const allowed = LOST_SHARE * (sent[0]! + sent[1]!);
  figure("the machine did not run this test for", stallMs, "ms");
  const byMachine = overflowed + excused;
  ok(lost <= byMachine + allowed, `${lost} lost, ${byMachine} by a machine that is too slow`);
  const missed = dropsAfter - dropsBefore - excused;
  ok(missed <= allowed, `${missed} dropped for want of a session`);
});

/** Waits until all connected members have a key, and so use it. */
async function isInForce(hub: Node, epoch: number): Promise<void> {
  await eventually(`epoch ${epoch} is in force`, async () => {
    const status = await hub.askJson<PskStatus>("psk", "status");
    return status.current === epoch && status.previous === epoch - 1;
  }, 60_000);
}

/** Waits until nodes have made another session with b, twice: the first may have been under way. */
async function rekeyed(nodes: readonly Node[]): Promise<void> {
  for (const node of nodes) {
    const { handshakes } = await node.peer("b");
    await eventually(
      `${node.host.name} has rekeyed`,
      async () => (await node.peer("b")).handshakes >= handshakes + 2,
      60_000,
    );
  }
}

/** How often nodes lost a packet for want of a session. */
async function sessionDrops(nodes: readonly Node[]): Promise<number> {
  const counts = await Promise.all(nodes.map(async (node) => (await node.glance()).drops));
  return counts.flatMap((drops) => SESSION_DROPS.map((reason) => drops[reason] ?? 0))
    .reduce((sum, count) => sum + count, 0);
}

/** Writes down what comes out of a node's tunnel; `count` says how many came for each port. */
async function watchArrivals(
  { lab }: Mesh,
  { host }: Node,
): Promise<{ count: () => Promise<number[]> }> {
  const file = `${lab.folder}/arrivals.pcap`;
  const [first, last] = PORTS;
  // Nobody listens there: that is not to be answered.
  const input = "type filter hook input priority 0;";
  await host.must([
    "nft",
    `table inet quiet { chain in { ${input} udp dport ${first}-${last} drop; }; }`,
  ]);
  const process = host.start([
    ...["tcpdump", "-n", "-i", "tm0", "-s", "64", "-B", "65536", "-U", "-w", file],
    `udp dst portrange ${first}-${last}`,
  ]);
  await process.shows(/listening on/);
  const count = async () => {
    // What was sent last is still on its way; tcpdump, too, is not always run when it should be.
    for (let size = -1, quiet = 0; quiet < QUIET_SECONDS;) {
      await sleep(1000);
      const next = (await Deno.stat(file)).size;
      quiet = next === size ? quiet + 1 : 0;
      size = next;
    }
    process.signal("SIGINT");
    await process.ended;
    match(process.stderr, /^0 packets dropped by kernel$/m);
    return await Promise.all(PORTS.map(async (port) => {
      const lines = await host.must(["tcpdump", "-n", "-r", file, `udp dst port ${port}`]);
      // Several that came together are one packet, long as all of them.
      return [...lines.matchAll(/ UDP, length (\d+)/g)]
        .reduce((sum, [, length]) => sum + Math.floor(Number(length) / PROBE_LENGTH), 0);
    }));
  };
  return { count };
}
