/**
 * Who gets a session with whom: keys, preshared keys, meshes, profiles and strangers.
 *
 * @module
 */

import { deepStrictEqual, ok, strictEqual, throws } from "node:assert/strict";
import type { DropReason } from "../../lib/session/actions.ts";
import type { SessionProfile } from "../../lib/session/handshake_messages.ts";
import { PskRing } from "../../lib/session/psk_ring.ts";
import { INITIATION, meet, withMac1 } from "./handshake_scene.ts";
import { Node, type NodeOptions, World } from "./world.ts";

/** Epochs held: current, previous, next. */
type Epochs = [current: number, previous?: number | undefined, next?: number | undefined];

/** A ring of epochs, each key filled with its own number unless another is given. */
function ring(...keys: Epochs): PskRing {
  const of = (epoch?: number) =>
    epoch === undefined ? undefined : { epoch, psk: new Uint8Array(32).fill(epoch) };
  return new PskRing({ current: of(keys[0])!, previous: of(keys[1]), next: of(keys[2]) });
}

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
