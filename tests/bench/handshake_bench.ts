/**
 * Handshakes per second and core: two session layers, message 1, message 2 and the keys of both,
 * with the DH and hash calls of the real backend and no system calls.
 *
 * ```text
 * deno task bench handshake
 * ```
 *
 * @module
 */

import { toHex } from "../../lib/base/bytes.ts";
import { sha256 } from "../../lib/crypto/hash.ts";
import { generateKeyPair } from "../../lib/crypto/x25519.ts";
import type { Action } from "../../lib/session/actions.ts";
import { DEFAULT_LIMITS } from "../../lib/session/limits.ts";
import type { Path } from "../../lib/session/path.ts";
import { PskRing } from "../../lib/session/psk_ring.ts";
import { Sessions } from "../../lib/session/sessions.ts";
import { TimestampSource } from "../../lib/session/timestamp.ts";
import { median } from "./compiled.ts";
import { say } from "./flags.ts";

const ROUNDS = 5;
const HANDSHAKES = 300;
/** Handshakes a source may ask for are limited: so slow that no limit is met, in virtual time. */
const STEP_MS = 6_000;

/** One end, with the time it spent. */
class End {
  readonly staticKey = generateKeyPair();
  readonly nodeId = toHex(sha256(this.staticKey.publicKey));
  readonly #sessions: Sessions;
  spentMs = 0;

  constructor(psks: PskRing, clock: { now: number }) {
    this.#sessions = new Sessions({
      profile: "mesh",
      meshId: new Uint8Array(16).fill(1),
      staticKey: this.staticKey,
      psks,
      limits: DEFAULT_LIMITS,
      timestamps: new TimestampSource({ unixNow: () => clock.now }),
    });
  }

  know(other: End): void {
    this.#sessions.addPeer({ nodeId: other.nodeId, staticKey: other.staticKey.publicKey });
  }

  /** Runs one call and books its time. */
  #timed(call: (sessions: Sessions) => Action[]): Action[] {
    const start = performance.now();
    const actions = call(this.#sessions);
    this.spentMs += performance.now() - start;
    return actions;
  }

  renew(nodeId: string, now: number): Action[] {
    return this.#timed((sessions) => sessions.renew(nodeId, now));
  }

  receive(datagram: Uint8Array, path: Path, now: number): Action[] {
    return this.#timed((sessions) => sessions.receive(datagram, path, now));
  }
}

const rounds = Array.from({ length: ROUNDS }, round);
const perSecond = (of: (r: typeof rounds[number]) => number) =>
  Math.round(HANDSHAKES / (median(rounds.map(of)) / 1000));
say("| handshakes per second and core | |");
say("| --- | ---: |");
say(`| responder alone | ${perSecond(({ responder }) => responder)} |`);
say(`| initiator alone | ${perSecond(({ initiator }) => initiator)} |`);
say(`| both ends together | ${perSecond((r) => r.initiator + r.responder)} |`);

function round(): { initiator: number; responder: number } {
  const clock = { now: 1_700_000_000_000 };
  const psks = new PskRing({ current: { epoch: 1, psk: new Uint8Array(32).fill(7) } });
  const [alice, bob] = [new End(psks, clock), new End(psks, clock)];
  alice.know(bob);
  bob.know(alice);
  const path: Path = { kind: "udp", key: "udp a b", remote: "192.0.2.1:1" };
  for (let i = 0; i < HANDSHAKES; i++) {
    clock.now += STEP_MS;
    const first = datagramOf(alice.renew(bob.nodeId, clock.now));
    const second = datagramOf(bob.receive(first, path, clock.now));
    const done = alice.receive(second, path, clock.now);
    if (!done.some(({ kind }) => kind === "install")) throw new Error("no handshake came about");
  }
  return { initiator: alice.spentMs, responder: bob.spentMs };
}

function datagramOf(actions: readonly Action[]): Uint8Array {
  for (const action of actions) if ("datagram" in action) return action.datagram;
  throw new Error(`no datagram among ${actions.map(({ kind }) => kind).join(", ")}`);
}
