import { deepStrictEqual, ok, strictEqual, throws } from "node:assert/strict";
import { keyPairFrom } from "../../lib/crypto/x25519.ts";
import { PAIR_REPEATS_MS, PAIR_SILENCE_MS } from "../../lib/session/pair_limits.ts";
import {
  DATAGRAM_LENGTH,
  encodeInitiation,
  isData,
  macFields,
  PROFILE_ID,
  type ProfileName,
} from "../../lib/wire/datagram.ts";
import { writeMac1 } from "../../lib/session/mac.ts";
import { pairMac1Key, type PairProfile } from "../../lib/session/pair_messages.ts";
import { NATIVE_BACKEND } from "../../lib/crypto/backend.ts";
import { countingBackend } from "../fakes/crypto_counter.ts";
import { World } from "./world.ts";
import { DELAY_MS, KEYS, PairWorld, pathTo, type SideOptions } from "./pair_world.ts";

const THIRD = 3;

for (const profile of ["pair", "pair-interop"] as const) {
  Deno.test(`Pairing proves each side's key to the other and carries messages (${profile})`, () => {
    const world = new PairWorld({ profile }, { profile });
    const { dialler, listener } = world;
    strictEqual(world.until(() => dialler.met !== undefined), 4 * DELAY_MS);
    deepStrictEqual(dialler.met, KEYS.listener.publicKey);
    deepStrictEqual(listener.met, KEYS.dialler.publicKey);
    const [a, b] = [dialler.pairing.peer!, listener.pairing.peer!];
    deepStrictEqual(a.handshakeHash, b.handshakeHash);
    for (const side of [dialler, listener]) {
      for (const text of ["one", "two", "three"]) world.say(side, text);
    }
    ok(world.until(() => dialler.pairing.isHeard && listener.pairing.isHeard));
    deepStrictEqual(dialler.heard, ["one", "two", "three"]);
    deepStrictEqual(listener.heard, ["one", "two", "three"]);
    const lengths = world.flights.slice(0, 3).map(({ datagram }) => datagram.length);
    const { initiation, response, third } = DATAGRAM_LENGTH[profile];
    deepStrictEqual(lengths, [initiation, response, third]);
  });
}

// Wrong partition, profile, version.

/** Ways in which two sides can differ; only equal rows may meet. */
const SETTINGS: [name: string, options: SideOptions][] = [
  ["pair", {}],
  ["another partition", { partition: "hoppr-mesh/1" }],
  ["a partition that begins alike", { partition: "tunnelmesh-pair/10" }],
  ["pair-interop", { profile: "pair-interop" }],
];

Deno.test("T12, T13: only the diagonal of the matrix of partitions and profiles meets", () => {
  for (const [ours, a] of SETTINGS) {
    for (const [theirs, b] of SETTINGS) {
      const what = `${ours} with ${theirs}`;
      const world = new PairWorld(a, b);
      world.until(() => world.dialler.met !== undefined || world.dialler.failed !== undefined);
      strictEqual(world.dialler.met !== undefined, ours === theirs, what);
      strictEqual(world.listener.met !== undefined, ours === theirs, what);
      if (ours === theirs) continue;
      const isSameForm = (a.profile ?? "pair") === (b.profile ?? "pair");
      // Another partition answers and does not authenticate; another profile gets silence.
      strictEqual(world.dialler.failed, isSameForm ? "mismatch" : undefined, what);
      deepStrictEqual(
        new Set(isSameForm ? world.dialler.drops : world.listener.drops),
        new Set([isSameForm ? "bad-handshake" : "unknown-profile"]),
        what,
      );
      const asked = new Set(world.flights.map(({ datagram }) => datagram[2]));
      deepStrictEqual(asked, new Set([PROFILE_ID[a.profile ?? "pair"]]), `${what}: no other one`);
      ok(!world.flights.some(({ datagram }) => datagram[0] === THIRD), what);
    }
  }
});

