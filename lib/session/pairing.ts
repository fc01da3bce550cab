/**
 * One pairing: two nodes that do not know each other's keys prove them to each other (Noise XX),
 * and then talk. Takes datagrams and a time, returns what is to be done; does no I/O.
 *
 * What must hold: exactly one profile and one partition are spoken; what is of another is dropped
 * before any hash. That two keys are proven says nothing about whose they are: that is for the
 * people at both ends to compare, and nothing may be kept of the other side before they have.
 *
 * @see docs/protocol.md §8
 * @module
 */

import { type CryptoBackend, NATIVE_BACKEND } from "../crypto/backend.ts";
import type { KeyPair } from "../crypto/x25519.ts";
import { PAIR_PARTITION, pairPrologue } from "../noise/profiles.ts";
import {
  DATAGRAM_TYPE,
  datagramFault,
  decodeHandshake,
  type HandshakeDatagram,
  INITIATION_HEADER_LENGTH,
} from "../wire/datagram.ts";
import type { DropReason } from "./actions.ts";
import { DEFAULT_LIMITS } from "./limits.ts";
import { type PairedPeer, type PairFault, PairInitiator, type PairStep } from "./pair_initiator.ts";
import type { PairChannel } from "./pair_channel.ts";
import { pairMac1Key, type PairProfile } from "./pair_messages.ts";
import { PairResponder } from "./pair_responder.ts";
import type { Path } from "./path.ts";

/** What the caller has to do, in this order. */
export type PairAction =
  | { readonly kind: "send"; readonly datagram: Uint8Array; readonly path: Path }
  /** Something was refused; count it. */
  | { readonly kind: "drop"; readonly reason: DropReason }
  /** Both keys are proven: show people the other one's fingerprint. Comes once. */
  | { readonly kind: "met"; readonly peer: PairedPeer }
  /** The other side says this; the body is the caller's. */
  | { readonly kind: "heard"; readonly body: Uint8Array }
  /** The pairing is over; close it. */
  | { readonly kind: "failed"; readonly fault: PairFault };

/** What a pairing starts with. */
export interface PairingOptions {
  readonly profile: PairProfile;
  /** Names the native partition. @default {PAIR_PARTITION} */
  readonly partition?: string | undefined;
  /** Borrowed as long as the pairing lives. */
  readonly staticKey: KeyPair;
  /** Where to dial; `undefined`: listen. */
  readonly dial?: Path | undefined;
  /** Returns that many random bytes. */
  readonly random: (length: number) => Uint8Array;
  /** Milliseconds since 1970. */
  readonly unixNow: () => number;
  /** How long to dial without an answer, in ms. @default {DEFAULT_LIMITS.giveUpAfterMs} */
  readonly giveUpAfterMs?: number | undefined;
  /** @default {NATIVE_BACKEND} */
  readonly crypto?: CryptoBackend | undefined;
}

/** The talk after the handshake. */
interface Talk {
  readonly peer: PairedPeer;
  readonly channel: PairChannel;
  readonly metAt: number;
}

/** One side of a pairing. */
export class Pairing {
  readonly #profile: PairProfile;
  readonly #initiator: PairInitiator | undefined;
  readonly #responder: PairResponder | undefined;
  /** Kept for a handshake that takes the place of one that nothing was heard on. */
  readonly #said: Uint8Array[] = [];
  #talk: Talk | undefined;
  #isOver = false;

  /**
   * Starts; {@linkcode tick} then dials, if this side does.
   *
   * @throws {RangeError} If the partition is not 1 to 64 printable ASCII characters.
   */
  constructor(options: PairingOptions, now: number) {
    const { profile, partition = PAIR_PARTITION, staticKey, dial, random, unixNow } = options;
    const { crypto = NATIVE_BACKEND } = options;
    pairPrologue(partition, new Uint8Array(INITIATION_HEADER_LENGTH)); // refuses what is no name
    const context = { profile, partition, staticKey, mac1Key: pairMac1Key(crypto), crypto };
    this.#profile = profile;
    if (dial === undefined) this.#responder = new PairResponder({ context, random, unixNow });
    else {
      const { giveUpAfterMs = DEFAULT_LIMITS.giveUpAfterMs } = options;
      this.#initiator = new PairInitiator({ context, random, giveUpAfterMs }, dial, now);
    }
  }

  /** The other side, once both keys are proven. */
  get peer(): PairedPeer | undefined {
    return this.#talk?.peer;
  }

  /** Handshakes that were answered and lack message 3. */
  get halfOpen(): number {
    return this.#responder?.halfOpen ?? 0;
  }

  /** Whether all that was said has arrived, or will not any more. */
  get isHeard(): boolean {
    return this.#isOver || (this.#talk?.channel.isHeard ?? false);
  }

