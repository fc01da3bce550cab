/**
 * Whole nodes do their main work: everyone reaches everyone, in both families, whatever happens.
 *
 * @module
 */

import { deepStrictEqual, ok, rejects, strictEqual, throws } from "node:assert/strict";
import { DeviceError } from "../../lib/mesh/device_options.ts";
import { parseEndpoint } from "../../lib/net/endpoint.ts";
import { parseIpPrefix } from "../../lib/net/ip_prefix.ts";
import { SimulatedNat } from "../fakes/network.ts";
import type { Keypair } from "../../lib/session/keypair.ts";
import { lowerLimits } from "../../lib/session/limits.ts";
import type { Path } from "../../lib/session/path.ts";
import {
  numbered,
  numberOf,
  OpenPlane,
  PORT,
  recordedOf,
  TestMesh,
  twoNodes,
} from "./simulated_mesh.ts";

Deno.test("Device: two nodes ping each other, the first packet within a round trip more", async () => {
  const { mesh, alice, bob } = twoNodes({ delayMs: 5 });
  strictEqual(alice.pingInner(bob, 4), 20, "handshake, then the echo in the datagram after it");
  strictEqual(alice.pingInner(bob, 6), 10);
  strictEqual(bob.pingInner(alice, 6), 10);
  const status = alice.statusOf(bob);
  deepStrictEqual(status.path, { kind: "udp", remote: `[2001:db8::2]:${PORT}` });
  strictEqual(status.handshakes, 1);
  strictEqual(bob.statusOf(alice).handshakes, 1);
  deepStrictEqual([status.txPackets, status.rxPackets], [3, 3]);
  const counts = [1, 2, 5].map((type) => recordedOf(mesh, type).length);
  deepStrictEqual(counts, [2, 2, 6], "no datagram more than it takes");
  // Both candidates carried the initiation, so the response came twice: no reason to drop it.
  deepStrictEqual([alice.drops(), bob.drops()], [{}, {}]);
  await mesh.close();
});

Deno.test("Device: five nodes reach each other, all pairs, both families", async () => {
  const mesh = new TestMesh({ delayMs: 7, jitterMs: 3 });
  for (const name of ["a", "b", "c", "d", "e"]) mesh.add(name);
  mesh.introduceAll();
  for (const from of mesh.nodes) {
    for (const to of mesh.nodes) {
      if (from === to) continue;
      for (const family of [4, 6] as const) {
        ok(from.pingInner(to, family) !== undefined, `${from.name} to ${to.name} by IPv${family}`);
      }
    }
  }
  for (const node of mesh.nodes) {
    deepStrictEqual(node.device.status().map((peer) => peer.handshakes), [1, 1, 1, 1]);
    const { "no-handshake-outstanding": _copies, ...others } = node.drops();
    deepStrictEqual(others, {});
  }
  await mesh.close();
});

Deno.test("Device: everyone starts to talk to everyone at once, and no packet is lost", async () => {
  const mesh = new TestMesh({ delayMs: 20, jitterMs: 10, seed: 3 });
  for (const name of ["a", "b", "c", "d", "e"]) mesh.add(name);
  mesh.introduceAll();
  for (const from of mesh.nodes) {
    for (const to of mesh.nodes) if (to !== from) from.send(to, numbered(1), 6);
  }
  mesh.clock.advance(500);
  deepStrictEqual(mesh.nodes.map((node) => node.received.length), [4, 4, 4, 4, 4]);
  await mesh.close();
});

Deno.test("Device.ping() measures the round trip, and says when nobody answers", async () => {
  const { mesh, clock, network, alice, bob } = twoNodes({ delayMs: 15 });
  const first = alice.device.ping(bob.nodeId, { timeoutMs: 1000 });
  clock.advance(1000);
  ok(Math.abs(await first - 30) <= 30, "the first one may wait for the handshake");
  const second = alice.device.ping(bob.nodeId);
  clock.advance(1000);
  strictEqual(await second, 30);
  network.setBlocked(alice.host, bob.host, true);
  const third = alice.device.ping(bob.nodeId, { timeoutMs: 1000 });
  const rejected = rejects(third, (error) => (error as DeviceError).fault === "no-answer");
  clock.advance(1001);
  await rejected;
  await rejects(
    alice.device.ping("00".repeat(32)),
    (error) => (error as DeviceError).fault === "unknown-peer",
  );
  const last = alice.device.ping(bob.nodeId);
  const closed = rejects(last, (error) => (error as DeviceError).fault === "closed");
  await mesh.close();
  await closed;
});

