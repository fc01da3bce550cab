/**
 * T15 and T16 of docs/protocol.md §7 with whole nodes: a peer that is put out while data flows, and
 * at every moment of a handshake. It is out in both directions when `removePeer` returns, and the
 * others notice nothing.
 *
 * @module
 */

import { deepStrictEqual, ok, strictEqual } from "node:assert/strict";
import { type CryptoBackend, NATIVE_BACKEND } from "../../lib/crypto/backend.ts";
import { lowerLimits } from "../../lib/session/limits.ts";
import { formatEndpoint } from "../../lib/net/endpoint.ts";
import { FakePeerLinks } from "../fakes/peer_carrier.ts";
import { isSoak } from "../fakes/soak.ts";
import {
  type MeshOptions,
  numbered,
  numberOf,
  PORT,
  TestMesh,
  type TestNode,
  twoNodes,
} from "./simulated_mesh.ts";

/** Rekeys all the time, so that a revocation meets handshakes of every age. */
const QUICK = lowerLimits({ rekeyAfterMs: 400 });
/** What bob's and carol's payloads begin with. */
const FROM_BOB = 1_000_000;
const FROM_CAROL = 2_000_000;

/** Nothing is left of a peer at a node. */
function requireOut(node: TestNode, peer: TestNode, when: string): void {
  deepStrictEqual(node.liveKeypairs(peer), [], when);
  strictEqual(node.device.peerStatus(peer.nodeId), undefined, when);
}

/** Datagrams that a node sent to another one by UDP. */
function sentTo(from: TestNode, to: TestNode): number {
  const ends = new Set(to.host.addresses.map((address) => formatEndpoint({ address, port: PORT })));
  return from.mesh.network.recorded.filter((flight) =>
    from.host.has(flight.from.address) && ends.has(formatEndpoint(flight.to))
  ).length;
}

/** How often a kind of payload reached a node. */
function receivedFrom(node: TestNode, first: number): number {
  return node.received.filter((payload) => {
    const number = numberOf(payload);
    return number >= first && number < first + 1_000_000;
  }).length;
}

/** Alice, bob and carol; both others send to alice and she to them, once per millisecond. */
function threeNodes(options: MeshOptions = {}, session = {}) {
  const mesh = new TestMesh({ delayMs: 7, ...options });
  const [alice, bob, carol] = ["alice", "bob", "carol"].map((name) => mesh.add(name, { session }));
  mesh.introduceAll();
  let sent = 0;
  const flow = (ms: number) => {
    for (let i = 0; i < ms; i++, sent++) {
      bob!.send(alice!, numbered(FROM_BOB + sent));
      carol!.send(alice!, numbered(FROM_CAROL + sent));
      alice!.send(bob!, numbered(sent));
      alice!.send(carol!, numbered(sent));
      mesh.clock.advance(1);
    }
  };
  return { mesh, flow, alice: alice!, bob: bob!, carol: carol!, sent: () => sent };
}

const BINDINGS = [{ binding: "strict" }, { binding: "roam" }] as const;
for (const session of BINDINGS) {
  Deno.test(`T15: revoked in the middle of a session, a peer's data stops at once (${session.binding})`, async () => {
    const { mesh, flow, alice, bob, carol, sent } = threeNodes({}, session);
    flow(300);
    const before = {
      delivered: receivedFrom(alice, FROM_BOB),
      sent: sentTo(alice, bob),
      opens: alice.aeadCounts.opens,
      errors: alice.icmpErrors,
    };
    ok(before.delivered > 250, `${before.delivered} of bob's arrived`);
    alice.device.removePeer(bob.nodeId);
    requireOut(alice, bob, "at once");
    const carols = receivedFrom(alice, FROM_CAROL);
    flow(4_000);
    strictEqual(receivedFrom(alice, FROM_BOB), before.delivered, "what was on its way included");
    strictEqual(sentTo(alice, bob), before.sent, "nothing at all is said to it");
    ok(alice.icmpErrors > before.errors, "alice's programs are told that it cannot be reached");
    const opened = alice.aeadCounts.opens - before.opens;
    const fromCarol = receivedFrom(alice, FROM_CAROL) - carols;
    ok(opened >= fromCarol && opened < fromCarol + 100, `${opened} opened, ${fromCarol} carol's`);
    const drops = alice.drops();
    ok(drops["unknown-index"]! > 1_000, "bob's data is for nobody");
    ok(drops["unknown-static-key"]! > 0, "bob's handshakes are a stranger's");
    requireOut(alice, bob, "later");
    mesh.clock.advance(1_000);
    strictEqual(receivedFrom(alice, FROM_CAROL), sent(), "not one of carol's is missing");
    strictEqual(carol.received.length, sent());
    await mesh.close();
  });
}

Deno.test("T15: a peer that is put out by a new list of peers is out in the same way", async () => {
  const { mesh, flow, alice, bob, carol } = threeNodes({ limits: QUICK });
  flow(2_000);
  const [delivered, said] = [receivedFrom(alice, FROM_BOB), sentTo(alice, bob)];
  alice.device.setPeers([carol.asPeer()]);
  requireOut(alice, bob, "at once");
  flow(2_000);
  deepStrictEqual([receivedFrom(alice, FROM_BOB), sentTo(alice, bob)], [delivered, said]);
  await mesh.close();
});

