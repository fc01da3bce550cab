/**
 * T9 to T14 of docs/protocol.md §7 with whole nodes: forged copies of handshake datagrams,
 * reflection, wrong keys of every kind, and peers that are not known.
 *
 * @module
 */

import { deepStrictEqual, ok, strictEqual, throws } from "node:assert/strict";
import { sha256 } from "../../lib/crypto/hash.ts";
import { keyedBlake2s } from "../../lib/crypto/keyed_blake2s.ts";
import { concatBytes, utf8 } from "../../lib/base/bytes.ts";
import { type EpochPsk, PskRing } from "../../lib/session/psk_ring.ts";
import { STRANGER_HANDSHAKES } from "../../lib/session/limits.ts";
import type { Flight } from "../fakes/network.ts";
import {
  numbered,
  numberOf,
  PORT,
  recordedOf,
  spoofedEndpoint,
  TestMesh,
  type TestNode,
  twoNodes,
} from "./simulated_mesh.ts";

/** Byte ranges of the two handshake datagrams of the mesh profile that a forger may change. */
const FORGERIES: [what: string, type: 1 | 2, change: (datagram: Uint8Array) => Uint8Array][] = [
  ["sender index", 1, flip(4)],
  ["ephemeral", 1, flip(8)],
  ["sealed static key", 1, flip(45)],
  ["sealed payload", 1, flip(100)],
  ["profile", 1, set(2, 2)],
  ["version", 1, set(1, 2)],
  ["end cut off", 1, (datagram) => datagram.slice(0, -1)],
  ["byte appended", 1, (datagram) => concatBytes(datagram, Uint8Array.of(0))],
  ["sender index", 2, flip(4)],
  ["ephemeral", 2, flip(12)],
  ["sealed payload", 2, flip(45)],
  ["end cut off", 2, (datagram) => datagram.slice(0, -1)],
];

for (const withMac1 of [false, true]) {
  for (const [what, type, change] of FORGERIES) {
    const name = `${what} of message ${type}${withMac1 ? ", MAC1 recomputed" : ""}`;
    Deno.test(`T9: a forged copy (${name}) comes first, and the real one completes`, async () => {
      const { mesh, clock, network, alice, bob } = twoNodes();
      const receiver = type === 1 ? bob : alice;
      network.adversary = (flight) => {
        if (flight.datagram[0] !== type) return [flight];
        const forged = change(flight.datagram.slice());
        if (withMac1) writeMac1(forged, receiver);
        network.inject({ ...flight, datagram: forged });
        clock.schedule(clock.now() + 8, () => network.inject(flight));
        clock.schedule(clock.now() + 9, () => network.inject(flight)); // doubled
        return [];
      };
      alice.send(bob, numbered(1));
      clock.advance(100);
      deepStrictEqual(bob.received.map(numberOf), [1]);
      strictEqual(alice.statusOf(bob).handshakes, 1);
      strictEqual(bob.statusOf(alice).handshakes, 1);
      strictEqual(recordedOf(mesh, 1, alice).length, 2, "one initiation, to both addresses");
      await mesh.close();
    });
  }
}

Deno.test("T10: what a node sent comes back to it, from the peer's address: no session", async () => {
  const { mesh, clock, network, alice, bob } = twoNodes();
  network.adversary = (flight) => {
    network.inject({ ...flight, from: flight.to, to: flight.from });
    return [];
  };
  alice.send(bob, numbered(1));
  bob.send(alice, numbered(1));
  clock.advance(30_000);
  for (const [node, peer] of [[alice, bob], [bob, alice]] as const) {
    deepStrictEqual(node.received, []);
    deepStrictEqual(node.plane.installed, []);
    strictEqual(node.statusOf(peer).handshakes, 0);
  }
  network.adversary = (flight) => {
    network.inject({ ...flight, from: flight.to, to: flight.from });
    return [flight];
  };
  clock.advance(100_000);
  ok(alice.pingInner(bob) !== undefined, "reflection beside the real traffic disturbs nothing");
  const received = alice.received.length;
  alice.send(bob, numbered(2));
  clock.advance(100);
  strictEqual(alice.received.length, received, "reflected data is not delivered");
  await mesh.close();
});

