/**
 * What happens by the clock alone: retries, rekeys, expiry, keepalives, silence.
 *
 * @module
 */

import { deepStrictEqual, ok, strictEqual } from "node:assert/strict";
import { lowerLimits } from "../../lib/session/limits.ts";
import { isData } from "../../lib/wire/datagram.ts";
import { INITIATION, session } from "./handshake_scene.ts";
import { type Node, World } from "./world.ts";

/** Keeps packets going both ways for a while. */
function talk(world: World, a: Node, b: Node, ms: number, everyMs = 100): void {
  for (let at = 0; at < ms; at += everyMs) {
    a.send(b, 7);
    b.send(a, 7);
    world.run(everyMs);
  }
}

Deno.test("An unanswered handshake is repeated, freshly, after 1, 2, 4, then every 5 s", () => {
  const world = new World();
  const [a, b] = world.pair();
  const sentAt: number[] = [];
  const startedAt = world.clock.now();
  world.wire = () => (sentAt.push(world.clock.now() - startedAt), []);
  a.send(b, 1);
  world.run(200_000);
  const waits = sentAt.slice(1).map((at, i) => at - sentAt[i]!);
  const wanted = [1_000, 2_000, 4_000, ...new Array<number>(waits.length - 3).fill(5_000)];
  waits.forEach((wait, i) => {
    ok(wait >= wanted[i]! && wait < wanted[i]! + 334, `wait ${i} is ${wait}`);
  });
  ok(new Set(waits.map((wait, i) => wait - wanted[i]!)).size > 3, "with jitter");
  ok(sentAt.at(-1)! < 90_000);
  deepStrictEqual(a.gaveUp, [b.nodeId]);
  const bytes = world.logged(INITIATION).map((flight) => flight.datagram.slice(8, 40).toString());
  strictEqual(new Set(bytes).size, bytes.length, "each with its own ephemeral key");
  strictEqual(a.sessions.nextDeadlineAt(world.clock.now()), Infinity);
});

Deno.test("Giving up comes 90 s after the session was wanted, and a new want starts anew", () => {
  const world = new World();
  const [a, b] = world.pair();
  world.wire = () => [];
  a.send(b, 1);
  world.run(89_999);
  deepStrictEqual(a.gaveUp, []);
  world.run(1);
  deepStrictEqual(a.gaveUp, [b.nodeId]);
  world.wire = (flight) => [flight];
  a.send(b, 2);
  world.run(100);
  deepStrictEqual(b.delivered, [2], "what was queued before is gone");
});

Deno.test("Nothing on the wire and no deadline when nobody has anything to say", () => {
  const [world, a, b] = session();
  world.run(1_500);
  const before = world.log.length;
  world.run(600_000);
  strictEqual(world.log.length, before, "idle peers send nothing");
  for (const [node, peer] of [[a, b], [b, a]] as const) {
    strictEqual(node.sessions.nextDeadlineAt(world.clock.now()), Infinity);
    strictEqual(node.peer(peer).keypairs.length, 0);
    strictEqual(node.keys.size, 0);
  }
});

Deno.test("The initiator rekeys at 120 s when the session is in use, the responder does not", () => {
  const [world, a, b] = session();
  talk(world, a, b, 119_500);
  strictEqual(world.logged(INITIATION).length, 1);
  talk(world, a, b, 3_000);
  deepStrictEqual(world.logged(INITIATION).map((flight) => flight.from), ["a", "a"]);
  strictEqual(b.peer(a).handshakes, 2);
  strictEqual(a.peer(b).current!.isInitiator, true);
});

Deno.test("One-way traffic from the responder is rekeyed, too", () => {
  const [world, a, b] = session();
  for (let i = 0; i < 2_400; i++) {
    b.send(a, 10 + i);
    world.run(100);
  }
  strictEqual(a.delivered.length, 2_401);
  deepStrictEqual(world.logged(INITIATION).map((flight) => flight.from), ["a", "a"]);
});

Deno.test("An unused session is not rekeyed; the next packet starts a handshake", () => {
  const [world, a, b] = session();
  world.run(179_000);
  strictEqual(world.logged(INITIATION).length, 1);
  world.run(2_000);
  strictEqual(a.peer(b).current, undefined);
  a.send(b, 3);
  world.run(50);
  ok(b.delivered.includes(3));
  strictEqual(world.logged(INITIATION).length, 2);
});

