/**
 * What forged, altered and doubled handshake datagrams achieve.
 *
 * @module
 */

import { deepStrictEqual, ok, strictEqual } from "node:assert/strict";
import { INITIATION, meet, RESPONSE, withMac1 } from "./handshake_scene.ts";
import { type Flight, World } from "./world.ts";

function altered(datagram: Uint8Array, at: number, bit = 1): Uint8Array {
  const copy = Uint8Array.from(datagram);
  copy[at]! ^= bit;
  return copy;
}

Deno.test("T9: every altered byte of message 1 is refused, and the real one still completes", () => {
  const world = new World();
  const [a, b] = world.pair();
  let held: Flight | undefined;
  world.wire = (flight) => flight.datagram[0] === INITIATION ? (held ??= flight, []) : [flight];
  a.send(b, 1);
  for (let at = 0; at < 136; at++) {
    const forged = altered(held!.datagram, at);
    // From everywhere and slowly, so that each gets as far as it can.
    b.receive(at < 120 ? withMac1(forged, b) : forged, `a${at}`);
    world.run(6);
  }
  strictEqual(b.peer(a).keypairs.length, 0);
  strictEqual(world.log.filter((flight) => flight.from === "b").length, 0, "0 bytes sent");
  world.deliver(held!);
  world.run(100);
  deepStrictEqual(b.delivered, [1]);
});

Deno.test("T9: every altered byte of message 2 is refused, and the real one still completes", () => {
  const world = new World();
  const [a, b] = world.pair();
  let held: Flight | undefined;
  world.wire = (flight) => flight.datagram[0] === RESPONSE ? (held ??= flight, []) : [flight];
  a.send(b, 1);
  world.run(50);
  for (let at = 0; at < 80; at++) {
    const forged = altered(held!.datagram, at);
    a.receive(at < 64 ? withMac1(forged, a) : forged, "b");
    strictEqual(a.peer(b).current, undefined, `byte ${at}`);
  }
  world.deliver(held!);
  world.run(50);
  deepStrictEqual(b.delivered, [1]);
});

Deno.test("T9: another sender index in message 2's header is refused, mac1 or not", () => {
  const world = new World();
  const [a, b] = world.pair();
  world.wire = (flight) => {
    if (flight.datagram[0] !== RESPONSE) return [flight];
    const forged = withMac1(altered(flight.datagram, 4), a);
    return [{ ...flight, datagram: forged, delayMs: 5 }, flight];
  };
  ok(meet(world, a, b));
  strictEqual(a.dropped("bad-handshake"), 1);
  strictEqual(a.peer(b).current!.remoteIndex, b.peer(a).current!.localIndex);
});

Deno.test("T9: doubled messages change nothing", () => {
  const world = new World();
  const [a, b] = world.pair();
  world.wire = (flight) => [flight, flight, { ...flight, delayMs: 30 }];
  ok(meet(world, a, b));
  deepStrictEqual([a.peer(b).handshakes, b.peer(a).handshakes], [1, 1]);
  deepStrictEqual([a.peer(b).keypairs.length, b.peer(a).keypairs.length], [1, 1]);
});

Deno.test("T9: a response to nobody's initiation is dropped without a Diffie-Hellman", () => {
  const world = new World();
  const [a, b] = world.pair();
  ok(meet(world, a, b));
  const response = world.logged(RESPONSE)[0]!;
  a.crypto.reset();
  world.deliver(response);
  world.run(50);
  deepStrictEqual([a.crypto.counts.dh, a.dropped("no-handshake-outstanding")], [0, 1]);
});

Deno.test("T31: no bit of any handshake datagram may flip", () => {
  // Every byte once with another bit, in place of the real one; then nothing must come of it.
  for (const type of [INITIATION, RESPONSE]) {
    const length = type === INITIATION ? 136 : 80; // all but mac2, which nobody looks at yet
    for (let at = 0; at < length; at += 3) {
      const world = new World(at);
      const [a, b] = world.pair();
      world.wire = (flight) =>
        flight.datagram[0] === type
          ? [{ ...flight, datagram: altered(flight.datagram, at, 1 << (at % 8)) }]
          : [flight];
      a.send(b, 1);
      world.run(60);
      deepStrictEqual(
        [a.peer(b).current, b.peer(a).current, b.delivered],
        [undefined, undefined, []],
        `type ${type} byte ${at}`,
      );
    }
  }
});

Deno.test("T4: datagrams without a right mac1 cost one hash and get nothing", () => {
  const world = new World();
  const [a, b] = world.pair();
  a.send(b, 1);
  const [initiation] = world.logged(INITIATION);
  const forged = altered(initiation!.datagram, 40);
  b.crypto.reset();
  for (let i = 0; i < 1_000; i++) b.receive(forged, "x");
  deepStrictEqual(b.crypto.counts, { dh: 0, hash: 1_000, aead: 0, keys: 0 });
  strictEqual(world.log.filter((flight) => flight.from === "b").length, 0);
  world.run(100);
  deepStrictEqual(b.delivered, [1], "a real handshake in between succeeds");
});

Deno.test("T27: datagrams of every length and type end as a drop", () => {
  const world = new World();
  const [a, b] = world.pair();
  ok(meet(world, a, b));
  for (let type = 0; type < 8; type++) {
    for (let length = 0; length < 200; length++) {
      const datagram = new Uint8Array(length).fill(1);
      if (length > 0) datagram[0] = type;
      const actions = b.sessions.receive(datagram, b.pathTo("a"), world.clock.now());
      deepStrictEqual(actions.map((action) => action.kind), ["drop"], `type ${type}, ${length}`);
    }
  }
});
