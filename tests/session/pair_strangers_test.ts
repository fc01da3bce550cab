import { deepStrictEqual, ok, strictEqual } from "node:assert/strict";
import { NATIVE_BACKEND } from "../../lib/crypto/backend.ts";
import { randomBytes } from "../../lib/crypto/random.ts";
import { cookieKey, openCookie, withMac2 } from "../../lib/session/cookie.ts";
import { HALF_OPEN_MS, MAX_HALF_OPEN } from "../../lib/session/pair_limits.ts";
import {
  NO_KEY,
  pairMac1Key,
  type PairProfile,
  writePairInitiation,
} from "../../lib/session/pair_messages.ts";
import { decodeHandshake, macFields } from "../../lib/wire/datagram.ts";
import { countingBackend } from "../fakes/crypto_counter.ts";
import { KEYS, PairWorld, pathTo } from "./pair_world.ts";

/** A fresh initiation of a stranger. */
function initiation(profile: PairProfile = "pair"): Uint8Array {
  const context = {
    profile,
    partition: "tunnelmesh-pair/1",
    staticKey: KEYS.stranger,
    mac1Key: pairMac1Key(NATIVE_BACKEND),
    crypto: NATIVE_BACKEND,
  };
  return writePairInitiation(context, randomBytes(4)[0]!).datagram;
}

/** A world whose dialler is cut off, and whose listener has forgotten what it sent. */
function listening(profile: PairProfile = "pair") {
  const counting = countingBackend();
  const world = new PairWorld({ profile }, { profile, crypto: counting.backend });
  world.isLost = () => true;
  world.dialler.pairing.close();
  counting.reset();
  return { world, listener: world.listener, counts: counting.counts };
}

/** What the listener answered last. */
function lastAnswer(world: PairWorld): Uint8Array {
  return world.flights.filter(({ from }) => from === "listener").at(-1)!.datagram;
}

for (const profile of ["pair", "pair-interop"] as const) {
  Deno.test(`PairResponder keeps ${MAX_HALF_OPEN} half-open handshakes for 30 s (${profile})`, () => {
    const { world, listener, counts } = listening(profile);
    for (let i = 0; i < 40; i++) {
      world.deliver(listener, initiation(profile), pathTo(10 + i));
      ok(listener.pairing.halfOpen <= MAX_HALF_OPEN);
    }
    strictEqual(listener.pairing.halfOpen, MAX_HALF_OPEN);
    strictEqual(counts.dh, 2 * MAX_HALF_OPEN, "ee and es of those, nothing for the others");
    strictEqual(listener.drops.filter((reason) => reason === "under-load").length, 32);
    const sent = world.flights.filter(({ from }) => from === "listener");
    strictEqual(sent.length, profile === "pair" ? 40 : MAX_HALF_OPEN, "cookies only with MACs");
    world.advance(HALF_OPEN_MS - 1);
    strictEqual(listener.pairing.halfOpen, MAX_HALF_OPEN);
    world.advance(1);
    strictEqual(listener.pairing.halfOpen, 0);
    world.deliver(listener, initiation(profile), pathTo(99));
    strictEqual(listener.pairing.halfOpen, 1, "and there is room again");
  });
}

Deno.test("T5: a full table of spoofed sources keeps nobody out who follows the cookie", () => {
  const { world, listener } = listening();
  for (let i = 0; i < 30; i++) world.deliver(listener, initiation(), pathTo(100 + i));
  const other = new PairWorld();
  other.advance(0);
  // The dialler of another world, against this listener: two of its round trips.
  const asked = other.flights[0]!.datagram;
  world.deliver(listener, asked, pathTo(1));
  const cookie = lastAnswer(world);
  ok(cookie.length <= asked.length && cookie[0] === 4);
  other.isLost = () => true;
  other.deliver(other.dialler, cookie);
  const proving = other.flights.at(-1)!.datagram;
  const decoded = decodeHandshake(proving)!;
  ok(decoded.kind === "initiation" && decoded.mac2.some((byte) => byte !== 0));
  world.deliver(listener, proving, pathTo(1));
  strictEqual(lastAnswer(world)[0], 2);
  strictEqual(listener.pairing.halfOpen, MAX_HALF_OPEN, "in the place of one that proved nothing");
  other.deliver(other.dialler, lastAnswer(world));
  world.deliver(listener, other.flights.at(-1)!.datagram, pathTo(1));
  deepStrictEqual(listener.met, KEYS.dialler.publicKey);
});

