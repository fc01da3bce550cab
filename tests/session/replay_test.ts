/**
 * What recorded datagrams achieve when they are sent again.
 *
 * @module
 */

import { deepStrictEqual, ok, strictEqual } from "node:assert/strict";
import { INITIATION, RESPONSE } from "./handshake_scene.ts";
import { type Node, World } from "./world.ts";

/** Sends a number and says whether it arrived. */
function passes(world: World, from: Node, to: Node, number: number): boolean {
  from.send(to, number);
  world.run(50);
  return to.delivered.includes(number);
}

Deno.test("T1: an initiation replayed 1,000 times from 3 sources leaves the session alone", () => {
  for (const waitMs of [0, 1_000, 6_000, 100_000]) {
    const world = new World();
    const [a, b] = world.pair();
    ok(passes(world, a, b, 1));
    world.run(waitMs);
    const [initiation] = world.logged(INITIATION);
    const before = b.peer(a);
    b.crypto.reset();
    for (let i = 0; i < 1_000; i++) {
      b.receive(initiation!.datagram, ["a", "x", "y"][i % 3]!);
      if (i % 100 === 0) ok(passes(world, a, b, 100 + i), `after ${i}`);
    }
    const after = b.peer(a);
    strictEqual(after.current, before.current, "0 evictions");
    strictEqual(after.current!.path!.remote, "a", "endpoint unchanged");
    strictEqual(after.handshakes, before.handshakes);
    strictEqual(after.keypairs.length, 1, "no half-open entry");
    ok(passes(world, b, a, 2));
    if (waitMs === 0) strictEqual(b.crypto.counts.dh, 0, "2a answers without a Diffie-Hellman");
    else if (waitMs > 5_000) {
      strictEqual(b.dropped("old-timestamp") + b.dropped("under-load"), 1_000);
    }
  }
});

Deno.test("T1: replays after the repeat time are never answered", () => {
  const world = new World();
  const [a, b] = world.pair();
  ok(passes(world, a, b, 1));
  world.run(5_000);
  const before = world.logged(RESPONSE).length;
  for (const source of ["a", "x", "y"]) b.receive(world.logged(INITIATION)[0]!.datagram, source);
  strictEqual(world.logged(RESPONSE).length, before);
});

Deno.test("T1: replays of allowed-peers are not answered at all", () => {
  const world = new World();
  const [a, b] = world.pair({ profile: "allowed-peers" }, { profile: "allowed-peers" });
  ok(passes(world, a, b, 1));
  for (const source of ["a", "x", "y"]) b.receive(world.logged(INITIATION)[0]!.datagram, source);
  strictEqual(world.logged(RESPONSE).length, 1);
  strictEqual(b.dropped("old-timestamp"), 3);
});

Deno.test("Sessions answer a repeated initiation with the same response, without DH (2a)", () => {
  const world = new World();
  const [a, b] = world.pair();
  let lost = 0;
  world.wire = (flight) => flight.datagram[0] === RESPONSE && lost++ === 0 ? [] : [flight];
  a.send(b, 1);
  world.run(50);
  strictEqual(lost, 1);
  b.crypto.reset();
  world.deliver(world.logged(INITIATION)[0]!);
  world.run(50);
  strictEqual(b.crypto.counts.dh, 0);
  const [first, second] = world.logged(RESPONSE);
  deepStrictEqual(first!.datagram, second!.datagram);
  deepStrictEqual(b.delivered, [1], "a lost response costs no retry timer");
});

