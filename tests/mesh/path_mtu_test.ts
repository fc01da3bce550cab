/**
 * How whole nodes find out what fits a path, keep to it, and get it back when the path is repaired;
 * on a virtual clock.
 *
 * @module
 */

import { deepStrictEqual, fail, ok, strictEqual } from "node:assert/strict";
import { PathMtu } from "../../lib/mesh/path_mtu.ts";
import { DEFAULT_LIMITS } from "../../lib/session/limits.ts";
import { DATA_OVERHEAD } from "../../lib/session/transport_keys.ts";
import { FakeClock } from "../fakes/clock.ts";
import { FakePeerLinks } from "../fakes/peer_carrier.ts";
import { udpPacket } from "../fakes/packets.ts";
import { recordedOf, type TestNode, twoNodes } from "./simulated_mesh.ts";

const MINUTE_MS = 60_000;

/** Sends a packet of this length in all; the network fills in what it says about it. */
function sendOf(from: TestNode, to: TestNode, length: number, isDfSet = true): void {
  const payload = new Uint8Array(length - 28);
  const packet = udpPacket({ source: from.inner[4], destination: to.inner[4], payload });
  if (!isDfSet) packet[6] = 0; // the header's checksum does not matter here
  from.tun.send(packet);
}

/** Traffic of one small packet per second each way. */
function use(scene: ReturnType<typeof twoNodes>, ms: number): void {
  const { alice, bob, clock } = scene;
  for (let passed = 0; passed < ms; passed += 1_000) {
    alice.send(bob, new Uint8Array(10));
    bob.send(alice, new Uint8Array(10));
    clock.advance(1_000);
  }
}

/** The path from alice to bob loses what is larger, in silence. */
function narrow({ network, alice, bob }: ReturnType<typeof twoNodes>, mtu: number): void {
  network.setLink(alice.host, bob.host, { largest: mtu === Infinity ? mtu : mtu + DATA_OVERHEAD });
}

Deno.test("a path that carries everything is probed once per direction, then every half minute", () => {
  const scene = twoNodes();
  const { network, alice, bob, mesh } = scene;
  ok(alice.pingInner(bob) !== undefined);
  use(scene, 5_000);
  const large = () => recordedOf(mesh, 5).filter(({ datagram }) => datagram.length > 1_000);
  deepStrictEqual(large().map(({ datagram }) => datagram.length), [1440, 1440]);
  strictEqual(alice.statusOf(bob).mtu, undefined);
  use(scene, 10 * MINUTE_MS);
  ok(large().length <= 2 + 2 * 22, `${large().length} in ten minutes`);
  scene.clock.advance(2 * MINUTE_MS);
  network.recorded.length = 0;
  scene.clock.advance(60 * MINUTE_MS);
  strictEqual(large().length, 0, "idle peers cost nothing");
  return mesh.close();
});

for (const mtu of [1400, 1365, 1340, 1300, 1280]) {
  Deno.test(`a black hole above ${mtu} is found at once, and senders are told`, () => {
    const scene = twoNodes();
    const { alice, bob, clock, mesh } = scene;
    narrow(scene, mtu);
    ok(alice.pingInner(bob) !== undefined);
    clock.advance(5_000);
    strictEqual(alice.statusOf(bob).mtu, mtu);
    strictEqual(bob.statusOf(alice).mtu, undefined, "each direction is its own");
    const before = bob.received.length;
    sendOf(alice, bob, mtu);
    clock.advance(100);
    deepStrictEqual([bob.received.length - before, alice.icmpErrors], [1, 0]);
    sendOf(alice, bob, mtu + 1);
    clock.advance(100);
    deepStrictEqual([bob.received.length - before, alice.icmpErrors], [1, 1]);
    sendOf(alice, bob, mtu + 1, false);
    clock.advance(100);
    deepStrictEqual([bob.received.length - before, alice.icmpErrors], [2, 1], "in fragments");
    return mesh.close();
  });
}

Deno.test("a path that gets narrow while nothing comes back is noticed within three seconds", () => {
  const scene = twoNodes();
  const { alice, bob, clock, mesh } = scene;
  ok(alice.pingInner(bob) !== undefined);
  clock.advance(5_000);
  narrow(scene, 1368);
  // As TCP does whose segments are lost: the same one again and again, nothing comes back.
  const startedAt = clock.now();
  while (alice.icmpErrors === 0 && clock.now() - startedAt < 20_000) {
    sendOf(alice, bob, 1400);
    clock.advance(200);
  }
  ok(clock.now() - startedAt <= 3_000, `${clock.now() - startedAt} ms`);
  clock.advance(3_000);
  strictEqual(alice.statusOf(bob).mtu, 1368);
  return mesh.close();
});

