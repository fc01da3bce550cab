/**
 * Who gets a session with whom, and what forged or altered handshakes achieve.
 *
 * @module
 */

import { deepStrictEqual, notDeepStrictEqual, ok, strictEqual, throws } from "node:assert/strict";
import { compareBytes } from "../../lib/base/bytes.ts";
import { NATIVE_BACKEND } from "../../lib/crypto/backend.ts";
import type { DropReason } from "../../lib/session/actions.ts";
import type { SessionProfile } from "../../lib/session/handshake_messages.ts";
import { mac1Key, writeMac1 } from "../../lib/session/mac.ts";
import { PskRing } from "../../lib/session/psk_ring.ts";
import { macFields } from "../../lib/wire/datagram.ts";
import { type Flight, Node, type NodeOptions, World } from "./world.ts";

const INITIATION = 1;
const RESPONSE = 2;

/** Epochs held: current, previous, next. */
type Epochs = [current: number, previous?: number | undefined, next?: number | undefined];

/** A ring of epochs, each key filled with its own number unless another is given. */
function ring(...keys: Epochs): PskRing {
  const of = (epoch?: number) =>
    epoch === undefined ? undefined : { epoch, psk: new Uint8Array(32).fill(epoch) };
  return new PskRing({ current: of(keys[0])!, previous: of(keys[1]), next: of(keys[2]) });
}

/** Sends a packet from a to b and says whether both ends have a session afterwards. */
function meet(world: World, a: Node, b: Node, ms = 100): boolean {
  a.send(b, 1);
  world.run(ms);
  const ends = [a.peer(b)?.current, b.peer(a)?.current];
  strictEqual(ends[0] === undefined, ends[1] === undefined, "one end alone has a session");
  deepStrictEqual(b.delivered, ends[0] === undefined ? [] : [1]);
  return ends[0] !== undefined;
}

/** Gives an altered handshake datagram the mac1 it needs, which anybody can. */
function withMac1(datagram: Uint8Array, receiver: Node): Uint8Array {
  writeMac1(NATIVE_BACKEND, mac1Key(NATIVE_BACKEND, receiver.key.publicKey), datagram);
  return datagram;
}

function altered(datagram: Uint8Array, at: number, bit = 1): Uint8Array {
  const copy = Uint8Array.from(datagram);
  copy[at]! ^= bit;
  return copy;
}

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

// Forged and altered messages.

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

// Who is who.

Deno.test("T10: a node refuses itself as a peer", () => {
  const world = new World();
  const a = world.node("a");
  throws(() => a.knows(a), RangeError);
});

Deno.test("T10: reflected handshake datagrams lead to no session", () => {
  const world = new World();
  const [a, b] = world.pair();
  // Whatever a node sends comes back to it, from where it went.
  world.wire = (flight) => [{ ...flight, from: flight.to, to: flight.from }];
  a.send(b, 1);
  b.send(a, 2);
  world.run(5_000);
  deepStrictEqual([a.peer(b).current, b.peer(a).current], [undefined, undefined]);
  strictEqual(a.dropped("bad-mac1"), world.logged(INITIATION).filter((f) => f.from === "a").length);
  strictEqual(a.crypto.counts.dh, 2 * a.dropped("bad-mac1"), "none but for writing message 1");
});

Deno.test("T10: a node that is told its own key under another name refuses it", () => {
  const world = new World();
  const a = world.node("a");
  const itself = { nodeId: "f".repeat(64), staticKey: a.key.publicKey };
  throws(() => a.sessions.addPeer(itself), /key of this node/);
});

/** Keys that Sessions.addPeer() refuses, and why (T28). */
const REFUSED_KEYS: [key: Uint8Array, why: string][] = [
  [new Uint8Array(31), "too short"],
  [new Uint8Array(32), "low order"],
  [Uint8Array.from({ length: 32 }, (_, i) => i === 0 ? 1 : 0), "low order"],
];

Deno.test("T28: Sessions.addPeer() refuses keys that no secret can come of", () => {
  const a = new World().node("a");
  for (const [staticKey, why] of REFUSED_KEYS) {
    throws(() => a.sessions.addPeer({ nodeId: "0".repeat(64), staticKey }), RangeError, why);
  }
});

Deno.test("Sessions.addPeer() refuses one key under two names", () => {
  const world = new World();
  const [a, b] = world.pair();
  const twin = { nodeId: "f".repeat(64), staticKey: b.key.publicKey };
  throws(() => a.sessions.addPeer(twin), /key of peer/);
});

// Preshared keys.

Deno.test("T11: a wrong preshared key leads to no session on either side", () => {
  const world = new World();
  const wrong = new PskRing({ current: { epoch: 5, psk: new Uint8Array(32).fill(0x66) } });
  const [a, b] = world.pair({}, { psks: wrong });
  strictEqual(meet(world, a, b, 500), false);
  strictEqual(a.dropped("bad-handshake"), 1, "it shows at the initiator");
});

Deno.test("T11: an epoch that the responder does not hold is met by silence", () => {
  const world = new World();
  const [a, b] = world.pair({ psks: ring(7) }, { psks: ring(8) });
  strictEqual(meet(world, a, b, 500), false);
  strictEqual(world.log.filter((flight) => flight.from === "b").length, 0);
  strictEqual(b.dropped("unknown-psk-epoch"), 1);
});

