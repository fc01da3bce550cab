/**
 * T3, T4, T5 and T7 of docs/protocol.md §7 at the session layer: what floods make a responder
 * compute, send and keep. Asserted on counts and state; the heap only against what a leak of a few
 * bytes per datagram would make of it.
 *
 * @module
 */

import { deepStrictEqual, ok, strictEqual } from "node:assert/strict";
import { NATIVE_BACKEND } from "../../lib/crypto/backend.ts";
import { Admission } from "../../lib/session/admission.ts";
import {
  PROVEN_HANDSHAKES,
  SOURCE_HANDSHAKES,
  STRANGER_HANDSHAKES,
} from "../../lib/session/limits.ts";
import type { Path } from "../../lib/session/path.ts";
import type { BucketRate } from "../../lib/session/token_bucket.ts";
import { decodeHandshake, type Initiation } from "../../lib/wire/datagram.ts";
import { isSoak } from "../fakes/soak.ts";
import { ipv4, RESPONDER, sameNetwork, Scene, udp } from "./admission_scene.ts";

const HOME = udp([203, 0, 113, 7], 4000);
const PROFILES = ["mesh", "allowed-peers"] as const;
/** Room for what a collector has not collected; a leak of 100 bytes each would need more. */
const HEAP_SLACK = 6e6;

for (const profile of PROFILES) {
  for (const isLoaded of [false, true]) {
    const when = isLoaded ? "under load" : "at rest";
    Deno.test(`T3: ${profile} ${when}: no mutation, truncation or extension is answered`, () => {
      const scene = new Scene(profile);
      const { responder, client } = scene;
      const initiation = isLoaded ? scene.proven(HOME).proving : client.initiate(responder);
      responder.sent = responder.sentBytes = 0;
      responder.crypto.reset();
      const before = responder.droppedInAll;
      let tried = 0;
      const send = (datagram: Uint8Array, why: string) => {
        tried++;
        deepStrictEqual(responder.receive(datagram, HOME), [], why);
      };
      for (let at = 0; at < initiation.length; at++) {
        for (const bit of [1, 0x80]) {
          const mutated = initiation.slice();
          mutated[at]! ^= bit;
          send(mutated, `byte ${at} ^ ${bit}`);
        }
        send(initiation.subarray(0, at), `${at} bytes`);
      }
      for (const more of [1, 16, 1000]) {
        const longer = new Uint8Array(initiation.length + more);
        longer.set(initiation);
        send(longer, `${more} bytes more`);
        send(scene.withMac1(longer), `${more} bytes more, with the right mac1`);
      }
      strictEqual(responder.sentBytes, 0, "0 bytes sent");
      strictEqual(responder.crypto.counts.dh, 0);
      strictEqual(responder.droppedInAll - before, tried, "each was counted");
      const [response] = responder.receive(initiation, HOME);
      strictEqual(response?.[0], 2, "the genuine one is answered all the same");
      ok(response!.length <= initiation.length);
    });
  }
}

Deno.test("T4: 100,000 datagrams without mac1 cost a hash each, and a handshake passes between", () => {
  const scene = new Scene();
  const { responder, client } = scene;
  const heap = new HeapWatch();
  for (let i = 0; i < 100_000; i++) {
    responder.receive(scene.garbage(false), ipv4(i));
    if (i % 100 === 0) scene.clock.advance(1);
    if (i === 50_000) {
      const [response] = responder.receive(client.initiate(responder), HOME);
      strictEqual(response?.[0], 2, "no cookie either: the budget is untouched");
      client.receive(response!, RESPONDER);
      ok(client.sessions.peer(responder.nodeId)!.current !== undefined);
      deepStrictEqual(responder.sent, 1);
      responder.crypto.reset();
      responder.sent = 0;
    }
    heap.sample(i);
  }
  const { dh, hash, aead, keys } = responder.crypto.counts;
  deepStrictEqual({ dh, aead, keys, sent: responder.sent }, { dh: 0, aead: 0, keys: 0, sent: 0 });
  ok(hash <= 50_000, "at most one each");
  strictEqual(responder.dropped("bad-mac1"), 100_000);
  heap.isFlat();
});