Deno.test("a path that gets narrow while packets come back is noticed within half a minute", () => {
  const scene = twoNodes();
  const { alice, bob, mesh } = scene;
  ok(alice.pingInner(bob) !== undefined);
  use(scene, 5_000);
  narrow(scene, 1368);
  use(scene, 35_000);
  strictEqual(alice.statusOf(bob).mtu, 1368);
  return mesh.close();
});

Deno.test("a repaired path gets its size back after raiseMtuAfterMs of use, and only then", () => {
  const limits = { ...DEFAULT_LIMITS, raiseMtuAfterMs: 2 * MINUTE_MS };
  for (const [repairedTo, mtu] of [[Infinity, undefined], [1392, 1392]] as const) {
    const scene = twoNodes({ limits });
    const { alice, bob, mesh } = scene;
    narrow(scene, 1340);
    ok(alice.pingInner(bob) !== undefined);
    use(scene, 10_000);
    narrow(scene, repairedTo);
    use(scene, MINUTE_MS);
    strictEqual(alice.statusOf(bob).mtu, 1340);
    use(scene, 2 * MINUTE_MS);
    strictEqual(alice.statusOf(bob).mtu, mtu);
    mesh.close();
  }
});

Deno.test("a new session on a known path keeps to what was found out", () => {
  const scene = twoNodes();
  const { alice, bob, clock, mesh } = scene;
  narrow(scene, 1340);
  ok(alice.pingInner(bob) !== undefined);
  use(scene, 4 * MINUTE_MS);
  ok(alice.statusOf(bob).handshakes > 1, "rekeyed");
  sendOf(alice, bob, 1341);
  clock.advance(10);
  deepStrictEqual([alice.icmpErrors, alice.statusOf(bob).mtu], [1, 1340]);
  return mesh.close();
});

for (const mtu of [1200, 1000, 544]) {
  Deno.test(`a path of ${mtu} carries 1280 in fragments`, () => {
    const scene = twoNodes();
    const { alice, bob, clock, mesh } = scene;
    narrow(scene, mtu);
    ok(alice.pingInner(bob) !== undefined);
    clock.advance(8_000);
    strictEqual(alice.statusOf(bob).mtu, 1280);
    const before = bob.received.length;
    sendOf(alice, bob, 1280);
    sendOf(alice, bob, 1281);
    clock.advance(100);
    deepStrictEqual([bob.received.length - before, alice.icmpErrors], [1, 1]);
    return mesh.close();
  });
}

Deno.test("a narrow path that takes no fragments is used for what fits, and says so", () => {
  const scene = twoNodes();
  const { alice, bob, clock, network, mesh } = scene;
  narrow(scene, 1000);
  network.setLink(alice.host, bob.host, { passesFragments: false });
  ok(alice.pingInner(bob) !== undefined);
  clock.advance(10_000);
  strictEqual(alice.statusOf(bob).mtu, 1000);
  const before = bob.received.length;
  sendOf(alice, bob, 1000);
  sendOf(alice, bob, 1001);
  clock.advance(100);
  deepStrictEqual([bob.received.length - before, alice.icmpErrors], [1, 1]);
  return mesh.close();
});

Deno.test("what the system refuses is taken at its word at once, and tried again later", () => {
  const limits = { ...DEFAULT_LIMITS, raiseMtuAfterMs: MINUTE_MS };
  const scene = twoNodes({ limits });
  const { alice, bob, clock, network, mesh } = scene;
  ok(alice.pingInner(bob) !== undefined);
  use(scene, 5_000);
  network.maxDatagram = 1372;
  sendOf(alice, bob, 1408);
  deepStrictEqual([alice.icmpErrors, alice.statusOf(bob).mtu], [1, 1340]);
  clock.advance(1_000);
  sendOf(alice, bob, 1340);
  clock.advance(100);
  strictEqual(bob.received.at(-1)!.length, 1340 - 28);
  network.maxDatagram = 65_507;
  use(scene, 2 * MINUTE_MS);
  strictEqual(alice.statusOf(bob).mtu, undefined);
  return mesh.close();
});

Deno.test("a path that is dead is not taken for a narrow one", () => {
  const scene = twoNodes();
  const { alice, bob, clock, network, mesh } = scene;
  ok(alice.pingInner(bob) !== undefined);
  clock.advance(5_000);
  network.setBlocked(alice.host, bob.host, true);
  sendOf(alice, bob, 1400);
  clock.advance(30_000);
  network.setBlocked(alice.host, bob.host, false);
  ok(alice.pingInner(bob, 4, 30_000) !== undefined);
  strictEqual(alice.statusOf(bob).mtu, undefined);
  return mesh.close();
});