Deno.test("T11: every pair of held epochs meets if they share one, within the retries", () => {
  const held: Epochs[] = [
    [7],
    [7, 6],
    [7, 6, 8],
    [7, undefined, 8],
    [8],
    [8, 7],
    [8, 7, 9],
    [6, undefined, 7],
  ];
  for (const [i, ours] of held.entries()) {
    for (const theirs of held) {
      const world = new World(i);
      const [a, b] = world.pair({ psks: ring(...ours) }, { psks: ring(...theirs) });
      const shared = ours.some((epoch) => epoch !== undefined && theirs.includes(epoch));
      // Attempts at 0, 1 and 3 s, and a little: a third one names the last epoch held.
      strictEqual(meet(world, a, b, 4_500), shared, `${ours} and ${theirs}`);
    }
  }
});

Deno.test("T11: a rotation, one end at a time, loses no packet", () => {
  const world = new World();
  const [a, b] = world.pair({ psks: ring(7, 6) }, { psks: ring(7, 6) });
  ok(meet(world, a, b));
  const steps: [Node, PskRing][] = [
    [a, ring(7, 6, 8)],
    [b, ring(7, 6, 8)],
    [b, ring(8, 7)],
    [a, ring(8, 7)],
  ];
  const sent = [1];
  for (const [node, psks] of steps) {
    node.sessions.setPsks(psks);
    for (const from of [a, b]) {
      const to = from === a ? b : a;
      from.act(from.sessions.renew(to.nodeId, world.clock.now()));
      world.run(4_000);
      sent.push(sent.length + 1);
      a.send(b, sent.length);
      world.run(100);
    }
  }
  deepStrictEqual(b.delivered, sent);
});

Deno.test("T11: a profile with or without preshared keys insists on it", () => {
  const world = new World();
  throws(() => world.node("x", { profile: "allowed-peers", psks: ring(1) }), RangeError);
  const a = world.node("a", { profile: "allowed-peers" });
  throws(() => a.sessions.setPsks(ring(1)), RangeError);
});

// Wrong prologue, mesh, profile, version.

const OTHER_MESH = new Uint8Array(16).fill(0x22);

/** Ways in which two nodes can differ; only equal rows may meet. */
const SETTINGS: [name: string, options: NodeOptions][] = [
  ["mesh", {}],
  ["another mesh id", { meshId: OTHER_MESH }],
  ["allowed-peers", { profile: "allowed-peers" }],
  ["allowed-peers of another mesh", { profile: "allowed-peers", meshId: OTHER_MESH }],
];

Deno.test("T12: only the diagonal of the matrix of profiles and meshes meets", () => {
  for (const [ours, a] of SETTINGS) {
    for (const [theirs, b] of SETTINGS) {
      const world = new World();
      const met = meet(world, ...world.pair(a, b), 3_000);
      strictEqual(met, ours === theirs, `${ours} with ${theirs}`);
    }
  }
});

/** What a downgrade may try, the reason it is dropped for, why (T13). */
const DOWNGRADES: [at: number, value: number, reason: DropReason, why: string][] = [
  [1, 0, "unknown-version", "an older version"],
  [1, 2, "unknown-version", "a newer version"],
  [2, 2, "malformed", "the profile without preshared key: another length"],
  [2, 3, "malformed", "a pairing profile: another length"],
  [2, 9, "unknown-profile", "no profile"],
  [3, 1, "malformed", "the byte that must be zero"],
];

Deno.test("T13: an altered version or profile costs the responder nothing", () => {
  for (const [at, value, reason, why] of DOWNGRADES) {
    const world = new World();
    const [a, b] = world.pair();
    world.wire = (flight) => {
      if (flight.datagram[0] !== INITIATION) return [flight];
      const datagram = Uint8Array.from(flight.datagram);
      datagram[at] = value;
      return [{ ...flight, datagram: withMac1(datagram, b) }];
    };
    b.crypto.reset();
    a.send(b, 1);
    world.run(100);
    strictEqual(b.dropped(reason), 1, why);
    deepStrictEqual(b.crypto.counts, { dh: 0, hash: 0, aead: 0, keys: 0 }, why);
  }
});

Deno.test("T13: handshakes of profiles that are not enabled are dropped before any hash", () => {
  const profiles: [SessionProfile, SessionProfile][] = [
    ["mesh", "allowed-peers"],
    ["allowed-peers", "mesh"],
  ];
  for (const [ours, theirs] of profiles) {
    const world = new World();
    const [a, b] = world.pair({ profile: ours }, { profile: theirs });
    b.crypto.reset();
    strictEqual(meet(world, a, b, 500), false);
    strictEqual(b.dropped("unknown-profile"), 1);
    deepStrictEqual(b.crypto.counts, { dh: 0, hash: 0, aead: 0, keys: 0 });
  }
});

// Strangers.

Deno.test("T14: an unknown key costs one Diffie-Hellman and gets nothing", () => {
  const world = new World();
  const [a, b] = [world.node("a"), world.node("b")];
  a.knows(b);
  b.crypto.reset();
  a.send(b, 1);
  world.run(100);
  ok(b.crypto.counts.dh <= 1, `${b.crypto.counts.dh} DH`);
  strictEqual(world.log.filter((flight) => flight.from === "b").length, 0);
  strictEqual(b.dropped("unknown-static-key"), 1);
  strictEqual(b.sessions.nextDeadlineAt(world.clock.now()), Infinity, "nothing is remembered");
});

Deno.test("T14: a removed peer looks exactly like an unknown one", () => {
  const counts = [false, true].map((wasPeer) => {
    const world = new World();
    const [a, b] = [world.node("a"), world.node("b")];
    a.knows(b);
    if (wasPeer) {
      b.knows(a);
      b.act(b.sessions.removePeer(a.nodeId));
    }
    b.crypto.reset();
    a.send(b, 1);
    world.run(100);
    return { counts: { ...b.crypto.counts }, drops: [...b.drops], log: world.log.length };
  });
  deepStrictEqual(counts[0], counts[1]);
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
