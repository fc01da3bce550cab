/**
 * T22 to T24, T27, T31 and T32 of docs/protocol.md §7 with whole nodes: data replayed, altered and
 * made up, by strangers on the way and by members.
 *
 * @module
 */

import { deepStrictEqual, ok, strictEqual } from "node:assert/strict";
import { concatBytes } from "../../lib/base/bytes.ts";
import { udpPacket } from "../fakes/packets.ts";
import { seededBytes, seededRandom } from "../fakes/random.ts";
import { numbered, numberOf, recordedOf, spoofedEndpoint, twoNodes } from "./simulated_mesh.ts";

Deno.test("T22: doubled, reordered and replayed data is delivered exactly once", async () => {
  const quality = { duplicate: 0.3, reorder: 0.3, jitterMs: 10, seed: 5 };
  const { mesh, clock, network, alice, bob } = twoNodes(quality);
  const random = seededRandom(9);
  for (let i = 0; i < 1000; i++) {
    alice.send(bob, numbered(i));
    clock.advance(1);
    const { recorded } = network;
    network.inject(recorded[Math.floor(random() * recorded.length)]!);
  }
  clock.advance(100);
  const numbers = bob.received.map(numberOf).sort((x, y) => x - y);
  deepStrictEqual(numbers, Array.from({ length: 1000 }, (_, i) => i));
  for (const flight of recordedOf(mesh, 5)) network.inject(flight);
  clock.advance(100);
  strictEqual(bob.received.length, 1000);
  ok((bob.drops().replayed ?? 0) > 1000);
  await mesh.close();
});

Deno.test("T23: held back data is taken up to the edge of the window and not behind it", async () => {
  const { mesh, clock, network, alice, bob } = twoNodes();
  ok(alice.pingInner(bob) !== undefined);
  clock.advance(1_000); // alice has found out how much fits the path
  network.recorded.length = 0;
  network.adversary = () => [];
  for (let i = 0; i < 2; i++) alice.send(bob, numbered(i));
  const held = [...network.recorded];
  network.adversary = undefined;
  for (let i = 2; i <= 8192; i++) alice.send(bob, numbered(i));
  clock.advance(100);
  bob.received.length = 0;
  for (const flight of held) network.inject(flight);
  clock.advance(100);
  deepStrictEqual(bob.received.map(numberOf), [1]);
  strictEqual(bob.drops().replayed, 1);
  await mesh.close();
});

Deno.test("T24: a huge counter on a stolen datagram moves no window", async () => {
  const { mesh, clock, network, alice, bob } = twoNodes();
  ok(alice.pingInner(bob) !== undefined);
  const activity = { ...bob.plane.installed.at(-1)!.activity };
  const [stolen] = recordedOf(mesh, 5, alice);
  const counters = [100, 8192, 2 ** 20, 2 ** 32, 2 ** 49, 2 ** 50, 2 ** 53 - 1];
  for (const counter of counters) {
    const datagram = stolen!.datagram.slice();
    new DataView(datagram.buffer).setBigUint64(8, BigInt(counter), true);
    network.inject({ ...stolen!, datagram });
  }
  const datagram = stolen!.datagram.slice().fill(0xff, 8, 16);
  network.inject({ ...stolen!, datagram });
  clock.advance(10);
  deepStrictEqual(bob.plane.installed.at(-1)!.activity, activity);
  for (let i = 0; i < 3; i++) alice.send(bob, numbered(i));
  clock.advance(10);
  deepStrictEqual(bob.received.map(numberOf), [0, 1, 2]);
  await mesh.close();
});

Deno.test("T27: every length of every type, from a stranger and from the peer's place", async () => {
  const { mesh, clock, network, alice, bob } = twoNodes();
  ok(alice.pingInner(bob) !== undefined);
  clock.advance(1_000);
  const genuine = [1, 2, 5].map((type) => recordedOf(mesh, type)[0]!);
  const toBob = recordedOf(mesh, 1, alice)[0]!;
  const before = bob.statusOf(alice);
  const { opens } = bob.aeadCounts;
  network.recorded.length = 0;
  const bytes = seededBytes(27);
  for (let type = 0; type <= 7; type++) {
    for (let length = 0; length <= 2000; length++) {
      const datagram = bytes(Math.min(length, 40));
      const whole = concatBytes(datagram, new Uint8Array(length - datagram.length).fill(length));
      // Right in its first bytes, so that length and content are what is judged.
      if (length > 0) whole[0] = type;
      if (length > 3) whole.set(type === 5 ? [0, 0, 0] : [1, 1, 0], 1);
      if (type === 5 && length >= 8) whole.set(genuine[2]!.datagram.subarray(4, 8), 4);
      const from = length % 2 === 0 ? toBob.from : spoofedEndpoint(length);
      network.inject({ from, to: toBob.to, datagram: whole });
    }
    clock.advance(10);
  }
  for (const { datagram } of genuine) {
    for (let length = 0; length < datagram.length; length++) {
      network.inject({ ...toBob, datagram: datagram.slice(0, length) });
    }
    for (const extra of [1, 16, 1000, 60_000, 70_000]) {
      network.inject({ ...toBob, datagram: concatBytes(datagram, new Uint8Array(extra)) });
    }
  }
  // For a known index, with a counter of its own, and longer than anything can be opened into.
  const huge = concatBytes(genuine[2]!.datagram, new Uint8Array(70_000));
  huge[9] = 1;
  network.inject({ ...toBob, datagram: huge });
  clock.advance(10);
  deepStrictEqual(bob.received, []);
  const sent = network.recorded.filter(({ datagram }) => datagram[0] !== 1);
  deepStrictEqual(sent, [], "no answer to any of it");
  deepStrictEqual(bob.statusOf(alice), before);
  ok(bob.aeadCounts.opens - opens < 2_100, "only data for a known index from its path was opened");
  ok(alice.pingInner(bob) !== undefined, "the session lives");
  await mesh.close();
});

