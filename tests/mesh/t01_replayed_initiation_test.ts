/**
 * T1 and T2 of docs/protocol.md §7: an initiation that was recorded is sent again, at any time and
 * from anywhere, to a responder that lives or that has restarted.
 *
 * @module
 */

import { deepStrictEqual, ok, strictEqual } from "node:assert/strict";
import {
  numbered,
  numberOf,
  PORT,
  recordedOf,
  spoofedEndpoint,
  type TestNode,
  twoNodes,
} from "./simulated_mesh.ts";

/** Ages at which the initiation is replayed: within the 5 s of §4 2a, after them, after a rekey. */
const AGES_MS = [100, 6_000, 130_000];

for (const ageMs of AGES_MS) {
  Deno.test(`T1: an initiation replayed 1000 times after ${ageMs} ms moves and evicts nothing`, () => {
    const { mesh, clock, network, alice, bob } = twoNodes();
    ok(alice.pingInner(bob) !== undefined);
    const initiation = recordedOf(mesh, 1, alice)[0]!;
    const endAt = clock.now() + ageMs;
    while (clock.now() < endAt) {
      ok(alice.pingInner(bob) !== undefined);
      clock.advance(Math.min(5_000, Math.max(0, endAt - clock.now())));
    }
    const before = stateOf(bob, alice);
    const live = bob.liveKeypairs(alice);
    const sources = [initiation.from, spoofedEndpoint(1), spoofedEndpoint(2)];
    const received = bob.received.length;
    bob.crypto.reset();
    network.recorded.length = 0;
    for (let i = 0; i < 1000; i++) {
      network.inject({ ...initiation, from: sources[i % 3]! });
      alice.send(bob, numbered(i));
      clock.advance(1);
    }
    clock.advance(20);
    deepStrictEqual(stateOf(bob, alice), before, "endpoint, handshakes");
    ok(live.every((keypair) => !keypair.isRetired), "0 evictions");
    deepStrictEqual(bob.liveKeypairs(alice).length, live.length, "and nothing new");
    const numbers = bob.received.slice(received).map(numberOf);
    deepStrictEqual(numbers, Array.from({ length: 1000 }, (_, i) => i), "all data passed");
    deepStrictEqual(recordedOf(mesh, 1), [], "nobody was made to start a handshake");
    ok(recordedOf(mesh, 5, bob).every(({ to }) => alice.host.has(to.address)), "no data elsewhere");
    ok(recordedOf(mesh, 2, bob).length <= 1000, "never more than came");
    ok(bob.crypto.counts.dh <= 2 * 1000);
    if (ageMs < 5_000) strictEqual(bob.crypto.counts.dh, 0, "a repeated answer costs no DH");
    else strictEqual(recordedOf(mesh, 2, bob).length, 0, "an old one gets no answer at all");
    ok(alice.pingInner(bob) !== undefined);
    ok(bob.pingInner(alice) !== undefined);
  });
}

Deno.test("T1: an initiation replayed after the session has ended makes none", () => {
  const { mesh, clock, network, alice, bob } = twoNodes();
  ok(alice.pingInner(bob) !== undefined);
  const initiation = recordedOf(mesh, 1, alice)[0]!;
  clock.advance(600_000);
  network.recorded.length = 0;
  for (let i = 0; i < 1000; i++) network.inject({ ...initiation, from: spoofedEndpoint(i % 3) });
  clock.advance(10_000);
  ok(network.recorded.every(({ datagram }) => datagram[0] === 4), "nothing but cookies");
  ok(network.recorded.length < 1000);
  deepStrictEqual(bob.liveKeypairs(alice), []);
  const { "old-timestamp": old = 0, "under-load": challenged = 0 } = bob.drops();
  ok(old + challenged >= 1000);
  strictEqual(
    alice.drops()["no-handshake-outstanding"] ?? 0,
    network.recorded.filter(({ to }) => alice.host.has(to.address)).length,
    "nobody waits for those",
  );
});

Deno.test("T2: a replay after the responder restarted leaves nothing but an entry that expires", async () => {
  const { mesh, clock, network, alice, bob } = twoNodes();
  ok(alice.pingInner(bob) !== undefined);
  alice.send(bob, numbered(1));
  clock.advance(20);
  const initiation = recordedOf(mesh, 1, alice)[0]!;
  const data = recordedOf(mesh, 5, alice);
  await restart(bob, [alice]);
  await alice.kill();
  network.recorded.length = 0;
  for (let i = 0; i < 10; i++) network.inject({ ...initiation, from: spoofedEndpoint(i % 3) });
  network.inject(initiation);
  clock.advance(20);
  const { path, handshakes } = bob.statusOf(alice);
  deepStrictEqual([path, handshakes], [undefined, 0], "not confirmed, so no route");
  strictEqual(bob.liveKeypairs(alice).length, 1, "one half-open entry, whatever came");
  const response = recordedOf(mesh, 2, bob)[0]!.datagram;
  for (const flight of data) {
    network.inject(flight);
    const renumbered = flight.datagram.slice();
    renumbered.set(response.subarray(4, 8), 4); // the index that bob now listens to
    network.inject({ ...flight, datagram: renumbered });
  }
  clock.advance(20);
  deepStrictEqual(bob.received.slice(1), [], "recorded data opens nothing");
  strictEqual(bob.statusOf(alice).path, undefined);
  strictEqual(bob.drops()["bad-tag"], data.length);
  network.recorded.length = 0;
  bob.send(alice, numbered(2));
  clock.advance(20);
  deepStrictEqual(recordedOf(mesh, 5), [], "what bob sends waits for a session of his own");
  strictEqual(bob.statusOf(alice).queued, 1);
  clock.advance(60_000);
  deepStrictEqual(bob.liveKeypairs(alice), [], "the half-open entry is gone");
});

Deno.test("T2: the replay does not keep the genuine peer out", async () => {
  const { mesh, clock, network, alice, bob } = twoNodes();
  ok(alice.pingInner(bob) !== undefined);
  const initiation = recordedOf(mesh, 1, alice)[0]!;
  clock.advance(1_000);
  await restart(bob, [alice]);
  network.inject(initiation);
  clock.advance(20);
  await restart(alice, [bob]);
  const back = alice.pingInner(bob, 4, 1_000);
  ok(back !== undefined && back <= 30, `${back} ms`);
  strictEqual(bob.statusOf(alice).path?.remote, `[2001:db8::1]:${PORT}`);
});

async function restart(node: TestNode, peers: TestNode[]): Promise<void> {
  await node.kill();
  node.start();
  node.device.setPeers(peers.map((peer) => peer.asPeer()));
}

function stateOf(node: TestNode, peer: TestNode) {
  const { path, handshakes, lastHandshakeAt } = node.statusOf(peer);
  return { path, handshakes, lastHandshakeAt };
}
