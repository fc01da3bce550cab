/**
 * What a handshake leads to, and what it leaves behind.
 *
 * @module
 */

import { deepStrictEqual, notDeepStrictEqual, ok, strictEqual } from "node:assert/strict";
import { compareBytes } from "../../lib/base/bytes.ts";
import { macFields } from "../../lib/wire/datagram.ts";
import { INITIATION, meet, RESPONSE } from "./handshake_scene.ts";
import { World } from "./world.ts";

Deno.test("Sessions carry a packet each way after one handshake", () => {
  const world = new World();
  const [a, b] = world.pair();
  a.send(b, 1);
  world.run(100);
  b.send(a, 2);
  world.run(100);
  deepStrictEqual([a.delivered, b.delivered], [[2], [1]]);
  deepStrictEqual([...a.drops, ...b.drops], []);
  strictEqual(world.logged(INITIATION).length, 1);
  strictEqual(world.logged(RESPONSE).length, 1);
  ok(a.peer(b).current?.isInitiator);
  deepStrictEqual([a.peer(b).handshakes, b.peer(a).handshakes], [1, 1]);
  ok(compareBytes(a.key.publicKey, b.key.publicKey) < 0, "a is the smaller one, as pair() says");
});

Deno.test("Sessions of profile allowed-peers meet without a preshared key", () => {
  const world = new World();
  const [a, b] = world.pair({ profile: "allowed-peers" }, { profile: "allowed-peers" });
  ok(meet(world, a, b));
  strictEqual(world.logged(INITIATION)[0]!.datagram.length, 148);
});

Deno.test("Sessions spend four Diffie-Hellmans at each end of a handshake", () => {
  const world = new World();
  const [a, b] = world.pair();
  ok(meet(world, a, b));
  deepStrictEqual([a.crypto.counts.dh, b.crypto.counts.dh], [4, 4]);
});

Deno.test("Sessions keep the responder's keypair unconfirmed until data authenticates", () => {
  const world = new World();
  const [a, b] = world.pair();
  world.wire = (flight) => flight.datagram[0] === 5 ? [] : [flight];
  a.send(b, 1);
  world.run(100);
  strictEqual(b.peer(a).current, undefined, "not used to send");
  strictEqual(b.peer(a).keypairs.length, 1);
  strictEqual(b.peer(a).keypairs[0]!.isConfirmed, false);
  strictEqual(b.peer(a).handshakes, 0);
  ok(a.peer(b).current !== undefined);
});

Deno.test("Sessions ask for authorisation again when a keypair is confirmed", () => {
  const world = new World();
  const [a, b] = world.pair();
  a.send(b, 1);
  world.run(15); // answered, and the response is on its way
  const [keypair] = b.peer(a).keypairs;
  strictEqual(b.peer(a).outstanding, undefined);
  // The data plane still has the keypair when its peer is removed: as if both crossed.
  b.sessions.removePeer(a.nodeId);
  const actions = b.sessions.confirmed(keypair!, b.pathTo("a"), world.clock.now());
  deepStrictEqual(actions.map((action) => action.kind), ["retire", "drop"]);
  ok(keypair!.isRetired && !keypair!.isConfirmed);
});

Deno.test("Sessions: a removed peer loses its session at once, both ways, with its answers", () => {
  const world = new World();
  const [a, b] = world.pair();
  ok(meet(world, a, b));
  const keypair = b.peer(a).current!;
  b.act(b.sessions.removePeer(a.nodeId));
  ok(keypair.isRetired);
  deepStrictEqual(keypair.sendKey, new Uint8Array(32));
  deepStrictEqual(keypair.receiveKey, new Uint8Array(32));
  strictEqual(b.sessions.nextDeadlineAt(world.clock.now()), Infinity);

  // "Revocation deletes it": the initiation answered 100 ms ago gets no answer any more.
  const before = world.log.length;
  world.deliver(world.logged(INITIATION)[0]!);
  a.send(b, 2);
  world.run(100);
  deepStrictEqual(b.delivered, [1]);
  strictEqual(world.log.slice(before).filter((flight) => flight.from === "b").length, 0);
  deepStrictEqual([b.dropped("unknown-static-key"), b.dropped("unknown-index")], [1, 1]);
});

Deno.test("T34: a second handshake shares no index and no ephemeral key with the first", () => {
  const world = new World();
  const [a, b] = world.pair();
  ok(meet(world, a, b));
  a.act(a.sessions.renew(b.nodeId, world.clock.now()));
  world.run(100);
  const [first, second] = world.logged(INITIATION);
  const [firstResponse, secondResponse] = world.logged(RESPONSE);
  for (const [before, after] of [[first, second], [firstResponse, secondResponse]]) {
    const [x, y] = [before!.datagram, after!.datagram];
    notDeepStrictEqual(x.slice(4, 8), y.slice(4, 8), "sender index");
    const header = x[0] === INITIATION ? 8 : 12;
    for (let at = header; at + 16 <= macFields(x).beforeMac2.length; at += 16) {
      notDeepStrictEqual(x.slice(at, at + 16), y.slice(at, at + 16), `bytes ${at}`);
    }
  }
  const indices = a.peer(b).keypairs.flatMap((k) => [k.localIndex, k.remoteIndex]);
  strictEqual(new Set(indices).size, 4);
});

Deno.test("T36: a keypair shows no key as JSON, and can still be copied to another thread", () => {
  const world = new World();
  const [a, b] = world.pair();
  ok(meet(world, a, b));
  const keypair = a.peer(b).current!;
  const json = JSON.stringify(a.peer(b));
  strictEqual(JSON.stringify(keypair), `{"peer":"${b.nodeId}","localIndex":${keypair.localIndex}}`);
  ok(!json.includes("Key"), json);
  deepStrictEqual(structuredClone(keypair).sendKey, keypair.sendKey);
});

Deno.test("Sessions free the index of an abandoned handshake", () => {
  const world = new World();
  const [a, b] = world.pair();
  world.wire = () => [];
  a.send(b, 1);
  a.act(a.sessions.removePeer(b.nodeId));
  strictEqual(a.sessions.nextDeadlineAt(world.clock.now()), Infinity);
  world.wire = (flight) => [flight];
  world.deliver(world.logged(INITIATION)[0]!);
  world.run(100);
  strictEqual(a.dropped("no-handshake-outstanding"), 1, "its index is free again");
});