Deno.test("T15: what waits for a peer's first handshake is dropped with it", async () => {
  const { mesh, clock, alice, bob } = twoNodes({ delayMs: 50 });
  for (let i = 0; i < 10; i++) alice.send(bob, numbered(i));
  clock.advance(60);
  strictEqual(alice.statusOf(bob).queued, 10);
  const said = sentTo(alice, bob);
  alice.device.removePeer(bob.nodeId);
  clock.advance(120_000);
  strictEqual(sentTo(alice, bob), said, "no retry either");
  deepStrictEqual(bob.received, []);
  requireOut(alice, bob, "after the response came");
  await mesh.close();
});

Deno.test("T15: who is let in again has a session again, and only a new one", async () => {
  const { mesh, flow, alice, bob } = threeNodes({ limits: QUICK });
  flow(1_000);
  const before = new Set(alice.plane.installed);
  alice.device.removePeer(bob.nodeId);
  flow(500);
  const delivered = receivedFrom(alice, FROM_BOB);
  alice.device.upsertPeer(bob.asPeer());
  flow(5_000);
  ok(receivedFrom(alice, FROM_BOB) > delivered + 1_000);
  ok(alice.liveKeypairs(bob).length > 0);
  ok(alice.liveKeypairs(bob).every((keypair) => !before.has(keypair)));
  await mesh.close();
});

/** Events of a session at which somebody is put out, and the steps between those. */
const EVENTS = isSoak() ? 400 : 120;
const STRIDE = isSoak() ? 1 : 7;

/** How the two nodes meet, for a revocation at every event of it. */
const MEETINGS: [name: string, options: MeshOptions, isUdpBlocked: boolean][] = [
  ["handshakes that cross", { jitterMs: 20, seed: 1 }, false],
  ["lost and doubled datagrams", { jitterMs: 20, loss: 0.2, duplicate: 0.3, seed: 2 }, false],
  ["a relay", { links: relay, seed: 3 }, true],
  ["a relay and a direct path", { links: relay, jitterMs: 20, seed: 4 }, false],
];

function relay(clock: TestMesh["clock"]) {
  return { relay: new FakePeerLinks(clock, "relay", 25) };
}

for (const [name, options, isUdpBlocked] of MEETINGS) {
  Deno.test(`T16: revoked at any event of a session, a peer has none (${name})`, async () => {
    for (let event = 0; event < EVENTS; event += STRIDE) {
      const { mesh, clock, alice, bob } = twoNodes({ delayMs: 10, limits: QUICK, ...options });
      mesh.coordinatorMs = 5;
      if (isUdpBlocked) bob.host.isUdpBlocked = true;
      for (let i = 0; i < 3; i++) {
        alice.send(bob, numbered(i));
        bob.send(alice, numbered(FROM_BOB + i));
      }
      let events = 0;
      clock.advanceUntil(() => {
        if (++events % 10 === 0) {
          bob.send(alice, numbered(FROM_BOB));
          alice.send(bob, numbered(0));
        }
        return events > event;
      }, 60_000);
      alice.device.removePeer(bob.nodeId);
      const [delivered, said] = [receivedFrom(alice, FROM_BOB), sentTo(alice, bob)];
      let handshakes = 0;
      for (let i = 0; i < 40; i++) {
        bob.send(alice, numbered(FROM_BOB + i));
        alice.send(bob, numbered(i));
        clock.advance(i < 30 ? 10 : 250);
        requireOut(alice, bob, `event ${event}`);
        // By then nothing is under way any more.
        if (i === 30) handshakes = bob.statusOf(alice).handshakes;
      }
      strictEqual(receivedFrom(alice, FROM_BOB), delivered, `event ${event}: nothing is taken`);
      strictEqual(sentTo(alice, bob), said, `event ${event}: nothing is said`);
      strictEqual(bob.statusOf(alice).handshakes, handshakes, `event ${event}: nor answered`);
      await mesh.close();
    }
  });
}

/** A backend in the midst of whose work something happens, once. */
class Interrupting {
  #callsLeft = Infinity;
  #interrupt = () => {};

  readonly backend: CryptoBackend = new Proxy(NATIVE_BACKEND, {
    get: (target, property, receiver) => {
      const value: unknown = Reflect.get(target, property, receiver);
      if (typeof value !== "function") return value;
      return (...args: unknown[]) => {
        if (this.#callsLeft-- === 0) this.#interrupt();
        return Reflect.apply(value, target, args);
      };
    },
  });

  /** Has something happen before the `step`-th call from here on. */
  arm(step: number, interrupt: () => void): void {
    this.#callsLeft = step;
    this.#interrupt = interrupt;
  }
}

const SIDES = ["initiator", "responder"] as const;
for (const side of SIDES) {
  Deno.test(`T16: revoked at any step of the ${side}'s work, a peer has no keypair to open or seal with`, async () => {
    let isReached = true;
    let step = 0;
    for (; isReached; step++) {
      isReached = false;
      const mesh = new TestMesh();
      const crypto = new Interrupting();
      const alice = mesh.add("alice", { session: { crypto: crypto.backend } });
      const bob = mesh.add("bob");
      mesh.introduceAll();
      crypto.arm(step, () => {
        isReached = true;
        alice.device.removePeer(bob.nodeId);
      });
      const [first, second] = side === "initiator" ? [alice, bob] : [bob, alice];
      first.send(second, numbered(1));
      mesh.clock.advance(200);
      first.send(second, numbered(2));
      mesh.clock.advance(200);
      if (isReached) {
        requireOut(alice, bob, `step ${step}`);
        ok(alice.plane.inUse.get(bob.nodeId)?.isRetired ?? true, `step ${step}`);
      } else {
        strictEqual(second.received.length, 2, "without it, all arrives");
      }
      await mesh.close();
    }
    ok(step > 20, `${step} steps`);
  });
}