Deno.test("Device: an idle node has no timer, and a session that ends leaves none", async () => {
  const { mesh, clock, alice, bob } = twoNodes();
  strictEqual(clock.pending, 0);
  ok(alice.pingInner(bob) !== undefined);
  clock.advance(600_000);
  strictEqual(clock.pending, 0, "keys are wiped, nothing is left to do");
  strictEqual(alice.statusOf(bob).path, undefined);
  ok(alice.pingInner(bob) !== undefined, "and it starts again when asked");
  await mesh.close();
});

Deno.test("Device: a peer with two addresses is reached by its second, which answers", async () => {
  const mesh = new TestMesh();
  const alice = mesh.add("alice");
  const bob = mesh.add("bob", { addresses: ["192.0.2.2", "192.0.2.22"] });
  const second = parseEndpoint(`192.0.2.22:${PORT}`);
  alice.device.setPeers([bob.asPeer({ candidates: [second] })]);
  bob.device.setPeers([alice.asPeer({ candidates: [] })]);
  ok(alice.pingInner(bob) !== undefined);
  deepStrictEqual(alice.statusOf(bob).path?.remote, `192.0.2.22:${PORT}`);
  ok(bob.pingInner(alice) !== undefined, "the way back, though alice was never named to bob");
  bob.device.renewSessions();
  mesh.clock.advance(100);
  strictEqual(bob.statusOf(alice).handshakes, 2, "a fresh handshake leaves from there, too");
  const fromBob = mesh.network.recorded.filter(({ to }) => to.address[3] === 1);
  ok(fromBob.length > 0 && fromBob.every(({ from }) => from.address[3] === 22));
  deepStrictEqual([alice.drops(), bob.drops()], [{}, {}]);
  await mesh.close();
});

Deno.test("Device: the data plane hears of each path that an unanswered initiation came by", async () => {
  const mesh = new TestMesh();
  const alice = mesh.add("alice");
  const bob = mesh.add("bob", { addresses: ["192.0.2.2", "192.0.2.22"] });
  const candidates = ["192.0.2.2", "192.0.2.22"].map((address) =>
    parseEndpoint(`${address}:${PORT}`)
  );
  alice.device.setPeers([bob.asPeer({ candidates })]);
  bob.device.setPeers([alice.asPeer({ candidates: [] })]);
  // The first path works one way only: what leaves by it never arrives.
  mesh.network.adversary = (flight) => flight.from.address[3] === 2 ? [] : [flight];
  ok(alice.pingInner(bob) !== undefined);
  strictEqual(alice.statusOf(bob).path?.remote, `192.0.2.22:${PORT}`);
  deepStrictEqual(bob.plane.widened, [2], "once for the second path, not for repetitions");
  await mesh.close();
});

Deno.test("Device: candidates that nobody may be sent to are skipped", async () => {
  const mesh = new TestMesh();
  const alice = mesh.add("alice", { addresses: ["192.0.2.1"] });
  const bob = mesh.add("bob");
  const candidates = [
    "127.0.0.1:9",
    "[::1]:9",
    "224.0.0.1:9",
    "255.255.255.255:9",
    "0.0.0.0:9",
    "100.64.0.9:9",
    "[fd77::9]:9",
    "[2001:db8::2]:9",
  ].map(parseEndpoint);
  alice.device.setPeers([bob.asPeer({ candidates: [...candidates, bob.host.endpoint(0)] })]);
  alice.send(bob, numbered(1));
  mesh.clock.advance(10_000);
  deepStrictEqual(mesh.network.recorded, []);
  deepStrictEqual(alice.statusOf(bob).candidates, []);
  bob.device.setPeers([alice.asPeer()]);
  alice.device.upsertPeer(bob.asPeer());
  mesh.clock.advance(100);
  strictEqual(bob.received.length, 1, "a usable one is tried as soon as it is known");
  await mesh.close();
});