Deno.test("Messages bring a rekey, too, whoever sends them", () => {
  const limits = lowerLimits({ rekeyAfterMessages: 20 });
  for (const sender of ["a", "b"]) {
    const [world, a, b] = session({ limits });
    for (let i = 0; i < 60; i++) {
      if (sender === "a") a.send(b, i);
      else b.send(a, i);
      world.run(100);
    }
    ok(world.logged(INITIATION).length >= 3, `by ${sender}`);
    ok(world.logged(INITIATION).every((flight) => flight.from === "a"));
  }
});

Deno.test("A keypair that the peer has not used yet is not rekeyed: it would be replaced there", () => {
  const limits = lowerLimits({ rekeyAfterMessages: 16 });
  const world = new World();
  const [a, b] = world.pair({ limits }, { limits });
  // All data takes longer than a handshake, as it does when a burst fills a queue on the way.
  world.wire = (flight) => [{ ...flight, delayMs: isData(flight.datagram) ? 700 : 10 }];
  for (let i = 0; i < 30; i++) a.send(b, i);
  for (let i = 30; i < 60; i++) {
    world.run(50);
    a.send(b, i);
  }
  world.run(3_000);
  deepStrictEqual(b.delivered, Array.from({ length: 60 }, (_, i) => i), "none is lost");
});

Deno.test("A keypair used up before its rekey makes its sender start one", () => {
  const limits = lowerLimits({ rekeyAfterMessages: 16, rejectAfterMessages: 16 });
  const [world, a, b] = session({ limits });
  for (let i = 0; i < 200; i++) {
    b.send(a, 100 + i);
    world.run(5);
  }
  world.run(1_000);
  const heard = a.delivered.filter((number) => number >= 100);
  deepStrictEqual(heard, Array.from({ length: 200 }, (_, i) => 100 + i), "none is lost");
});

Deno.test("T26: keys are wiped at 540 s, and not needed for it", () => {
  const [world, a, b] = session();
  const keypairs = [a.peer(b).current!, b.peer(a).current!];
  world.run(539_000);
  ok(keypairs.every((keypair) => !keypair.isRetired));
  world.run(1_100);
  for (const keypair of keypairs) {
    ok(keypair.isRetired);
    deepStrictEqual([...keypair.sendKey, ...keypair.receiveKey], new Array(64).fill(0));
  }
});

Deno.test("At most four keypairs per peer, the oldest goes first, never the current one", () => {
  const [world, a, b] = session();
  const first = a.peer(b).current!;
  for (let i = 0; i < 10; i++) {
    a.act(a.sessions.renew(b.nodeId, world.clock.now()));
    world.run(100);
    strictEqual(first.isRetired, i >= 3, `after ${i + 2} handshakes`);
    for (const [node, peer] of [[a, b], [b, a]] as const) {
      ok(node.peer(peer).keypairs.length <= 4);
      strictEqual(node.keys.size, node.peer(peer).keypairs.length);
    }
  }
  a.send(b, 3);
  world.run(50);
  ok(b.delivered.includes(3));
});

Deno.test("A keypair opens data in whatever place it is", () => {
  const [world, a, b] = session();
  const late: typeof world.log = [];
  for (let i = 0; i < 3; i++) {
    world.wire = (flight) =>
      isData(flight.datagram) && late.length === i ? (late.push(flight), []) : [flight];
    a.send(b, 100 + i);
    world.wire = (flight) => [flight];
    a.act(a.sessions.renew(b.nodeId, world.clock.now()));
    world.run(100);
  }
  for (const flight of late) world.deliver(flight);
  world.run(50);
  deepStrictEqual(b.delivered.slice(1).toSorted(), [100, 101, 102]);
});

Deno.test("A keepalive says after 10 s that packets arrived", () => {
  const [world, a, b] = session();
  // The sender does not ask by itself in this test: its echoes get lost.
  world.wire = (flight) => flight.from === "a" && flight.datagram.length > 60 ? [] : [flight];
  const before = world.log.length;
  b.receive(dataOf(world, a, b), "a");
  world.run(9_900);
  strictEqual(world.log.slice(before).filter((flight) => flight.from === "b").length, 0);
  world.run(200);
  const sent = world.log.slice(before).filter((flight) => flight.from === "b");
  deepStrictEqual(sent.map((flight) => flight.datagram.length), [32]);
  world.run(60_000);
  strictEqual(world.log.slice(before).filter((flight) => flight.from === "b").length, 1);
});

