/**
 * What it costs to keep a way open through a NAT that forgets, and for whom it is paid: counted on a
 * virtual clock.
 *
 * @module
 */

import { deepStrictEqual, ok, strictEqual } from "node:assert/strict";
import { SimulatedNat } from "../fakes/network.ts";
import { FakePeerLinks } from "../fakes/peer_carrier.ts";
import { recordedOf, TestMesh, type TestNode } from "./simulated_mesh.ts";

const SECOND_MS = 1_000;
const MINUTE_MS = 60_000;
/** What a NAT at home keeps a mapping for, at the least that is met. */
const FORGETS_AFTER_MS = 30 * SECOND_MS;
/** Length of an empty transport datagram. */
const KEEPALIVE = 32;

/** alice behind a NAT, bob on the open network. */
class Scene {
  readonly mesh: TestMesh;
  readonly alice: TestNode;
  readonly bob: TestNode;

  constructor(options: { isNatKnown?: boolean; relay?: boolean } = {}) {
    const { isNatKnown = true, relay = false } = options;
    this.mesh = new TestMesh({
      delayMs: 10,
      ...relay && { links: (clock) => ({ relay: new FakePeerLinks(clock, "relay", 20) }) },
    });
    const nat = new SimulatedNat("198.51.100.1");
    nat.lifetime = { ms: FORGETS_AFTER_MS, now: () => this.mesh.clock.now() };
    this.alice = this.mesh.add("alice", { addresses: ["10.0.0.2"], nat });
    this.bob = this.mesh.add("bob", { addresses: ["192.0.2.2"] });
    this.mesh.introduceAll();
    const mapped = { ipv4: isNatKnown, ipv6: false };
    this.alice.device.setUnderlay({ nat: "same", mapped });
    this.bob.device.setUnderlay({ nat: "none", mapped: { ipv4: false, ipv6: false } });
  }

  /** A packet each way, and what the path costs at first. */
  use(): void {
    ok(this.alice.pingInner(this.bob) !== undefined);
    this.mesh.clock.advance(15 * SECOND_MS);
    this.mesh.network.recorded.length = 0;
  }

  /** Empty datagrams that left a node since. */
  keepalivesOf(node: TestNode): number {
    return recordedOf(this.mesh, 5, node)
      .concat(node === this.alice ? this.#fromOutside() : [])
      .filter(({ datagram }) => datagram.length === KEEPALIVE).length;
  }

  /** What alice's NAT sent for her. */
  #fromOutside() {
    return this.mesh.network.recorded.filter(({ from, datagram }) =>
      datagram[0] === 5 && from.address[0] === 198
    );
  }
}

Deno.test("a session in use keeps its NAT mapping by one empty datagram per 25 s, from inside only", () => {
  const scene = new Scene();
  const { alice, bob, mesh } = scene;
  scene.use();
  mesh.clock.advance(4 * MINUTE_MS);
  const sent = scene.keepalivesOf(alice);
  ok(sent >= 8 && sent <= 10, `${sent} in four minutes`);
  ok(scene.keepalivesOf(bob) <= 1, "bob is behind no NAT; he may confirm a keypair");
  // The way is open: a packet from outside arrives at once, with no handshake before it.
  mesh.network.recorded.length = 0;
  strictEqual(bob.pingInner(alice, 4, 100), 20);
  deepStrictEqual(recordedOf(mesh, 1), [], "no handshake");
  return mesh.close();
});

Deno.test("without them the NAT has forgotten, and the peer has to seek", () => {
  const scene = new Scene({ isNatKnown: false });
  const { alice, bob, mesh } = scene;
  scene.use();
  mesh.clock.advance(2 * MINUTE_MS);
  strictEqual(scene.keepalivesOf(alice), 0);
  strictEqual(bob.pingInner(alice, 4, 1_000), undefined);
  return mesh.close();
});

Deno.test("a session that nobody uses is let go: keepalives end, and so does it", () => {
  const scene = new Scene();
  const { alice, bob, mesh } = scene;
  scene.use();
  mesh.clock.advance(10 * MINUTE_MS);
  const sent = scene.keepalivesOf(alice);
  ok(sent >= 9 && sent <= 14, `${sent} in all`);
  mesh.network.recorded.length = 0;
  mesh.clock.advance(60 * MINUTE_MS);
  strictEqual(mesh.network.recorded.length, 0, "nothing at all");
  deepStrictEqual([alice.statusOf(bob).path, bob.statusOf(alice).path], [undefined, undefined]);
  deepStrictEqual([alice.liveKeypairs(bob), bob.liveKeypairs(alice)], [[], []]);
  return mesh.close();
});

Deno.test("traffic needs no keepalives", () => {
  const scene = new Scene();
  const { alice, bob, mesh } = scene;
  scene.use();
  for (let i = 0; i < 300; i++) {
    alice.send(bob, new Uint8Array(10));
    bob.send(alice, new Uint8Array(10));
    mesh.clock.advance(SECOND_MS);
  }
  ok(scene.keepalivesOf(alice) <= 5, `${scene.keepalivesOf(alice)}: as many as handshakes`);
  return mesh.close();
});

Deno.test("neighbours and paths that are streams need no keepalives", () => {
  const scene = new Scene({ relay: true });
  const { alice, bob, mesh } = scene;
  mesh.network.setBlocked(alice.host, bob.host, true);
  scene.use();
  strictEqual(alice.statusOf(bob).path?.kind, "relay");
  const { relay } = mesh.links!;
  mesh.clock.advance(MINUTE_MS);
  const before = relay!.carried;
  mesh.clock.advance(20 * SECOND_MS);
  strictEqual(relay!.carried, before, "the relay's connection keeps itself alive");
  const near = new TestMesh({ delayMs: 1 });
  const [carol, dave] = ["10.0.0.3", "10.0.0.4"].map((address, i) =>
    near.add(i === 0 ? "carol" : "dave", { addresses: [address] })
  ) as [TestNode, TestNode];
  near.introduceAll();
  for (const node of [carol, dave]) {
    node.device.setUnderlay({ nat: "same", mapped: { ipv4: true, ipv6: true } });
  }
  ok(carol.pingInner(dave) !== undefined);
  near.clock.advance(15 * SECOND_MS);
  near.network.recorded.length = 0;
  near.clock.advance(2 * MINUTE_MS);
  strictEqual(near.network.recorded.filter(({ datagram }) => datagram.length === 32).length, 0);
  return Promise.all([mesh.close(), near.close()]).then(() => {});
});

Deno.test("a peer that is gone is not sought for the sake of a mapping", () => {
  const scene = new Scene();
  const { alice, bob, mesh } = scene;
  scene.use();
  mesh.network.setBlocked(alice.host, bob.host, true);
  alice.send(bob, new Uint8Array(10));
  mesh.clock.advance(3 * MINUTE_MS);
  mesh.network.recorded.length = 0;
  mesh.clock.advance(30 * MINUTE_MS);
  strictEqual(mesh.network.recorded.length, 0);
  return mesh.close();
});