Deno.test("Device: a peer behind a NAT stays reachable at the place it came from", async () => {
  const mesh = new TestMesh();
  const nat = new SimulatedNat("198.51.100.1", "full-cone");
  const alice = mesh.add("alice", { addresses: ["10.0.0.2"], nat });
  const bob = mesh.add("bob", { addresses: ["192.0.2.2"] });
  mesh.introduceAll();
  ok(alice.pingInner(bob) !== undefined);
  deepStrictEqual(bob.statusOf(alice).candidates, ["198.51.100.1:40000"]);
  mesh.clock.advance(600_000);
  strictEqual(bob.statusOf(alice).path, undefined, "the session is long over");
  ok(bob.pingInner(alice) !== undefined, "and bob can start the next one");
  await mesh.close();
});

Deno.test("Device: a NAT rebind heals by a handshake, in about one round trip", async () => {
  const mesh = new TestMesh({ delayMs: 25 });
  const nat = new SimulatedNat("198.51.100.1", "restricted");
  const alice = mesh.add("alice", { addresses: ["10.0.0.2"], nat });
  const bob = mesh.add("bob", { addresses: ["192.0.2.2"] });
  mesh.introduceAll();
  ok(alice.pingInner(bob) !== undefined);
  mesh.clock.advance(20_000);
  nat.rebind();
  bob.crypto.reset();
  const { opens } = bob.aeadCounts;
  alice.send(bob, numbered(1)); // arrives from the new place: lost, and prompts a handshake
  mesh.clock.advance(25);
  strictEqual(bob.received.length, 0, "data from elsewhere is dropped");
  strictEqual(bob.aeadCounts.opens, opens, "before any AEAD work");
  strictEqual(bob.statusOf(alice).path?.remote, "198.51.100.1:40000", "and moves nothing");
  mesh.clock.advance(50); // bob's initiation there, alice's response back
  strictEqual(bob.statusOf(alice).path?.remote, "198.51.100.1:40001", "one round trip later");
  bob.send(alice, numbered(2));
  mesh.clock.advance(25);
  alice.send(bob, numbered(3));
  mesh.clock.advance(25);
  deepStrictEqual([...alice.received, ...bob.received].map(numberOf), [2, 3]);
  ok(bob.pingInner(alice) !== undefined);
  deepStrictEqual(bob.drops(), { "wrong-path": 1 });
  await mesh.close();
});

Deno.test("Device: a node that changes its address is found again after silence", async () => {
  const { mesh, clock, alice, bob } = twoNodes();
  ok(alice.pingInner(bob) !== undefined);
  clock.advance(1);
  alice.host.setAddresses(["192.0.2.77"]);
  alice.send(bob, numbered(1));
  const away = clock.advanceUntil(
    () => bob.statusOf(alice).path?.remote.includes(".77") === true,
    20_000,
  );
  ok(away !== undefined && away <= 5_000, `back after ${away} ms`);
  ok(bob.pingInner(alice) !== undefined);
  alice.host.setAddresses(["192.0.2.78"]);
  alice.device.renewSessions();
  clock.advance(50);
  ok(bob.statusOf(alice).path?.remote.includes(".78"), "at once when the node knows");
  await mesh.close();
});

Deno.test("Device: either end is killed and comes back; traffic flows again by itself", async () => {
  const { mesh, clock, alice, bob } = twoNodes();
  ok(alice.pingInner(bob) !== undefined);
  await bob.kill();
  bob.start();
  bob.device.setPeers([alice.asPeer()]);
  let lost = 0;
  while (alice.pingInner(bob, 4, 200) === undefined && lost < 100) lost++;
  ok(lost <= 15, `${lost * 200} ms without an answer`);
  await alice.kill();
  clock.stepUnix(-86_400_000); // and its clock starts a day behind
  alice.start();
  alice.device.setPeers([bob.asPeer()]);
  const back = alice.pingInner(bob, 6, 1000);
  ok(back !== undefined && back <= 30, "who restarted gets in with its first packet");
  await mesh.close();
});