/** A datagram with a packet from a to b, kept from the wire and from a's own timers. */
function dataOf(world: World, a: Node, b: Node): Uint8Array {
  const wire = world.wire;
  world.wire = () => [];
  a.send(b, 3);
  const { datagram } = world.log.at(-1)!;
  a.peer(b).current!.activity.payloadSentAt = -Infinity;
  world.wire = wire;
  return datagram;
}

Deno.test("A persistent keepalive goes out every 25 s, and keeps the session for ever", () => {
  const world = new World();
  const [a, b] = world.pair();
  const peer = { nodeId: b.nodeId, staticKey: b.key.publicKey, persistentKeepalive: true };
  a.sessions.addPeer(peer);
  world.arm(a);
  world.run(50);
  strictEqual(a.peer(b).handshakes, 1, "it starts the session, too");
  world.run(5_000);
  const before = world.log.length;
  world.run(100_000);
  const sent = world.log.slice(before).filter((flight) => flight.from === "a");
  deepStrictEqual(sent.map((flight) => flight.datagram.length), [32, 32, 32, 32]);
  world.run(600_000);
  ok(a.peer(b).current !== undefined);
  ok(a.peer(b).handshakes >= 5);
});

// Silence.

Deno.test("A peer that lost its keys is noticed in about two seconds of traffic", () => {
  const [world, a, b] = session();
  const startedAt = world.clock.now();
  const restarted = b.restarted();
  restarted.knows(a);
  while (restarted.delivered.length === 0 && world.clock.now() < startedAt + 10_000) {
    a.send(restarted, 9);
    world.run(50);
  }
  const took = world.clock.now() - startedAt;
  ok(took >= 1_750 && took < 2_000, `${took} ms`);
});

Deno.test("A peer that is gone is noticed as soon after a handshake of many tries", () => {
  const world = new World();
  const [a, b] = world.pair();
  world.wire = () => [];
  a.act(a.sessions.initiate(b.nodeId, world.clock.now()));
  world.run(700);
  world.wire = (flight) => [flight];
  // The same initiation goes out again, as while holes are punched.
  a.act([{ kind: "send", peer: b.nodeId, datagram: a.peer(b).outstanding! }]);
  world.run(50);
  b.send(a, 1);
  world.run(50);
  deepStrictEqual(a.delivered, [1]);
  world.wire = () => [];
  const goneAt = world.clock.now();
  while (!a.peer(b).isSilent && world.clock.now() < goneAt + 10_000) {
    a.send(b, 9);
    world.run(50);
  }
  const took = world.clock.now() - goneAt;
  ok(took >= 1_750 && took < 1_900, `${took} ms`);
});

Deno.test("A silent keypair is asked once, then a handshake goes everywhere while sending goes on", () => {
  const [world, a, b] = session();
  world.run(1_500);
  a.candidates.set(b.nodeId, ["b", "elsewhere"]);
  world.wire = () => [];
  const before = world.log.length;
  for (let i = 0; i < 25; i++) {
    a.send(b, 100 + i);
    world.run(100);
  }
  const sent = world.log.slice(before);
  strictEqual(a.peer(b).isSilent, true);
  strictEqual(sent.filter((flight) => flight.datagram.length === 32 + 10).length, 1, "one echo");
  strictEqual(
    sent.filter((flight) => flight.datagram.length === 32 + 24).length,
    25,
    "all packets",
  );
  deepStrictEqual(
    sent.filter((flight) => flight.datagram[0] === INITIATION).map((flight) => flight.to),
    ["b", "elsewhere"],
  );
});

Deno.test("Silence ends with the first datagram that authenticates", () => {
  const [world, a, b] = session();
  world.wire = () => [];
  for (let i = 0; i < 25; i++) {
    a.send(b, 100 + i);
    world.run(100);
  }
  strictEqual(a.peer(b).isSilent, true);
  world.wire = (flight) => flight.datagram[0] === INITIATION ? [] : [flight];
  b.send(a, 3);
  world.run(1_100);
  strictEqual(a.peer(b).isSilent, false);
});