Deno.test("T10: a node that is told its own endpoint and key as a peer's has no session", async () => {
  const { mesh, clock, alice, bob } = twoNodes();
  throws(() => alice.device.upsertPeer(alice.asPeer({ allowedIps: [] })), RangeError);
  alice.device.setPeers([bob.asPeer({ candidates: [alice.host.endpoint(PORT)] })]);
  alice.send(bob, numbered(1));
  clock.advance(10_000);
  deepStrictEqual(alice.plane.installed, []);
  deepStrictEqual(alice.received, []);
  deepStrictEqual(Object.keys(alice.drops()), ["bad-mac1"]);
  await mesh.close();
});

/** The three keys that a mesh of some epoch hands out. */
function psk(epoch: number): EpochPsk {
  return { epoch, psk: new Uint8Array(32).fill(epoch + 1) };
}

Deno.test("T11: with another PSK of the same epoch there is no session on either side", async () => {
  const mesh = new TestMesh();
  const alice = mesh.add("alice", { session: { psks: new PskRing({ current: psk(1) }) } });
  const other = { epoch: 1, psk: new Uint8Array(32).fill(9) };
  const bob = mesh.add("bob", { session: { psks: new PskRing({ current: other }) } });
  mesh.introduceAll();
  alice.send(bob, numbered(1));
  mesh.clock.advance(1_000);
  bob.send(alice, numbered(2));
  mesh.clock.advance(60_000);
  for (const [node, peer] of [[alice, bob], [bob, alice]] as const) {
    deepStrictEqual(node.received, []);
    const { path, handshakes } = node.statusOf(peer);
    deepStrictEqual([path, handshakes], [undefined, 0]);
  }
  await mesh.close();
});

Deno.test("T11: an all-zero PSK is an error of configuration", () => {
  throws(() => new PskRing({ current: { epoch: 1, psk: new Uint8Array(32) } }), RangeError);
});

Deno.test("T11: two nodes meet exactly if they hold the PSK of one epoch in common", async () => {
  const rings: [name: string, ring: PskRing, epochs: number[]][] = [
    ["1", new PskRing({ current: psk(1) }), [1]],
    ["1 2+", new PskRing({ current: psk(1), next: psk(2) }), [1, 2]],
    ["-1 2", new PskRing({ previous: psk(1), current: psk(2) }), [1, 2]],
    ["-1 2 3+", new PskRing({ previous: psk(1), current: psk(2), next: psk(3) }), [1, 2, 3]],
    ["2", new PskRing({ current: psk(2) }), [2]],
    ["-2 3", new PskRing({ previous: psk(2), current: psk(3) }), [2, 3]],
    ["3", new PskRing({ current: psk(3) }), [3]],
  ];
  for (const [mine, myRing, myEpochs] of rings) {
    for (const [theirs, theirRing, theirEpochs] of rings) {
      const mesh = new TestMesh();
      const alice = mesh.add("alice", { session: { psks: myRing } });
      const bob = mesh.add("bob", { session: { psks: theirRing } });
      mesh.introduceAll();
      const shouldMeet = myEpochs.some((epoch) => theirEpochs.includes(epoch));
      strictEqual(
        alice.pingInner(bob, 4, 30_000) !== undefined,
        shouldMeet,
        `(${mine}) to (${theirs})`,
      );
      await mesh.close();
    }
  }
});

Deno.test("T11: a rotation that reaches one end first loses no packet", async () => {
  const start = new PskRing({ current: psk(1), next: psk(2) });
  const rotated = new PskRing({ previous: psk(1), current: psk(2), next: psk(3) });
  const mesh = new TestMesh();
  const alice = mesh.add("alice", { session: { psks: start } });
  const bob = mesh.add("bob", { session: { psks: start } });
  mesh.introduceAll();
  for (const [step, node] of [alice, bob].entries()) {
    for (let i = 0; i < 300; i++) {
      if (i === 10) node.device.setPsks(rotated);
      if (i % 50 === 20) (i % 100 === 20 ? alice : bob).device.renewSessions();
      alice.send(bob, numbered(step * 300 + i));
      bob.send(alice, numbered(step * 300 + i));
      mesh.clock.advance(100);
    }
  }
  mesh.clock.advance(1_000);
  const all = Array.from({ length: 600 }, (_, i) => i);
  deepStrictEqual(bob.received.map(numberOf), all);
  deepStrictEqual(alice.received.map(numberOf), all);
  await mesh.close();
});