Deno.test("Sessions answer by the path a copy came by, on at most four UDP paths", () => {
  const world = new World();
  const [a, b] = world.pair();
  world.wire = () => [];
  a.send(b, 1);
  const { datagram } = world.logged(INITIATION)[0]!;
  for (const source of ["a", "b2", "c", "d", "e", "f"]) b.receive(datagram, source);
  deepStrictEqual(world.logged(RESPONSE).map((flight) => flight.to), ["a", "b2", "c", "d"]);
  strictEqual(b.dropped("rate-limited"), 2);
  const [keypair] = b.peer(a).keypairs;
  deepStrictEqual(keypair!.unconfirmedPaths.map((path) => path.remote), ["a", "b2", "c", "d"]);
  for (const kind of ["relay", "ssh"] as const) {
    for (const key of ["1", "2"]) {
      const path = { kind, key: kind + key, remote: kind };
      const actions = b.sessions.receive(datagram, path, world.clock.now());
      const kinds = actions.map((action) => action.kind);
      deepStrictEqual(kinds, key === "1" ? ["widen", "send"] : ["drop"], `${kind} ${key}`);
    }
  }
});

Deno.test("Sessions keep one answer per peer, and none for long", () => {
  const world = new World();
  const [a, b] = world.pair();
  world.wire = (flight) => flight.from === "a" ? [flight] : [];
  a.send(b, 1);
  world.run(1_500); // a second, fresh initiation
  strictEqual(world.logged(INITIATION).length, 2);
  const before = world.logged(RESPONSE).length;
  b.receive(world.logged(INITIATION)[0]!.datagram, "a");
  strictEqual(world.logged(RESPONSE).length, before, "the first one was replaced");
  strictEqual(b.dropped("old-timestamp"), 1);
  strictEqual(b.peer(a).keypairs.length, 1, "one unconfirmed keypair per peer");
});

Deno.test("T2: a replay after the responder restarted leads to nothing that lasts", () => {
  const world = new World();
  const [a, b] = world.pair();
  ok(passes(world, a, b, 1));
  const recorded = world.log.filter((flight) => flight.to === "b");
  world.nodes.delete("a"); // only its recording speaks
  const restarted = b.restarted();
  restarted.knows(a);
  for (const { datagram } of recorded) restarted.receive(datagram, "a");
  for (const { datagram } of recorded) restarted.receive(datagram, "x");
  strictEqual(restarted.peer(a).current, undefined, "no confirmed session");
  deepStrictEqual(restarted.delivered, []);
  strictEqual(restarted.peer(a).keypairs.length, 1);
  world.run(31_000);
  strictEqual(restarted.peer(a).keypairs.length, 0, "the half-open entry expires");
  const now = world.clock.now();
  strictEqual(restarted.sessions.nextDeadlineAt(now), Infinity, "and nothing is left");
});

Deno.test("T2: after a restart of either end both meet again, by the other's traffic", () => {
  for (const who of ["a", "b"]) {
    const world = new World();
    let [a, b] = world.pair();
    ok(passes(world, a, b, 1));
    if (who === "a") (a = a.restarted()).knows(b);
    else (b = b.restarted()).knows(a);
    const [speaker, listener] = who === "a" ? [b, a] : [a, b];
    // The one that was not restarted believes in the session until nobody answers.
    for (let i = 0; i < 30; i++) {
      speaker.send(listener, 10 + i);
      world.run(100);
    }
    ok(listener.delivered.includes(39), `${who} was restarted`);
    const heard = listener.delivered.filter((number) => number >= 10);
    ok(heard[0]! <= 10 + 22, `noticed within about two seconds, first heard ${heard[0]}`);
    deepStrictEqual(heard, Array.from({ length: heard.length }, (_, i) => heard[0]! + i));
  }
});

Deno.test("T22: every datagram of a session replayed is delivered exactly once", () => {
  const world = new World();
  const [a, b] = world.pair();
  for (let i = 0; i < 20; i++) {
    a.send(b, i);
    world.run(20);
  }
  const recorded = world.log.filter((flight) => flight.to === "b" && flight.datagram[0] === 5);
  for (const { datagram } of [...recorded, ...recorded.toReversed()]) b.receive(datagram, "a");
  deepStrictEqual(b.delivered, Array.from({ length: 20 }, (_, i) => i));
  ok(b.dropped("replayed") >= 40);
});