Deno.test("A peer that never comes back is given up, and asked again only for new packets", () => {
  const [world, a, b] = session();
  world.wire = () => [];
  a.send(b, 100);
  world.run(95_000);
  strictEqual(a.gaveUp.length, 1);
  const before = world.log.length;
  world.run(75_000);
  strictEqual(world.log.length, before, "it is quiet");
  a.send(b, 101);
  world.run(2_500);
  strictEqual(world.log.at(-1)!.datagram[0], INITIATION, "and asks again");
});

Deno.test("An echo measures the round trip, which silence waits three times for", () => {
  const world = new World();
  const [a, b] = world.pair();
  world.wire = (flight) => [{ ...flight, delayMs: 400 }];
  a.act(a.sessions.echo(b.nodeId, world.clock.now()));
  world.run(10_000);
  deepStrictEqual(a.echoed, [800]);
  strictEqual(a.peer(b).handshakes, 2, "once it was too slow, before that was known");
  strictEqual(a.peer(b).rttMs, 800);
  const before = world.log.length;
  a.send(b, 1);
  world.run(2_300);
  strictEqual(world.log.length, before + 1, "no echo within 2.4 s");
  world.wire = () => [];
  a.send(b, 2);
  world.run(200);
  strictEqual(world.log.at(-1)!.datagram.length, 42, "an echo");
});

Deno.test("An echo that met a dead session is answered by the next one", () => {
  const [world, a, b] = session();
  const restarted = b.restarted();
  restarted.knows(a);
  a.act(a.sessions.echo(b.nodeId, world.clock.now()));
  world.run(3_000);
  strictEqual(a.echoed.length, 1);
  strictEqual(a.peer(restarted).handshakes, 2);
});

Deno.test("A lost first datagram of the initiator is made good within about a second", () => {
  const world = new World();
  const [a, b] = world.pair();
  let lost = 0;
  world.wire = (flight) => isData(flight.datagram) && lost++ === 0 ? [] : [flight];
  a.act(a.sessions.initiate(b.nodeId, world.clock.now()));
  world.run(100);
  strictEqual(b.peer(a).current, undefined);
  world.run(1_100);
  ok(b.peer(a).current !== undefined);
  strictEqual(world.logged(INITIATION).length, 1);
});

Deno.test("Ends that go say so, and the other end forgets the session", () => {
  const [world, a, b] = session();
  const keypair = a.peer(b).current!;
  a.act(a.sessions.stop(world.clock.now()));
  ok(keypair.isRetired);
  strictEqual(a.keys.size, 0);
  strictEqual(a.sessions.peer(b.nodeId), undefined);
  world.run(50);
  deepStrictEqual(b.left, [a.nodeId]);
  strictEqual(b.peer(a).keypairs.length, 0);
  strictEqual(b.keys.size, 0);
});

Deno.test("A bye that the next handshake overtook ends only what was there before it", () => {
  const [world, a, b] = session();
  const stale = b.peer(a).current!;
  let bye: Uint8Array | undefined;
  world.wire = (flight) => isData(flight.datagram) ? (bye = flight.datagram, []) : [flight];
  a.act(a.sessions.stop(world.clock.now()));
  world.wire = (flight) => [flight];
  const restarted = a.restarted();
  restarted.knows(b);
  restarted.send(b, 3);
  world.run(50);
  b.receive(bye!, "a");
  ok(stale.isRetired);
  deepStrictEqual(b.left, []);
  restarted.send(b, 4);
  b.send(restarted, 5);
  world.run(50);
  deepStrictEqual([b.delivered, restarted.delivered], [[1, 3, 4], [5]]);
});

Deno.test("A tick leaves nothing due behind, whatever was going on", () => {
  const [world, a, b] = session({ limits: lowerLimits({ rekeyAfterMs: 3_000 }) });
  let number = 0;
  for (let i = 0; i < 400; i++) {
    if (i % 3 === 0) a.send(b, number++);
    if (i % 50 > 30) world.wire = () => [];
    else world.wire = (flight) => [flight];
    world.run(137);
    for (const node of [a, b]) {
      const now = world.clock.now();
      // Actions are thrown away: not even then may the deadline stand still.
      node.sessions.tick(now);
      ok(node.sessions.nextDeadlineAt(now) > now, `at ${now}`);
      world.arm(node);
    }
  }
});