Deno.test("T5: who has one address takes no place of others", () => {
  const { world, listener } = listening();
  const prove = (host: number) => {
    const first = initiation();
    world.deliver(listener, first, pathTo(host));
    if (lastAnswer(world)[0] !== 4) return lastAnswer(world)[0];
    const cookie = decodeHandshake(lastAnswer(world))!;
    ok(cookie.kind === "cookie");
    const key = cookieKey(NATIVE_BACKEND, NO_KEY);
    const opened = openCookie(NATIVE_BACKEND, key, macFields(first).mac1, cookie);
    world.deliver(listener, withMac2(NATIVE_BACKEND, opened!, first), pathTo(host));
    return lastAnswer(world)[0];
  };
  for (let i = 0; i < MAX_HALF_OPEN; i++) world.deliver(listener, initiation(), pathTo(100 + i));
  for (let i = 0; i < 6; i++) strictEqual(prove(1), 2, "one address, its own share over and over");
  for (let host = 2; host < 8; host++) strictEqual(prove(host), 2, `address ${host}`);
  const before = listener.drops.filter((reason) => reason === "rate-limited").length;
  prove(9);
  strictEqual(
    listener.drops.filter((reason) => reason === "rate-limited").length,
    before + 1,
    "all places are held by proven addresses, none gives way to another",
  );
  strictEqual(listener.pairing.halfOpen, MAX_HALF_OPEN);
});

Deno.test("T3: no altered or cut initiation is answered with more than it is long", () => {
  const { world, listener } = listening();
  const right = initiation();
  for (let at = 0; at < right.length - 16; at++) {
    const altered = right.slice();
    altered[at]! ^= 0x10;
    world.deliver(listener, altered, pathTo(3));
  }
  for (let length = 0; length < right.length; length++) {
    world.deliver(listener, right.subarray(0, length), pathTo(3));
  }
  strictEqual(world.flights.filter(({ from }) => from === "listener").length, 0);
});

Deno.test("T4: initiations without mac1 cost a hash each, and nothing is kept", () => {
  const { world, listener, counts } = listening();
  for (let i = 0; i < 2_000; i++) {
    const forged = initiation();
    macFields(forged).mac1.fill(i & 0xff);
    world.deliver(listener, forged, pathTo(4));
  }
  strictEqual(counts.dh, 0);
  strictEqual(counts.hash, 2_000);
  strictEqual(listener.pairing.halfOpen, 0);
});

Deno.test("T1: a recorded pairing, replayed from anywhere, disturbs nothing", () => {
  const world = new PairWorld();
  const { dialler, listener } = world;
  ok(world.until(() => dialler.met !== undefined));
  world.say(dialler, "one");
  ok(world.until(() => dialler.pairing.isHeard));
  const recorded = world.flights.filter(({ from }) => from === "dialler");
  for (let i = 0; i < 200; i++) {
    for (const { datagram } of recorded) world.deliver(listener, datagram, pathTo(1 + i % 3));
  }
  world.say(dialler, "two");
  ok(world.until(() => dialler.pairing.isHeard));
  deepStrictEqual(listener.heard, ["one", "two"]);
  strictEqual(listener.pairing.halfOpen, 0);
  strictEqual(listener.actions.filter(({ kind }) => kind === "met").length, 1);
});

Deno.test("A second machine does not take the place of the first", () => {
  const world = new PairWorld();
  const { dialler, listener } = world;
  const stranger = new PairWorld({ staticKey: KEYS.stranger });
  // Both have asked before either has shown its key.
  stranger.isLost = ({ datagram, from }) => {
    if (from === "dialler") world.deliver(listener, datagram, pathTo(7));
    return true;
  };
  let relayed = 0;
  world.isLost = () => false;
  const pump = () => {
    for (const { datagram } of world.flights.slice(relayed)) {
      if (datagram[0] === 2) stranger.deliver(stranger.dialler, datagram);
    }
    relayed = world.flights.length;
  };
  stranger.wake(stranger.dialler);
  stranger.advance(0);
  world.until(() => dialler.met !== undefined);
  pump();
  stranger.advance(3_000);
  pump();
  deepStrictEqual(listener.met, KEYS.dialler.publicKey);
  strictEqual(listener.actions.filter(({ kind }) => kind === "met").length, 1);
  world.say(listener, "to whom?");
  ok(world.until(() => listener.pairing.isHeard));
  deepStrictEqual(dialler.heard, ["to whom?"]);
});