Deno.test("T13: what is relabelled as the other pairing profile completes with neither", () => {
  // An adversary takes the MACs off and changes the byte that names the profile, and the reverse.
  for (const [from, to] of [["pair", "pair-interop"], ["pair-interop", "pair"]] as const) {
    const world = new PairWorld({ profile: from }, { profile: to });
    const { dialler, listener } = world;
    world.isLost = (flight) => {
      const { datagram } = flight;
      if (datagram[0] === 5) return false;
      const other = flight.from === "dialler" ? listener : dialler;
      const relabelled = relabel(datagram, flight.from === "dialler" ? to : from);
      if (relabelled !== undefined) world.deliver(other, relabelled);
      return true;
    };
    world.wake(dialler);
    ok(world.until(() => dialler.failed !== undefined || dialler.met !== undefined, 95_000));
    ok(["mismatch", "unanswered"].includes(dialler.failed!), `${from} as ${to}`);
    strictEqual(listener.met, undefined);
  }
});

Deno.test("T13: other profiles, versions and lengths cost the listener nothing", () => {
  for (const [profile, of] of [["pair", "pair-interop"], ["pair-interop", "pair"]] as const) {
    const { backend, counts, reset } = countingBackend();
    const world = new PairWorld({}, { profile, crypto: backend });
    const { listener } = world;
    world.isLost = () => true;
    reset();
    const others: ProfileName[] = ["mesh", "allowed-peers", of];
    for (const other of others) {
      world.deliver(listener, initiationOf(other));
      strictEqual(listener.drops.at(-1), "unknown-profile", `${other} to ${profile}`);
    }
    const right = initiationOf(profile);
    for (const [at, value] of [[1, 0], [1, 2], [3, 1], [2, 9]] as const) {
      world.deliver(listener, right.with(at, value));
    }
    for (const length of [0, 1, 7, right.length - 1]) {
      world.deliver(listener, right.subarray(0, length));
    }
    world.deliver(listener, Uint8Array.of(...right, 0));
    deepStrictEqual(counts, { dh: 0, hash: 0, aead: 0, keys: 0 }, profile);
    strictEqual(listener.drops.length, others.length + 4 + 4 + 1);
  }
});

Deno.test("T13: a node of a mesh or an allow-list takes nothing of a pairing", () => {
  for (const profile of ["pair", "pair-interop"] as const) {
    const pairing = new PairWorld({ profile }, { profile });
    ok(pairing.until(() => pairing.dialler.met !== undefined));
    const handshake = pairing.flights.filter(({ datagram }) => datagram[0]! <= THIRD);
    for (const sessions of ["mesh", "allowed-peers"] as const) {
      const world = new World();
      const [node] = world.pair({ profile: sessions }, { profile: sessions });
      node.crypto.reset();
      for (const { datagram } of handshake) node.receive(datagram, "b");
      strictEqual(node.dropped("unknown-profile"), 3, `${profile} to ${sessions}`);
      deepStrictEqual(node.crypto.counts, { dh: 0, hash: 0, aead: 0, keys: 0 });
    }
  }
});

Deno.test("Pairing refuses partitions that could run into the header", () => {
  for (const partition of ["", "a b", "a\n", "ü", "x".repeat(65)]) {
    throws(() => new PairWorld({ partition }), RangeError, JSON.stringify(partition));
  }
});

// Forgeries.

Deno.test("T9: a forged response does not end the pairing if the right one follows", () => {
  for (const at of [12, 60, 111]) {
    const world = new PairWorld();
    const { dialler } = world;
    world.isLost = (flight) => {
      if (flight.datagram[0] !== 2) return false;
      const forged = flight.datagram.slice();
      forged[at]! ^= 1;
      writeMac1(NATIVE_BACKEND, pairMac1Key(NATIVE_BACKEND), forged);
      world.deliver(dialler, forged);
      return false;
    };
    ok(world.until(() => dialler.met !== undefined, 1_000) !== undefined, `byte ${at}`);
    ok(dialler.drops.includes("bad-handshake") || dialler.drops.includes("low-order-point"));
  }
});