Deno.test("the relay carries everything, whatever the path before it took", () => {
  const scene = twoNodes({ links: (clock) => ({ relay: new FakePeerLinks(clock, "relay", 20) }) });
  const { alice, bob, clock, network, mesh } = scene;
  narrow(scene, 1300);
  ok(alice.pingInner(bob) !== undefined);
  use(scene, 10_000);
  deepStrictEqual([alice.statusOf(bob).path?.kind, alice.statusOf(bob).mtu], ["udp", 1300]);
  network.setBlocked(alice.host, bob.host, true);
  use(scene, 10_000);
  deepStrictEqual([alice.statusOf(bob).path?.kind, alice.statusOf(bob).mtu], ["relay", undefined]);
  const before = bob.received.length;
  sendOf(alice, bob, 1408);
  clock.advance(100);
  strictEqual(bob.received.length, before + 1);
  network.setBlocked(alice.host, bob.host, false);
  use(scene, 2 * MINUTE_MS);
  deepStrictEqual([alice.statusOf(bob).path?.kind, alice.statusOf(bob).mtu], ["udp", 1300]);
  return mesh.close();
});

Deno.test("over IPv6 the same is found, by other headers", () => {
  const scene = twoNodes();
  const { alice, bob, clock, mesh } = scene;
  narrow(scene, 1340);
  for (const [from, to] of [[alice, bob], [bob, alice]] as const) {
    const candidates = [{ address: to.host.addresses[1]!, port: 51_820 }];
    from.device.upsertPeer(to.asPeer({ candidates }));
  }
  ok(alice.pingInner(bob, 6) !== undefined);
  clock.advance(5_000);
  ok(alice.statusOf(bob).path?.remote.startsWith("["));
  strictEqual(alice.statusOf(bob).mtu, 1340);
  return mesh.close();
});

Deno.test("PathMtu probes no stream, and takes only what was asked by the path in use", () => {
  const clock = new FakeClock();
  const probed: number[] = [];
  const applied: number[] = [];
  const mtu = new PathMtu({
    clock,
    mtu: 1408,
    raiseAfterMs: () => MINUTE_MS,
    largestDatagram: () => undefined,
    tellLargest: () => fail("there is no reason to"),
    rttMs: () => 10,
    usedAt: () => clock.now(),
    probe: (size) => probed.push(size),
    apply: (limit) => applied.push(limit.mtu),
  });
  mtu.used({ kind: "relay", key: "relay", remote: "relay" });
  mtu.unanswered();
  mtu.refused();
  clock.advance(10 * MINUTE_MS);
  deepStrictEqual(probed, []);
  const path = { kind: "udp", key: "udp 192.0.2.1:1", remote: "192.0.2.1:1" } as const;
  mtu.used(path);
  clock.advance(100);
  deepStrictEqual(probed, [1408]);
  mtu.fits({ ...path, key: "another" }, 1408);
  clock.advance(300);
  strictEqual(probed.length, 3, "that was no answer: again, and a short one");
  mtu.fits(path, 1408);
  probed.length = 0;
  clock.advance(20_000);
  deepStrictEqual([probed, applied], [[], []]);
  mtu.lost();
  clock.advance(10 * MINUTE_MS);
  deepStrictEqual(probed, [], "nothing is left of a session that ended");
});

Deno.test("PathMtu tells the system of a path that is too narrow for whole packets, before it tries fragments", () => {
  const clock = new FakeClock();
  const path = { kind: "udp", key: "udp [2001:db8::1]:1", remote: "[2001:db8::1]:1" } as const;
  const said: string[] = [];
  const applied: number[] = [];
  const mtu: PathMtu = new PathMtu({
    clock,
    mtu: 1408,
    raiseAfterMs: () => 10 * MINUTE_MS,
    largestDatagram: () => undefined,
    tellLargest: (to, bytes) => said.push(`${to.key}: ${bytes}`),
    rttMs: () => 10,
    usedAt: () => clock.now(),
    probe: (size, how) => {
      if (how === "in-fragments") said.push(`${size} in fragments`);
      if (size > 1200 && how === "whole") return;
      clock.schedule(clock.now() + 10, () => mtu.fits(path, size));
    },
    apply: (limit) => applied.push(limit.mtu),
  });
  mtu.used(path);
  clock.advance(20_000);
  deepStrictEqual(said, [`${path.key}: ${1200 + DATA_OVERHEAD}`, "1280 in fragments"]);
  strictEqual(applied.at(-1), 1280);
  // A system forgets what it was told; it is told at each look.
  said.length = 0;
  clock.advance(30_000);
  deepStrictEqual(said, [`${path.key}: ${1200 + DATA_OVERHEAD}`, "1280 in fragments"]);
  mtu.lost();
});
