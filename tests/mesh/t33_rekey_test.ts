/**
 * T33 and T34 of docs/protocol.md §7 with whole nodes: rekeys under loss, reordering and crossing
 * lose nothing but what the network drops, and nothing on the wire ties two keypairs together.
 *
 * @module
 */

import { deepStrictEqual, ok, strictEqual } from "node:assert/strict";
import { lowerLimits } from "../../lib/session/limits.ts";
import { seededRandom } from "../fakes/random.ts";
import { isSoak } from "../fakes/soak.ts";
import { numbered, numberOf, recordedOf, type TestNode, twoNodes } from "./simulated_mesh.ts";

/** Rekeys every few seconds. */
const QUICK = lowerLimits({ rekeyAfterMs: 3_000 });
/** How many courses handshakes take that cross with lost and late messages. */
const SEEDS = isSoak() ? 2_000 : 40;
/** Length of a datagram of transport data with a numbered payload: an IPv4 packet of 32 bytes. */
const PAYLOAD_DATAGRAM = 32 + 32;

/** Loss of each kind of datagram, and how the links mix them up. */
const ROWS = [
  { why: "a good link", handshakeLoss: 0, dataLoss: 0, quality: {} },
  { why: "reordering", handshakeLoss: 0, dataLoss: 0, quality: { jitterMs: 40, reorder: 0.2 } },
  { why: "lost data", handshakeLoss: 0, dataLoss: 0.2, quality: { jitterMs: 10 } },
  { why: "lost handshakes", handshakeLoss: 0.4, dataLoss: 0, quality: { jitterMs: 10 } },
  {
    why: "all of it",
    handshakeLoss: 0.3,
    dataLoss: 0.2,
    quality: { jitterMs: 40, reorder: 0.2, duplicate: 0.2 },
  },
];

for (const { why, handshakeLoss, dataLoss, quality } of ROWS) {
  Deno.test(`T33: over 10 rekeys with ${why}, only dropped packets are missing`, async () => {
    const { mesh, clock, network, alice, bob } = twoNodes({ limits: QUICK, seed: 33, ...quality });
    const random = seededRandom(34);
    let dropped = 0;
    network.adversary = (flight) => {
      const isData = flight.datagram[0] === 5;
      if (random() >= (isData ? dataLoss : handshakeLoss)) return [flight];
      if (flight.datagram.length === PAYLOAD_DATAGRAM) dropped++;
      return [];
    };
    const count = 6_000;
    for (let i = 0; i < count; i++) {
      alice.send(bob, numbered(i));
      bob.send(alice, numbered(i));
      clock.advance(10);
    }
    network.adversary = undefined;
    clock.advance(5_000);
    ok(alice.statusOf(bob).handshakes > 10, `${alice.statusOf(bob).handshakes} handshakes`);
    const arrived = [alice, bob].map((node) => new Set(node.received.map(numberOf)).size);
    strictEqual(
      arrived[0]! + arrived[1]!,
      2 * count - dropped,
      "no packet lost that was not dropped",
    );
    strictEqual(alice.received.length + bob.received.length, 2 * count - dropped, "none twice");
    for (const node of [alice, bob]) {
      deepStrictEqual(node.drops()["queue-full"], undefined);
      deepStrictEqual(node.drops()["no-keypair"], undefined);
    }
    await mesh.close();
  });
}

Deno.test("T33: handshakes that cross at every offset lose nothing, and both ends agree", async () => {
  const { mesh, clock, alice, bob } = twoNodes({ delayMs: 30, seed: 1 });
  ok(alice.pingInner(bob) !== undefined);
  let sent = 0;
  const step = (ms: number) => {
    for (let i = 0; i < ms; i++) {
      alice.send(bob, numbered(sent));
      bob.send(alice, numbered(sent++));
      clock.advance(1);
    }
  };
  for (const [first, second] of [[alice, bob], [bob, alice]] as const) {
    for (let offset = 0; offset <= 90; offset += 6) {
      first.device.renewSessions();
      step(offset);
      second.device.renewSessions();
      step(200);
      agree(alice, bob, `offset ${offset} ms`);
    }
  }
  clock.advance(1_000);
  const all = Array.from({ length: sent }, (_, i) => i);
  deepStrictEqual(alice.received.map(numberOf), all);
  deepStrictEqual(bob.received.map(numberOf), all);
  await mesh.close();
});

Deno.test("T33: handshakes that cross with lost and late messages lose nothing", async () => {
  for (let seed = 1; seed <= SEEDS; seed++) {
    const { mesh, clock, network, alice, bob } = twoNodes({ delayMs: 20, jitterMs: 30, seed });
    const random = seededRandom(seed);
    network.adversary = (flight) => flight.datagram[0] === 5 || random() < 0.7 ? [flight] : [];
    for (let i = 0; i < 600; i++) {
      if (i % 100 === 50) alice.device.renewSessions();
      if (i % 100 === 50 + Math.floor(random() * 10)) bob.device.renewSessions();
      alice.send(bob, numbered(i));
      bob.send(alice, numbered(i));
      clock.advance(20);
    }
    clock.advance(10_000);
    const all = Array.from({ length: 600 }, (_, i) => i);
    for (const node of [alice, bob]) {
      deepStrictEqual(node.received.map(numberOf).sort((x, y) => x - y), all, `seed ${seed}`);
    }
    ok(alice.liveKeypairs(bob).length <= 4 && bob.liveKeypairs(alice).length <= 4);
    await mesh.close();
  }
});