for (const type of [1, 2, 5]) {
  Deno.test(`T31: no flipped bit of a datagram of type ${type} makes a session or a delivery`, async () => {
    const { mesh, clock, network, alice, bob } = twoNodes();
    if (type === 5) ok(alice.pingInner(bob) !== undefined);
    clock.advance(10);
    let isFirst = true;
    network.adversary = (flight) => {
      if (flight.datagram[0] !== type) return [flight];
      if (!isFirst) return [];
      isFirst = false;
      // mac2 is covered by nothing until a cookie was asked for, so it is left alone
      const bits = (flight.datagram.length - (type === 5 ? 0 : 16)) * 8;
      for (let bit = 0; bit < bits; bit++) {
        const datagram = flight.datagram.slice();
        datagram[bit >> 3]! ^= 1 << (bit & 7);
        network.inject({ ...flight, datagram });
      }
      clock.schedule(clock.now() + 500, () => network.inject(flight));
      return [];
    };
    alice.send(bob, numbered(1));
    const installed = alice.plane.installed.length;
    clock.advance(400);
    network.adversary = undefined;
    deepStrictEqual(bob.received, []);
    strictEqual(alice.plane.installed.length, installed, "no session from an altered message");
    clock.advance(200);
    deepStrictEqual(bob.received.map(numberOf), [1], "the genuine one still works");
    await mesh.close();
  });
}

Deno.test("T32: control and keepalives in plain, or under a wrong key, change nothing", async () => {
  const { mesh, clock, network, alice, bob } = twoNodes();
  ok(alice.pingInner(bob) !== undefined);
  clock.advance(10);
  const [flight] = recordedOf(mesh, 5, alice);
  const before = bob.statusOf(alice);
  const activity = { ...bob.plane.installed.at(-1)!.activity };
  network.recorded.length = 0;
  const header = flight!.datagram.slice(0, 16).fill(0xee, 8, 10);
  const plaintexts = [[], [0, 4], [0, 1, ...new Uint8Array(8)], [0, 2, ...new Uint8Array(10)]];
  for (const plaintext of plaintexts) {
    const plain = Uint8Array.from(plaintext);
    network.inject({ ...flight!, datagram: plain });
    network.inject({ ...flight!, datagram: concatBytes(header, plain) });
    network.inject({ ...flight!, datagram: concatBytes(header, plain, new Uint8Array(16)) });
  }
  // What a WireGuard keepalive or reset would look like.
  network.inject({ ...flight!, datagram: Uint8Array.from([4, 0, 0, 0, ...new Uint8Array(28)]) });
  clock.advance(50);
  deepStrictEqual(network.recorded, [], "nothing is answered");
  deepStrictEqual(bob.statusOf(alice), before);
  deepStrictEqual(bob.plane.installed.at(-1)!.activity, activity);
  await mesh.close();
});

Deno.test("T32: of all first bytes a member may seal, only packets are delivered", async () => {
  const { mesh, clock, alice, bob } = twoNodes();
  ok(alice.pingInner(bob) !== undefined);
  const packet = udpPacket({
    source: alice.inner[4],
    destination: bob.inner[4],
    payload: numbered(1),
  });
  const { rxPackets } = bob.statusOf(alice);
  for (let first = 0; first < 256; first++) {
    const plaintext = packet.slice();
    plaintext[0] = first;
    alice.sealAnything(bob, plaintext);
    alice.sealAnything(bob, Uint8Array.of(first));
    alice.sealAnything(bob, Uint8Array.of(first, first, 7));
  }
  clock.advance(50);
  // Of 32 bytes, an IPv4 header may have 20, 24, 28 or 32; a UDP header is whole after 20 or 24.
  const delivered = bob.statusOf(alice).rxPackets - rxPackets;
  strictEqual(delivered, 6, "0x45 to 0x48, and 0xc5 and 0xc6 with their bit cleared");
  strictEqual(bob.received.length, 6);
  const fragment = packet.slice();
  fragment[6] = 0x20;
  fragment[0]! |= 0x80;
  alice.sealAnything(bob, fragment);
  clock.advance(50);
  strictEqual(bob.received.length, 6, "a fragment may not have a partial checksum");
  ok(alice.pingInner(bob) !== undefined, "and the session goes on");
  await mesh.close();
});

Deno.test("T32: a member's bye ends its own session only, and it may come back", async () => {
  const { mesh, clock, alice, bob } = twoNodes();
  ok(alice.pingInner(bob) !== undefined);
  alice.sealAnything(bob, Uint8Array.of(0, 4));
  clock.advance(10);
  strictEqual(bob.statusOf(alice).path, undefined);
  ok(bob.pingInner(alice) !== undefined);
  await mesh.close();
});