Deno.test("Device: what waits for a peer that never answers is dropped and counted", async () => {
  const { mesh, clock, network, alice, bob } = twoNodes();
  network.setBlocked(alice.host, bob.host, true);
  for (let i = 0; i < 3; i++) alice.send(bob, numbered(i));
  clock.advance(80_000);
  strictEqual(alice.statusOf(bob).queued, 3);
  clock.advance(20_000);
  strictEqual(alice.statusOf(bob).queued, 0);
  strictEqual(alice.drops()["no-keypair"], 3);
  strictEqual(clock.pending, 0, "it gave up");
  network.setBlocked(alice.host, bob.host, false);
  ok(alice.pingInner(bob) !== undefined, "and tries again when asked");
  await mesh.close();
});

Deno.test("Device.setLimits() holds for sessions that exist", async () => {
  const { mesh, clock, alice, bob } = twoNodes();
  ok(alice.pingInner(bob) !== undefined);
  clock.advance(8_000);
  const limits = lowerLimits({ rekeyAfterMs: 1_000, rejectAfterMs: 5_000, wipeAfterMs: 9_000 });
  alice.device.setLimits(limits);
  const { opens } = alice.aeadCounts;
  bob.send(alice, numbered(1));
  clock.advance(6);
  strictEqual(alice.aeadCounts.opens, opens, "too old now");
  strictEqual(alice.drops()["expired-keypair"], 1);
  alice.send(bob, numbered(2));
  clock.advance(20);
  deepStrictEqual(bob.received.map(numberOf), [2]);
  strictEqual(alice.statusOf(bob).handshakes, 2, "by a fresh session");
  await mesh.close();
});

Deno.test("Device carries out all actions of one call before it wants anything else", async () => {
  const log: string[] = [];
  const mesh = new TestMesh();
  const carol = mesh.add("carol");
  const bob = mesh.add("bob");
  const alice = mesh.add("alice", {
    plane: (options) =>
      new class extends OpenPlane {
        override use(keypair: Keypair): void {
          super.use(keypair);
          options.events.wanted(carol.nodeId); // as when the new keypair is used up at once
        }
        override seal(keypair: Keypair, plaintext: Uint8Array, onlyIfUnused?: boolean): boolean {
          const before = keypair.activity.sendCounter;
          const isSealed = super.seal(keypair, plaintext, onlyIfUnused);
          if (keypair.activity.sendCounter > before) log.push("seal");
          return isSealed;
        }
        override send(datagram: Uint8Array, path: Path): boolean {
          log.push(`send ${datagram[0]}`);
          return super.send(datagram, path);
        }
      }(options),
  });
  mesh.introduceAll();
  alice.device.ping(bob.nodeId).catch(() => {});
  mesh.clock.advance(12);
  deepStrictEqual(log.slice(0, 2), ["send 1", "send 1"], "to bob, on both addresses");
  deepStrictEqual(log.slice(2, 5), ["seal", "send 1", "send 1"], "first bob's, then carol's");
  await mesh.close();
});

Deno.test("Device.close() says bye: the peer starts over at once when it is back", async () => {
  const { mesh, clock, alice, bob } = twoNodes();
  ok(alice.pingInner(bob) !== undefined);
  await bob.device.close();
  await bob.device.close();
  clock.advance(10);
  strictEqual(alice.statusOf(bob).path, undefined);
  bob.start();
  bob.device.setPeers([alice.asPeer()]);
  const back = alice.pingInner(bob, 4, 1000);
  ok(back !== undefined && back <= 30);
  strictEqual(clock.pending > 0, true);
  await mesh.close();
  clock.advance(50); // the byes arrive
  strictEqual(clock.pending, 0, "closed nodes have no timers");
});