Deno.test("T9: a response that names another sender index is dropped, the right one completes", () => {
  const world = new PairWorld();
  world.isLost = (flight) => {
    if (flight.datagram[0] !== 2) return false;
    const forged = flight.datagram.slice();
    forged[4]! ^= 1;
    writeMac1(NATIVE_BACKEND, pairMac1Key(NATIVE_BACKEND), forged);
    world.deliver(world.dialler, forged);
    return false;
  };
  ok(world.until(() => world.dialler.met !== undefined, 1_000) !== undefined);
  ok(world.dialler.drops.includes("bad-handshake"));
});

Deno.test("T9: every altered byte of message 3 is refused, the right one completes", () => {
  const world = new PairWorld();
  const { listener } = world;
  let forgeries = 0;
  world.isLost = (flight) => {
    if (flight.datagram[0] !== THIRD || forgeries > 0) return false;
    const macsAt = macFields(flight.datagram).beforeMac1.length;
    for (let at = 4; at < macsAt; at++) {
      const forged = flight.datagram.slice();
      forged[at]! ^= 1;
      writeMac1(NATIVE_BACKEND, pairMac1Key(NATIVE_BACKEND), forged);
      world.deliver(listener, forged);
      forgeries++;
    }
    return false;
  };
  ok(world.until(() => world.dialler.met !== undefined, 1_000) !== undefined);
  strictEqual(forgeries, 72);
  strictEqual(listener.drops.length, forgeries);
  strictEqual(listener.actions.filter(({ kind }) => kind === "met").length, 1);
});

Deno.test("T10: a node does not pair with itself", () => {
  const world = new PairWorld({ staticKey: KEYS.listener });
  world.until(() => world.dialler.failed !== undefined);
  strictEqual(world.dialler.failed, "own-key");
  strictEqual(world.listener.met, undefined);
});

Deno.test("T10: what the dialler sent and gets back is dropped", () => {
  const world = new PairWorld();
  const { dialler } = world;
  world.isLost = (flight) => {
    if (flight.from === "dialler") world.deliver(dialler, flight.datagram);
    return false;
  };
  ok(world.until(() => dialler.met !== undefined, 1_000) !== undefined);
  deepStrictEqual(
    new Set(dialler.drops),
    new Set(["no-handshake-outstanding"]),
  );
});

Deno.test("Pairing completes only by the path of its handshake", () => {
  const world = new PairWorld();
  const { dialler, listener } = world;
  const elsewhere = pathTo(9);
  world.isLost = (flight) => {
    world.deliver(flight.from === "dialler" ? listener : dialler, flight.datagram, elsewhere);
    return flight.from === "dialler" && flight.datagram[0] === THIRD;
  };
  world.until(() => false, 4_000);
  strictEqual(listener.met, undefined, "message 3 came another way");
  ok(listener.drops.includes("wrong-path") && dialler.drops.includes("wrong-path"));
});

// Strictly increasing counters.

Deno.test("T22: transport data of a pairing is taken once, and never after a later one", () => {
  const world = new PairWorld();
  const { dialler, listener } = world;
  world.until(() => dialler.met !== undefined);
  world.advance(100);
  world.isLost = () => true;
  const sent = (): Uint8Array => world.flights.at(-1)!.datagram;
  const made: Uint8Array[] = [];
  for (let i = 0; i < 4; i++) {
    if (i === 0) world.say(dialler, "first");
    else world.until(() => world.flights.length > 0 && sent() !== made[i - 1]);
    made.push(sent());
    ok(isData(sent()));
  }
  /** Which datagram, whether it is taken, why. */
  const rows: [number, boolean, string][] = [
    [0, true, "the first"],
    [0, false, "again"],
    [2, true, "a gap is no harm"],
    [1, false, "late, though it never came before"],
    [2, false, "again"],
    [3, true, "the next"],
    [0, false, "long gone"],
  ];
  for (const [i, isTaken, why] of rows) {
    const before = listener.drops.length;
    world.deliver(listener, made[i]!);
    deepStrictEqual(listener.drops.slice(before), isTaken ? [] : ["replayed"], why);
  }
  deepStrictEqual(listener.heard, ["first"], "a repetition is no second message");
});