  /** When {@linkcode tick} has something to do. */
  get deadlineAt(): number {
    if (this.#isOver) return Infinity;
    const handshake = this.#responder?.deadlineAt ?? Infinity;
    const talk = this.#talk;
    if (talk === undefined) return Math.min(handshake, this.#initiator?.deadlineAt ?? Infinity);
    const lastAt = talk.metAt + DEFAULT_LIMITS.rejectAfterMs;
    return Math.min(handshake, talk.channel.deadlineAt, lastAt);
  }

  /** Takes a datagram; it is borrowed until the call returns. */
  receive(datagram: Uint8Array, path: Path, now: number): PairAction[] {
    if (this.#isOver) return [];
    if (datagram[0] === DATAGRAM_TYPE.data) return this.#data(datagram, path, now);
    const decoded = decodeHandshake(datagram);
    if (decoded === undefined) return [{ kind: "drop", reason: datagramFault(datagram) }];
    if (decoded.profile !== this.#profile) return [{ kind: "drop", reason: "unknown-profile" }];
    return this.#actionsOf(this.#handshake(decoded, datagram, path, now), path, now);
  }

  /** Says something to the other side, which was met; nothing once it is over. @throws {TypeError} If it was not. */
  say(body: Uint8Array, now: number): PairAction[] {
    const talk = this.#talk;
    if (talk === undefined) throw new TypeError("Cannot say anything: nobody was met");
    if (this.#isOver) return [];
    this.#said.push(body);
    return sendings(talk.channel.say(body, now), talk.peer.path);
  }

  /** Does what is due. */
  tick(now: number): PairAction[] {
    if (this.#isOver) return [];
    this.#responder?.tick(now);
    const talk = this.#talk;
    if (talk === undefined) {
      const initiator = this.#initiator;
      if (initiator === undefined || now < initiator.deadlineAt) return [];
      return this.#actionsOf(initiator.tick(now), initiator.path, now);
    }
    if (now >= talk.metAt + DEFAULT_LIMITS.rejectAfterMs) return this.#fail("too-long");
    if (talk.channel.isSilent(now)) return this.#fail("silent");
    return sendings(talk.channel.tick(now), talk.peer.path);
  }

  /** Wipes every key. Safe to call twice. */
  close(): void {
    this.#isOver = true;
    this.#initiator?.close(this.#talk !== undefined);
    this.#responder?.close();
    this.#talk?.channel.wipe();
  }

  #handshake(
    decoded: HandshakeDatagram,
    datagram: Uint8Array,
    path: Path,
    now: number,
  ): PairStep {
    const [initiator, responder] = [this.#initiator, this.#responder];
    if (decoded.kind === "initiation") {
      return responder?.takeInitiation(decoded, path, now) ?? STRAY;
    }
    if (decoded.kind === "third") return responder?.takeThird(decoded, path, now) ?? STRAY;
    if (initiator === undefined || this.#talk !== undefined) return STRAY;
    if (decoded.kind === "cookie") return initiator.takeCookie(decoded, path);
    return initiator.takeResponse(decoded, datagram, path, now);
  }

  #data(datagram: Uint8Array, path: Path, now: number): PairAction[] {
    const talk = this.#talk;
    if (talk === undefined) {
      const step = this.#initiator?.takeData(datagram, path, now);
      if (step === undefined) return [{ kind: "drop", reason: "unknown-index" }];
      const actions = this.#actionsOf(step, path, now);
      if (step.body !== undefined) actions.push({ kind: "heard", body: step.body });
      return actions;
    }
    if (path.key !== talk.peer.path.key) return [{ kind: "drop", reason: "wrong-path" }];
    const received = talk.channel.receive(datagram, now);
    if (typeof received === "string") return [{ kind: "drop", reason: received }];
    const actions = sendings(received.send, path);
    if (received.body !== undefined) actions.push({ kind: "heard", body: received.body });
    return actions;
  }

  #actionsOf({ send, drop, failed, done }: PairStep, path: Path, now: number): PairAction[] {
    const actions = sendings(send, path);
    if (drop !== undefined) actions.push({ kind: "drop", reason: drop });
    if (failed !== undefined) return [...actions, ...this.#fail(failed)];
    if (done === undefined) return actions;
    const isFirst = this.#talk === undefined;
    this.#talk = { ...done, metAt: now };
    if (isFirst) return [...actions, { kind: "met", peer: done.peer }];
    for (const body of this.#said) actions.push(...sendings(done.channel.say(body, now), path));
    return actions;
  }

  #fail(fault: PairFault): PairAction[] {
    this.close();
    return [{ kind: "failed", fault }];
  }
}

/** A message of a role that this side does not have, or has no use for any more. */
const STRAY: PairStep = { send: [], drop: "no-handshake-outstanding" };

function sendings(datagrams: readonly Uint8Array[], path: Path): PairAction[] {
  return datagrams.map((datagram) => ({ kind: "send", datagram, path }));
}
