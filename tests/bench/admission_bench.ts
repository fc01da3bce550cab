/**
 * The price list of strangers: nanoseconds for a datagram that ends at each step of admission
 * (docs/protocol.md §4), on one thread.
 *
 * ```text
 * deno task bench admission
 * ```
 *
 * @module
 */

import { strictEqual } from "node:assert/strict";
import { NATIVE_BACKEND } from "../../lib/crypto/backend.ts";
import type { DropReason } from "../../lib/session/actions.ts";
import type { SessionProfile } from "../../lib/session/handshake_messages.ts";
import type { Path } from "../../lib/session/path.ts";
import { ipv4, Scene, udp } from "../session/admission_scene.ts";
import { say } from "./flags.ts";

const HOME = udp([203, 0, 113, 7], 4000);
const LOOPS = 20_000;
/** Handshakes are dear: fewer of them, at moments when the budget lets them through. */
const HANDSHAKES = 500;
const BETWEEN_HANDSHAKES_MS = 1_000;
/** Cheap ones are timed so many at a time. */
const PART = 50;

/** One line: what comes, and where it must end, so that the right thing is timed. */
interface Price {
  readonly what: string;
  readonly count: number;
  /** `undefined`: it is answered. */
  readonly ends: DropReason | undefined;
  /** Datagrams and paths, made beforehand. */
  readonly make: (scene: Scene, number: number) => readonly [Uint8Array, Path];
  /** Called before the timing. */
  readonly prepare?: (scene: Scene) => void;
  readonly stepMs?: number;
}

const PRICES: readonly Price[] = [
  {
    what: "1. other length",
    count: LOOPS,
    ends: "malformed",
    make: (scene) => [scene.garbage(false).subarray(1).fill(1, 0, 3), HOME],
  },
  {
    what: "2. wrong mac1",
    count: LOOPS,
    ends: "bad-mac1",
    make: (scene, number) => [scene.garbage(false), ipv4(number)],
  },
  {
    what: "3. wrong mac2",
    count: LOOPS,
    ends: "bad-mac2",
    make: (scene, number) => [scene.garbage(true).fill(7, -16), ipv4(number)],
  },
  {
    what: "3. under load: a cookie",
    count: LOOPS,
    ends: "under-load",
    make: (scene, number) => [scene.garbage(true), ipv4(number)],
    prepare: (scene) => scene.load(),
  },
  {
    what: "4. right mac2, past the limit of its source",
    count: LOOPS,
    ends: "rate-limited",
    make: (scene) => rightMac2(scene),
    prepare: (scene) => {
      const [datagram, path] = rightMac2(scene);
      for (let i = 0; i < 50; i++) scene.responder.receive(datagram, path);
    },
  },
  {
    what: "5. right mac1, nothing inside: one DH",
    count: HANDSHAKES,
    ends: "bad-handshake",
    make: (scene, number) => [scene.garbage(true), ipv4(number)],
    stepMs: BETWEEN_HANDSHAKES_MS,
  },
  {
    what: "6. unknown static key: one DH",
    count: HANDSHAKES,
    ends: "unknown-static-key",
    make: (scene, number) => {
      const stranger = cached(scene, "stranger", () => scene.node("stranger", false));
      return [stranger.initiate(scene.responder), ipv4(number)];
    },
    stepMs: BETWEEN_HANDSHAKES_MS,
  },
  {
    what: "8. replayed long after: two DH",
    count: HANDSHAKES,
    ends: "old-timestamp",
    make: (scene, number) => {
      const old = cached(scene, "old", () => scene.client.initiate(scene.responder));
      return [old, ipv4(number)];
    },
    prepare: (scene) => {
      scene.responder.receive(scene.client.initiate(scene.responder), HOME);
      scene.clock.advance(BETWEEN_HANDSHAKES_MS);
    },
    stepMs: BETWEEN_HANDSHAKES_MS,
  },
  {
    what: "10. answered",
    count: HANDSHAKES,
    ends: undefined,
    make: (scene, number) => [scene.client.initiate(scene.responder), ipv4(number)],
    stepMs: BETWEEN_HANDSHAKES_MS,
  },
];

/** What one scene has for all its datagrams. */
const kept = new WeakMap<Scene, Map<string, unknown>>();

say("What a datagram costs that ends at a step, on one thread:");
for (const profile of ["mesh", "allowed-peers"] as const) {
  for (const price of PRICES) measure(profile, price);
}
repeatedAnswer();

function measure(profile: SessionProfile, price: Price): void {
  const { what, count, ends, make, prepare, stepMs = 0 } = price;
  let best = Infinity;
  for (let round = 0; round < 2; round++) {
    const scene = new Scene(profile, { crypto: NATIVE_BACKEND });
    const datagrams = Array.from({ length: count }, (_, number) => make(scene, number));
    prepare?.(scene);
    const { responder } = scene;
    responder.drops.clear();
    const each = stepMs > 0 ? 1 : PART;
    const times: number[] = [];
    for (let at = 0; at < count; at += each) {
      const part = datagrams.slice(at, at + each);
      if (stepMs > 0) {
        scene.clock.advance(stepMs);
        responder.act(responder.sessions.tick(scene.clock.now()));
      }
      const startedAt = performance.now();
      for (const [datagram, path] of part) responder.receive(datagram, path);
      times.push((performance.now() - startedAt) / each);
    }
    // A typical one of the undisturbed half: the fastest would be luck.
    times.sort((a, b) => a - b);
    best = Math.min(best, times[Math.floor(times.length / 4)]!);
    strictEqual(ends === undefined ? responder.sent : responder.dropped(ends), count, what);
  }
  figure(`${profile}, ${what}`, best);
}

/** An answer is repeated 40 times at most, so each round has its own. */
function repeatedAnswer(): void {
  let best = Infinity;
  for (let round = 0; round < 200; round++) {
    const scene = new Scene("mesh", { crypto: NATIVE_BACKEND });
    const initiation = scene.client.initiate(scene.responder);
    scene.responder.receive(initiation, HOME);
    const startedAt = performance.now();
    for (let i = 0; i < 30; i++) scene.responder.receive(initiation, HOME);
    best = Math.min(best, (performance.now() - startedAt) / 30);
    strictEqual(scene.responder.sent, 31);
  }
  figure("mesh, 2a. the same answer again", best);
}

/** An initiation with nothing inside that proves its source. */
function rightMac2(scene: Scene): [Uint8Array, Path] {
  return cached(scene, "right mac2", () => {
    scene.load();
    const garbage = scene.garbage(true);
    return [scene.follow(garbage, scene.responder.receive(garbage, HOME)[0]!), HOME];
  });
}

function cached<T>(scene: Scene, name: string, make: () => T): T {
  const things = kept.get(scene) ?? new Map<string, unknown>();
  kept.set(scene, things);
  if (!things.has(name)) things.set(name, make());
  return things.get(name) as T;
}

function figure(what: string, ms: number): void {
  say(`figure: ${what}: ${(ms * 1e6).toFixed(0)} ns`);
}