/** Most handshakes that a bucket lets through in one second. */
function inOneSecond({ perSecond, burst }: BucketRate): number {
  return perSecond + burst;
}

/** A second of floods: 50 datagrams in each millisecond. */
const FLOODS: {
  name: string;
  mostDh: number;
  /** Most round trips of a client. */
  trips: number;
  datagrams: (scene: Scene) => (number: number) => [datagram: Uint8Array, path: Path];
}[] = [
  {
    name: "spoofed sources",
    mostDh: inOneSecond(STRANGER_HANDSHAKES),
    trips: 2,
    datagrams: (scene) => (number) => [scene.garbage(true), ipv4(number)],
  },
  {
    name: "2^16 addresses of one /64",
    mostDh: inOneSecond(SOURCE_HANDSHAKES),
    trips: 1,
    datagrams: (scene) => (number) => [scene.garbage(true), sameNetwork(number & 0xffff)],
  },
  {
    name: "one source",
    mostDh: inOneSecond(SOURCE_HANDSHAKES),
    trips: 1,
    datagrams: (scene) => () => [scene.garbage(true), ipv4(1)],
  },
  {
    name: "the client's own address, spoofed",
    mostDh: inOneSecond(SOURCE_HANDSHAKES),
    trips: 2,
    datagrams: (scene) => () => [scene.garbage(true), HOME],
  },
  {
    name: "ten real sources with a right mac2",
    mostDh: 10 * inOneSecond(SOURCE_HANDSHAKES),
    trips: 1,
    datagrams: (scene) => withRightMac2(scene, 10, ipv4),
  },
  {
    name: "real sources of one /64 with a right mac2",
    mostDh: inOneSecond(SOURCE_HANDSHAKES),
    trips: 1,
    datagrams: (scene) => withRightMac2(scene, 500, sameNetwork),
  },
];

for (const { name, mostDh, trips, datagrams } of FLOODS) {
  Deno.test(`T5: 50,000 with mac1 in a second from ${name}: at most ${mostDh} DH, a client gets in`, () => {
    const scene = new Scene();
    const { responder, client } = scene;
    const next = datagrams(scene);
    responder.crypto.reset();
    responder.sent = responder.sentBytes = 0;
    let clientDh = 0;
    for (let i = 0; i < 50_000; i++) {
      const [datagram, path] = next(i);
      const sent = responder.receive(datagram, path);
      ok(sent.every(({ length }) => length === 64), "nothing but cookies");
      if (i % 50 === 49) scene.clock.advance(1);
      if (i === 40_000) {
        const { dh } = responder.crypto.counts;
        ok(roundTrips(scene) <= trips);
        clientDh = responder.crypto.counts.dh - dh;
      }
    }
    const { dh } = responder.crypto.counts;
    ok(dh - clientDh <= mostDh, `${dh}`);
    ok(dh - clientDh >= SOURCE_HANDSHAKES.burst, "and the budget is there to be used");
    ok(client.sessions.peer(responder.nodeId)!.current !== undefined);
  });
}

Deno.test("T5: 50,000 with a right mac2 from 2,000 real sources: no more DH than the budget", () => {
  const scene = new Scene();
  const { responder } = scene;
  const next = withRightMac2(scene, 2_000, ipv4);
  responder.crypto.reset();
  responder.sent = 0;
  for (let i = 0; i < 50_000; i++) {
    responder.receive(...next(i));
    if (i % 50 === 49) scene.clock.advance(1);
  }
  const { dh } = responder.crypto.counts;
  ok(dh <= inOneSecond(PROVEN_HANDSHAKES), `${dh}`);
  ok(responder.dropped("dh-budget") > 0);
  strictEqual(responder.sent, 0, "who has shown where he is gets no more cookies");
});