Deno.test("T33: an initiation does not overtake the first data of the handshake before it", async () => {
  const { mesh, clock, network, alice, bob } = twoNodes({ delayMs: 20 });
  ok(alice.pingInner(bob) !== undefined);
  clock.advance(1_000);
  // Data takes 100 ms longer than handshakes do.
  network.adversary = (flight) => {
    if (flight.datagram[0] !== 5) return [flight];
    clock.schedule(clock.now() + 100, () => network.inject(flight));
    return [];
  };
  const before = alice.statusOf(bob).handshakes;
  alice.device.renewSessions();
  clock.advanceUntil(() => alice.statusOf(bob).handshakes > before, 100);
  alice.send(bob, numbered(1));
  alice.device.renewSessions(); // its network changed once more
  for (let i = 2; i <= 60; i++) {
    clock.advance(10);
    alice.send(bob, numbered(i));
  }
  clock.advance(1_000);
  deepStrictEqual(bob.received.map(numberOf), Array.from({ length: 60 }, (_, i) => i + 1));
  strictEqual(alice.statusOf(bob).handshakes, before + 2, "and the second one was not forgotten");
  await mesh.close();
});

Deno.test("T33: the first handshake crosses too, when both sides speak at once", async () => {
  for (let seed = 1; seed <= 50; seed++) {
    const { mesh, clock, alice, bob } = twoNodes({ delayMs: 10, jitterMs: 40, seed });
    alice.send(bob, numbered(1));
    bob.send(alice, numbered(2));
    clock.advance(500);
    deepStrictEqual(bob.received.map(numberOf), [1], `seed ${seed}`);
    deepStrictEqual(alice.received.map(numberOf), [2], `seed ${seed}`);
    ok(alice.pingInner(bob, 4, 200) !== undefined, "without a wait for any timer");
    ok(bob.pingInner(alice, 6, 200) !== undefined);
    await mesh.close();
  }
});

Deno.test("T34: no index, counter or ephemeral of one keypair shows in another", async () => {
  const { mesh, clock, alice, bob } = twoNodes({ limits: QUICK });
  ok(alice.pingInner(bob) !== undefined); // so that no handshake crosses another
  for (let i = 0; i < 4_000; i++) {
    alice.send(bob, numbered(i));
    bob.send(alice, numbered(i));
    clock.advance(10);
  }
  clock.advance(100);
  bob.send(alice, numbered(0)); // with the last keypair, whoever began it
  clock.advance(100);
  const hex = (bytes: Uint8Array) => bytes.toHex();
  const rekeys = alice.statusOf(bob).handshakes;
  ok(rekeys >= 10);
  const initiations = new Set(recordedOf(mesh, 1).map(({ datagram }) => hex(datagram)));
  const responses = new Set(recordedOf(mesh, 2).map(({ datagram }) => hex(datagram)));
  for (const [datagrams, ephemeralAt] of [[initiations, 8], [responses, 12]] as const) {
    strictEqual(datagrams.size, rekeys);
    const all = [...datagrams];
    const distinct = (from: number, to: number) =>
      new Set(all.map((datagram) => datagram.slice(2 * from, 2 * to))).size;
    strictEqual(distinct(4, 8), rekeys, "sender index");
    strictEqual(distinct(ephemeralAt, ephemeralAt + 32), rekeys, "ephemeral");
    strictEqual(distinct(ephemeralAt + 32, ephemeralAt + 48), rekeys, "sealed part");
  }
  const firstCounters = new Map<string, number>();
  for (const { datagram } of recordedOf(mesh, 5)) {
    const view = new DataView(datagram.buffer);
    const index = hex(datagram.subarray(4, 8));
    const counter = Number(view.getBigUint64(8, true));
    firstCounters.set(index, Math.min(counter, firstCounters.get(index) ?? Infinity));
  }
  strictEqual(firstCounters.size, 2 * rekeys, "one index per keypair and direction");
  deepStrictEqual(new Set(firstCounters.values()), new Set([0]), "and its counter starts over");
  const indices = [...firstCounters.keys()].map((index) => Number.parseInt(index, 16));
  const steps = new Set(indices.slice(1).map((index, i) => index - indices[i]!));
  strictEqual(steps.size, indices.length - 1, "indices follow no pattern");
  await mesh.close();
});

/** Both ends send with keypairs that the other end can open, and both with the same one. */
function agree(a: TestNode, b: TestNode, why: string): void {
  const mine = a.plane.inUse.get(b.nodeId)!;
  const theirs = b.plane.inUse.get(a.nodeId)!;
  strictEqual(mine.localIndex, theirs.remoteIndex, why);
  strictEqual(mine.remoteIndex, theirs.localIndex, why);
}