Deno.test("T24: a forged counter moves nothing", () => {
  const world = new PairWorld();
  const { dialler, listener } = world;
  world.until(() => dialler.met !== undefined);
  world.isLost = (flight) => {
    if (flight.from === "listener") return false;
    for (const value of [0xff, 0x0f]) {
      const forged = flight.datagram.slice();
      forged.fill(value, 8, 14);
      world.deliver(listener, forged);
    }
    return false;
  };
  world.say(dialler, "hello");
  world.advance(100);
  deepStrictEqual(listener.heard, ["hello"]);
  strictEqual(listener.drops.filter((reason) => reason === "bad-tag").length, 2);
});

// Ends.

Deno.test("Pairing ends when nobody answers, in 90 s, and has asked as the protocol says", () => {
  const world = new PairWorld();
  world.isLost = () => true;
  const took = world.until(() => world.dialler.failed !== undefined, 100_000)!;
  strictEqual(world.dialler.failed, "unanswered");
  strictEqual(took, 90_000);
  const fresh = new Set(world.flights.map(({ datagram }) => datagram.join()));
  ok(fresh.size >= 18 && fresh.size <= 21, `${fresh.size} initiations`);
  ok(world.flights.length <= fresh.size * (1 + PAIR_REPEATS_MS.length));
});

Deno.test("Pairing ends when the other side goes silent, and after three minutes in any case", () => {
  const world = new PairWorld();
  world.until(() => world.dialler.met !== undefined);
  world.isLost = () => true;
  ok(world.until(() => world.dialler.failed === "silent", PAIR_SILENCE_MS + 100) !== undefined);
  const other = new PairWorld();
  other.until(() => other.dialler.met !== undefined);
  other.until(() => other.dialler.failed !== undefined, 200_000);
  strictEqual(other.dialler.failed, "too-long");
  strictEqual(other.listener.failed, "too-long");
});

Deno.test("Pairing.close() ends everything, twice without harm", () => {
  const world = new PairWorld();
  world.until(() => world.dialler.met !== undefined);
  for (const { pairing } of [world.dialler, world.listener]) {
    pairing.close();
    pairing.close();
    strictEqual(pairing.deadlineAt, Infinity);
    deepStrictEqual(pairing.receive(world.flights[0]!.datagram, pathTo(1), 0), []);
    deepStrictEqual(pairing.tick(Infinity), []);
  }
});

/** A datagram of one pairing profile made to look like one of another; `undefined` if it is none. */
function relabel(datagram: Uint8Array, profile: PairProfile): Uint8Array | undefined {
  const kind = ([undefined, "initiation", "response", "third"] as const)[datagram[0]!];
  if (kind === undefined) return undefined;
  const copy = new Uint8Array(DATAGRAM_LENGTH[profile][kind]);
  copy.set(datagram.subarray(0, copy.length));
  copy[2] = PROFILE_ID[profile];
  if (profile === "pair") {
    // Message 2 of `pair` is longer by the index in its payload.
    macFields(copy).mac1.fill(0);
    macFields(copy).mac2.fill(0);
    writeMac1(NATIVE_BACKEND, pairMac1Key(NATIVE_BACKEND), copy);
  }
  return copy;
}

/** A well-formed initiation of any profile, which authenticates nothing. */
function initiationOf(profile: ProfileName): Uint8Array {
  const macs = profile === "pair-interop" ? 0 : 32;
  const length = DATAGRAM_LENGTH[profile].initiation - 8 - macs;
  const noise = new Uint8Array(length);
  noise.set(keyPairFrom(new Uint8Array(32).fill(0x44)).publicKey);
  return encodeInitiation({ profile, senderIndex: 77, noise });
}
