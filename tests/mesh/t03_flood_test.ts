/**
 * T3 to T5 of docs/protocol.md §7 with whole nodes: while strangers flood one of them, its sessions
 * go on, a peer that was not connected gets in, and what goes out is less than what came in.
 *
 * @module
 */

import { deepStrictEqual, ok, strictEqual } from "node:assert/strict";
import { writeU32Le } from "../../lib/base/integers.ts";
import { NATIVE_BACKEND } from "../../lib/crypto/backend.ts";
import { STRANGER_HANDSHAKES } from "../../lib/session/limits.ts";
import { mac1Key, writeMac1 } from "../../lib/session/mac.ts";
import { DATAGRAM_LENGTH } from "../../lib/wire/datagram.ts";
import {
  numbered,
  numberOf,
  PORT,
  recordedOf,
  spoofedEndpoint,
  twoNodes,
} from "./simulated_mesh.ts";

/** Datagrams of the flood in each of the thousand milliseconds. */
const PER_MS = 20;
/** There and back, between any two hosts. */
const RTT_MS = 10;
const FROM_CAROL = 1_000_000;

for (const hasMac1 of [false, true]) {
  const kind = hasMac1 ? "with" : "without";
  Deno.test(`a flood ${kind} mac1: transfers go on, and a peer gets in two round trips later`, async () => {
    const { mesh, clock, network, alice, bob } = twoNodes();
    const carol = mesh.add("carol");
    const dave = mesh.add("dave");
    mesh.introduceAll();
    network.setQuality({ delayMs: RTT_MS / 2 });
    dave.send(alice, numbered(0));
    const normal = clock.advanceUntil(() => alice.received.length > 0, 1000)!;
    ok(alice.pingInner(bob) !== undefined);
    const key = hasMac1 ? mac1Key(NATIVE_BACKEND, bob.staticKey.publicKey) : undefined;
    network.recorded.length = 0;
    bob.crypto.reset();
    let took: number | undefined;
    for (let ms = 0; ms < 1000; ms++) {
      for (let i = 0; i < PER_MS; i++) {
        const number = ms * PER_MS + i;
        const from = spoofedEndpoint(number);
        network.inject({ from, to: bob.host.endpoint(PORT), datagram: garbage(number, key) });
      }
      alice.send(bob, numbered(ms));
      if (ms === 500) carol.send(bob, numbered(FROM_CAROL));
      clock.advance(1);
      if (bob.received.some((bytes) => numberOf(bytes) === FROM_CAROL)) took ??= ms + 1 - 500;
    }
    clock.advance(100);
    deepStrictEqual(
      bob.received.map(numberOf).filter((number) => number !== FROM_CAROL),
      Array.from({ length: 1000 }, (_, ms) => ms),
      "nothing of the transfer is lost",
    );
    ok(took !== undefined && took <= normal + 2 * RTT_MS, `${took} ms, normally ${normal}`);
    const { burst, perSecond } = STRANGER_HANDSHAKES;
    const spent = hasMac1 ? burst + 1.2 * perSecond : 0;
    ok(bob.crypto.counts.dh <= spent + 8, `${bob.crypto.counts.dh} DH`);
    const cookies = recordedOf(mesh, 4, bob);
    ok(hasMac1 ? cookies.length > 0 : cookies.length === 0);
    ok(cookies.every(({ datagram }) => datagram.length === DATAGRAM_LENGTH.mesh.cookie));
    const others = network.recorded.filter(({ to, datagram }) =>
      datagram[0] !== 4 && !mesh.nodes.some(({ host }) => host.has(to.address))
    );
    deepStrictEqual(others.length, 0, "strangers get nothing else");
    const { "bad-mac1": refused = 0, "under-load": challenged = 0 } = bob.drops();
    if (hasMac1) ok(challenged > 1000 * PER_MS - spent - 100);
    else strictEqual(refused, 1000 * PER_MS);
    await mesh.close();
  });
}

Deno.test("a node that was challenged repeats its initiation with the cookie, path by path", async () => {
  const { mesh, clock, network, alice, bob } = twoNodes();
  const key = mac1Key(NATIVE_BACKEND, bob.staticKey.publicKey);
  const flood = (ms: number) => {
    for (let i = 0; i < PER_MS; i++) {
      const number = ms * PER_MS + i;
      const datagram = garbage(number, key);
      network.inject({ from: spoofedEndpoint(number), to: bob.host.endpoint(PORT), datagram });
    }
    clock.advance(1);
  };
  for (let ms = 0; ms < 20; ms++) flood(ms);
  network.recorded.length = 0;
  // The first answer on each path is lost: the next copy there has mac2 already.
  let lost = 0;
  network.adversary = (flight) => flight.datagram[0] === 2 && lost++ < 2 ? [] : [flight];
  alice.send(bob, numbered(7));
  for (let ms = 20; ms < 320; ms++) flood(ms);
  deepStrictEqual(bob.received.map(numberOf), [7]);
  const sent = recordedOf(mesh, 1, alice);
  const messages = new Set(sent.map(({ datagram }) => datagram.subarray(0, -16).join()));
  strictEqual(messages.size, 1, "the same message 1 all along");
  const proofs = sent.filter(({ datagram }) => datagram.subarray(-16).some((byte) => byte !== 0));
  const byDestination = Map.groupBy(proofs, ({ to }) => to.address.join());
  strictEqual(byDestination.size, 2, "mac2 is per path");
  strictEqual(new Set(proofs.map(({ datagram }) => datagram.join())).size, 2);
  ok(proofs.length > 2, "and repeated");
  strictEqual(bob.drops()["bad-mac2"], undefined);
  await mesh.close();
});

/** An initiation with nothing in it, each another; without a key its mac1 is wrong. */
function garbage(number: number, key?: Uint8Array): Uint8Array {
  const datagram = new Uint8Array(DATAGRAM_LENGTH.mesh.initiation).fill(0x5a, 8, 120);
  datagram.set([1, 1, 1, 0]);
  writeU32Le(datagram, 8, number);
  if (key !== undefined) writeMac1(NATIVE_BACKEND, key, datagram);
  return datagram;
}