Deno.test("T12, T13: another mesh id or profile: silence, no work past the prologue", async () => {
  const rows: [why: string, session: Parameters<TestMesh["add"]>[1]][] = [
    ["another mesh", { session: { meshId: new Uint8Array(16).fill(7) } }],
    ["another profile", { session: { profile: "allowed-peers" } }],
  ];
  for (const [why, options] of rows) {
    const mesh = new TestMesh();
    const alice = mesh.add("alice");
    const profile = options?.session?.profile;
    const bob = mesh.add(
      "bob",
      profile === undefined ? options! : { session: profileOptions(profile) },
    );
    mesh.introduceAll();
    bob.crypto.reset();
    strictEqual(alice.pingInner(bob, 4, 30_000), undefined, why);
    strictEqual(bob.pingInner(alice, 4, 30_000), undefined, why);
    deepStrictEqual([...alice.plane.installed, ...bob.plane.installed], [], why);
    deepStrictEqual(recordedOf(mesh, 2), [], why);
    await mesh.close();
  }
});

Deno.test("T14: an unknown key costs one DH and gets no answer, just as a removed peer", async () => {
  const mesh = new TestMesh();
  const bob = mesh.add("bob");
  const mallory = mesh.add("mallory");
  const removed = mesh.add("removed");
  for (const node of [mallory, removed]) node.device.setPeers([bob.asPeer()]);
  bob.device.setPeers([removed.asPeer()]);
  ok(removed.pingInner(bob) !== undefined);
  bob.device.removePeer(removed.nodeId);
  await removed.kill();
  removed.start();
  removed.device.setPeers([bob.asPeer()]);
  const seen = [mallory, removed].map((node) => {
    mesh.network.recorded.length = 0;
    bob.crypto.reset();
    node.send(bob, numbered(1));
    mesh.clock.advance(400);
    const initiations = recordedOf(mesh, 1, node).length;
    strictEqual(initiations, 6, "three times to both addresses");
    strictEqual(bob.crypto.counts.dh, initiations, "one DH each: es, and no more");
    strictEqual(mesh.network.recorded.length, initiations, "silence");
    mesh.clock.advance(100_000);
    deepStrictEqual(node.plane.installed, []);
    return bob.crypto.counts;
  });
  deepStrictEqual(seen[0], seen[1], "nobody can tell a removed peer from an unknown one");
  await mesh.close();
});

Deno.test("a stranger's garbage with the right MAC1, from everywhere, gets cookies and keeps nothing", async () => {
  const { mesh, clock, network, alice, bob } = twoNodes();
  ok(alice.pingInner(bob) !== undefined);
  const genuine = recordedOf(mesh, 1, alice)[0]!;
  network.recorded.length = 0;
  bob.crypto.reset();
  for (let i = 0; i < 1000; i++) {
    const datagram = genuine.datagram.slice().fill(i & 255, 8, 120);
    writeMac1(datagram, bob);
    const flight: Flight = { ...genuine, from: spoofedEndpoint(i), datagram };
    network.inject(flight);
  }
  clock.advance(10);
  ok(
    bob.crypto.counts.dh <= STRANGER_HANDSHAKES.burst + 2,
    "what the budget holds, and 10 ms more",
  );
  ok(network.recorded.every(({ datagram }) => datagram[0] === 4 && datagram.length === 64));
  ok(network.recorded.length < 1000);
  strictEqual(bob.liveKeypairs(alice).length, 1);
  ok(alice.pingInner(bob) !== undefined);
  await mesh.close();
});

function profileOptions(profile: "mesh" | "allowed-peers"): Record<string, unknown> {
  return profile === "mesh" ? { profile } : { profile, psks: undefined };
}

function flip(at: number): (datagram: Uint8Array) => Uint8Array {
  return (datagram) => {
    datagram[at]! ^= 0x10;
    return datagram;
  };
}

function set(at: number, value: number): (datagram: Uint8Array) => Uint8Array {
  return (datagram) => {
    datagram[at] = value;
    return datagram;
  };
}

/** What anyone can do who knows the receiver's public key. */
function writeMac1(datagram: Uint8Array, receiver: TestNode): void {
  const key = sha256(utf8("tunnelmesh mac1 v1"), receiver.staticKey.publicKey);
  const at = datagram.length - 32;
  datagram.set(keyedBlake2s(key, 16, datagram.subarray(0, at)), at);
}