Deno.test("Device.removePeer() stops a revoked peer at once, in both directions (T15)", async () => {
  const { mesh, clock, alice, bob } = twoNodes();
  ok(alice.pingInner(bob) !== undefined);
  alice.send(bob, numbered(1));
  bob.send(alice, numbered(2));
  bob.device.removePeer(alice.nodeId); // while both are in flight
  const { opens, seals } = bob.aeadCounts;
  bob.crypto.reset();
  clock.advance(20);
  deepStrictEqual(bob.received, []);
  bob.send(alice, numbered(3));
  for (let i = 0; i < 20; i++) {
    alice.send(bob, numbered(4));
    clock.advance(1000);
  }
  deepStrictEqual(bob.received, []);
  deepStrictEqual(alice.received.map(numberOf), [2], "only what had left before");
  deepStrictEqual(bob.aeadCounts, { opens, seals });
  strictEqual(bob.device.peerStatus(alice.nodeId), undefined);
  deepStrictEqual(
    Object.keys(bob.drops()).sort(),
    ["no-route", "unknown-index", "unknown-static-key"],
  );
  await mesh.close();
});

Deno.test("Device.setPeers() keeps sessions of who stays, moves prefixes, refuses overlaps", async () => {
  const mesh = new TestMesh();
  const [alice, bob, carol] = ["alice", "bob", "carol"].map((name) => mesh.add(name));
  mesh.introduceAll();
  ok(alice!.pingInner(bob!) !== undefined);
  ok(alice!.pingInner(carol!) !== undefined);
  const [ofBob, ofCarol] = [bob!.asPeer(), carol!.asPeer()];
  alice!.device.setPeers([
    { ...ofBob, allowedIps: ofCarol.allowedIps },
    { ...ofCarol, allowedIps: ofBob.allowedIps },
  ]);
  strictEqual(alice!.statusOf(bob!).handshakes, 1);
  strictEqual(alice!.pingInner(bob!, 4, 500), undefined, "carol gets it and it is not hers");
  alice!.device.setPeers([ofCarol, ofBob]);
  ok(alice!.pingInner(bob!) !== undefined);
  strictEqual(alice!.statusOf(bob!).handshakes, 1, "the session never ended");
  const overlapping = { ...ofCarol, allowedIps: [parseIpPrefix("100.64.0.0/24")] };
  throws(() => alice!.device.setPeers([ofBob, overlapping]), {
    message: new RegExp(`${carol!.nodeId}.*${bob!.nodeId}`),
  });
  throws(() => alice!.device.upsertPeer(overlapping));
  ok(alice!.pingInner(bob!) !== undefined, "the last good list stays in force");
  ok(alice!.pingInner(carol!, 6) !== undefined);
  alice!.device.setPeers([ofBob]);
  strictEqual(alice!.device.status().length, 1);
  await mesh.close();
});

Deno.test("Device.upsertPeer() refuses a key that cannot be used, and changes nothing", async () => {
  const { mesh, alice, bob } = twoNodes();
  const carol = mesh.add("carol");
  const rows: [why: string, staticKey: Uint8Array][] = [
    ["of low order", new Uint8Array(32)],
    ["our own", alice.staticKey.publicKey],
    ["another peer's", bob.staticKey.publicKey],
    ["too short", new Uint8Array(31).fill(9)],
  ];
  for (const [why, staticKey] of rows) {
    throws(() => alice.device.upsertPeer(carol.asPeer({ staticKey })), RangeError, why);
    strictEqual(alice.device.peerStatus(carol.nodeId), undefined, why);
    alice.send(carol, numbered(1));
  }
  strictEqual(alice.icmpErrors, rows.length, "there is no route to it");
  throws(() => alice.device.upsertPeer({ ...bob.asPeer(), staticKey: carol.staticKey.publicKey }));
  ok(alice.pingInner(bob) !== undefined);
  await mesh.close();
});

Deno.test("Device: discovery datagrams go to their owner, from the port of the sessions", async () => {
  const seen: string[] = [];
  const mesh = new TestMesh();
  const alice = mesh.add("alice", {
    device: { onDiscovery: (datagram, path) => seen.push(`${datagram.length} ${path.remote}`) },
  });
  const bob = mesh.add("bob");
  const ask = new Uint8Array(78).fill(6);
  strictEqual(bob.device.sendDatagram(ask, alice.host.endpoint(PORT)), true);
  mesh.clock.advance(10);
  deepStrictEqual(seen, [`78 192.0.2.2:${PORT}`]);
  deepStrictEqual(alice.drops(), {});
  await mesh.close();
  strictEqual(bob.device.sendDatagram(ask, alice.host.endpoint(PORT)), false);
});