Deno.test("a stream pays from the budget of the proven, by its own limit, without cookies", () => {
  const scene = new Scene();
  const { responder } = scene;
  const relay = (name: number): Path => ({
    kind: "relay",
    key: `relay ${name}`,
    remote: `${name}`,
  });
  scene.load();
  for (let i = 0; i < 100; i++) {
    deepStrictEqual(responder.receive(scene.garbage(true), relay(1)), []);
  }
  strictEqual(responder.crypto.counts.dh, SOURCE_HANDSHAKES.burst);
  strictEqual(responder.dropped("rate-limited"), 100 - SOURCE_HANDSHAKES.burst);
  strictEqual(responder.receive(scene.client.initiate(responder), relay(2))[0]?.[0], 2);
});

Deno.test("repeated answers are within the limit of their source", () => {
  const scene = new Scene();
  const { responder } = scene;
  const initiation = scene.client.initiate(responder);
  responder.receive(initiation, HOME);
  for (let i = 0; i < SOURCE_HANDSHAKES.burst; i++) responder.receive(scene.garbage(true), HOME);
  deepStrictEqual(responder.receive(initiation, HOME), []);
  strictEqual(responder.dropped("rate-limited"), 1);
  scene.clock.advance(1000 / SOURCE_HANDSHAKES.perSecond);
  strictEqual(responder.receive(initiation, HOME)[0]?.[0], 2);
});

Deno.test("T7: after 100,000 challenges there is no state (a million in a soak)", () => {
  const clientless = new Scene();
  const admission = new Admission({
    staticPublicKey: clientless.responder.key.publicKey,
    crypto: NATIVE_BACKEND,
    random: (length) => new Uint8Array(length).fill(1),
    unixNow: () => 1_800_000_000_000,
  });
  const initiation = decodeHandshake(clientless.garbage(true)) as Initiation;
  const ask = (number: number) => admission.refuse(initiation, ipv4(number), 0);
  while (ask(0)?.challenge === undefined);
  for (let i = 1; i < 100; i++) ask(i);
  const { sources } = admission;
  const heap = new HeapWatch();
  const challenges = isSoak() ? 1_000_000 : 100_000;
  for (let i = 0; i < challenges; i++) {
    strictEqual(ask(i)?.challenge?.length, 64);
    heap.sample(i);
  }
  strictEqual(admission.sources, sources);
  heap.isFlat();
});

/** Round trips that the client takes to a session. */
function roundTrips({ client, responder }: Scene): number {
  let datagram = client.initiate(responder);
  for (let trips = 1; trips < 10; trips++) {
    const [answer] = responder.receive(datagram, HOME);
    ok(answer !== undefined, "it is answered");
    const [again] = client.receive(answer, RESPONDER);
    if (client.sessions.peer(responder.nodeId)!.current !== undefined) return trips;
    datagram = again!;
  }
  return Infinity;
}

/** Garbage of senders that follow their cookies. */
function withRightMac2(
  scene: Scene,
  sources: number,
  pathOf: (number: number) => Path,
): (number: number) => [Uint8Array, Path] {
  const { responder } = scene;
  const made: [Uint8Array, Path][] = [];
  scene.load();
  for (let i = 0; i < sources; i++) {
    const path = pathOf(i);
    const garbage = scene.garbage(true);
    const [cookie] = responder.receive(garbage, path);
    made.push([scene.follow(garbage, cookie!), path]);
  }
  return (number) => made[number % sources]!;
}

/** The least heap in each part of a run: what is left after collections. */
class HeapWatch {
  readonly #least: number[] = [];
  static readonly PART = 20_000;

  sample(i: number): void {
    if (i % 200 !== 0) return;
    const part = Math.floor(i / HeapWatch.PART);
    this.#least[part] = Math.min(this.#least[part] ?? Infinity, Deno.memoryUsage().heapUsed);
  }

  isFlat(): void {
    const grown = this.#least.at(-1)! - this.#least[1]!;
    ok(grown < HEAP_SLACK, `heap has grown by ${grown} bytes`);
  }
}
