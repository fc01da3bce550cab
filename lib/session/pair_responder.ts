/**
 * The side of a pairing that listens: answers whoever asks, within the price of strangers
 * (docs/protocol.md §4), and takes the first whose message 3 is right.
 *
 * ```text
 *   initiation ─► form, mac1, answered before?, budgets, room ─► ee, es ─► half-open
 *   message 3  ─► form, mac1, index, path ─► se, static key ─► complete
 * ```
 *
 * What must hold: message 3 completes exactly the handshake whose index it names, by the path that
 * message 1 came by; once the other side was heard, nobody takes its place.
 *
 * @module
 */

import { equalBytes, toHex } from "../base/bytes.ts";
import { readU32Le } from "../base/integers.ts";
import type { Initiation, Third } from "../wire/datagram.ts";
import { Admission } from "./admission.ts";
import type { DropReason } from "./actions.ts";
import { HalfOpenTable } from "./half_open.ts";
import { PairChannel } from "./pair_channel.ts";
import type { CompletedPairing, PairSideOptions } from "./pair_initiator.ts";
import { MAX_THIRD_ANSWERS } from "./pair_limits.ts";
import { answerPairInitiation, hasMacs, isPairMac1, NO_KEY, readThird } from "./pair_messages.ts";
import { PairTransport } from "./pair_transport.ts";
import type { Path } from "./path.ts";

/** What the responder works with. */
export interface PairResponderOptions extends PairSideOptions {
  /** Milliseconds since 1970. */
  readonly unixNow: () => number;
}

/** What a datagram asks for; what is sent goes by the way that it came. */
export interface ResponderStep {
  readonly send: readonly Uint8Array[];
  readonly drop?: DropReason;
  /** A handshake is complete, the first or one in its place. */
  readonly done?: CompletedPairing;
}

/** The handshake that is complete. */
interface Accepted {
  readonly completed: CompletedPairing;
  readonly third: Uint8Array;
  answers: number;
}

/** The listening side. */
export class PairResponder {
  readonly #options: PairResponderOptions;
  readonly #admission: Admission;
  readonly #halfOpen = new HalfOpenTable();
  #accepted: Accepted | undefined;

  /** Starts with full budgets. */
  constructor(options: PairResponderOptions) {
    this.#options = options;
    const { context: { crypto }, random, unixNow } = options;
    this.#admission = new Admission({ staticPublicKey: NO_KEY, crypto, random, unixNow });
  }

  /** Handshakes that lack message 3. */
  get halfOpen(): number {
    return this.#halfOpen.size;
  }

  /** When {@linkcode tick} has something to do. */
  get deadlineAt(): number {
    return this.#halfOpen.deadlineAt;
  }

  /** Drops what has expired. */
  tick(now: number): void {
    this.#halfOpen.expire(now);
  }

  /** Takes message 1. */
  takeInitiation(initiation: Initiation, path: Path, now: number): ResponderStep {
    const { context, random } = this.#options;
    if (this.#isTaken) return drop("rate-limited");
    if (!isPairMac1(context, initiation)) return drop("bad-mac1");
    this.#halfOpen.expire(now);
    const by = this.#admissionPath(path);
    const again = this.#halfOpen.repeat(initiation, path, now);
    if (again !== undefined) {
      if (again === "replayed") return drop("replayed");
      const refused = this.#admission.refuseAgain(initiation, by, now);
      return refused === undefined ? { send: [again.response] } : drop(refused);
    }
    const refused = this.#admission.refuse(initiation, by, now);
    if (refused !== undefined) return { send: challengeOf(refused), drop: refused.reason };
    const isProven = initiation.mac2.some((byte) => byte !== 0);
    const source = path.endpoint === undefined ? path.key : toHex(path.endpoint.address);
    if (!this.#halfOpen.makeRoom(source, isProven)) {
      if (isProven) return drop("rate-limited");
      const full = this.#admission.challenge(initiation, by, now);
      return { send: challengeOf(full), drop: full.reason };
    }
    const index = this.#freeIndex(random);
    const answer = answerPairInitiation(context, initiation, index);
    if (typeof answer === "string") return drop(answer);
    this.#halfOpen.add({
      index,
      remoteIndex: initiation.senderIndex,
      handshake: answer.handshake,
      request: initiation.beforeMac2.slice(),
      response: answer.datagram,
      path,
      source,
      isProven,
      answeredAt: now,
    });
    return { send: [answer.datagram] };
  }

  /** Takes message 3. */
  takeThird(third: Third, path: Path, now: number): ResponderStep {
    const { context } = this.#options;
    if (!isPairMac1(context, third)) return drop("bad-mac1");
    const accepted = this.#accepted;
    if (accepted !== undefined && equalBytes(accepted.third, third.beforeMac1)) {
      if (path.key !== accepted.completed.peer.path.key) return drop("wrong-path");
      if (accepted.answers >= MAX_THIRD_ANSWERS) return drop("rate-limited");
      accepted.answers++;
      return { send: [accepted.completed.channel.nothing(now)] };
    }
    this.#halfOpen.expire(now);
    const halfOpen = this.#halfOpen.get(third.receiverIndex);
    if (halfOpen === undefined) return drop("unknown-index");
    if (halfOpen.path.key !== path.key) return drop("wrong-path");
    // The header is not part of what Noise authenticates in message 3.
    if (halfOpen.remoteIndex !== third.senderIndex) return drop("bad-handshake");
    const keys = readThird(halfOpen.handshake, third);
    if (typeof keys === "string") return drop(keys);
    this.#halfOpen.take(halfOpen);
    const { sendKey, receiveKey, remoteStaticKey, handshakeHash } = keys;
    const before = accepted?.completed;
    if (before !== undefined) {
      // Whoever completes first has the place; the same node may start afresh until it was heard.
      const isSame = equalBytes(before.peer.staticKey, remoteStaticKey);
      if (!isSame || before.channel.hasReceived) return drop("rate-limited");
      before.channel.wipe();
    }
    const transport = new PairTransport({
      sendKey,
      receiveKey,
      localIndex: halfOpen.index,
      remoteIndex: halfOpen.remoteIndex,
      crypto: context.crypto,
    });
    const peer = { staticKey: remoteStaticKey, handshakeHash, path };
    const completed = { peer, channel: new PairChannel(transport, now) };
    this.#accepted = { completed, third: third.beforeMac1.slice(), answers: 0 };
    return { send: [completed.channel.nothing(now)], done: completed };
  }

  /** Wipes what is half-open. */
  close(): void {
    this.#halfOpen.clear();
  }

  /** Whether somebody has the place and was heard. */
  get #isTaken(): boolean {
    return this.#accepted?.completed.channel.hasReceived === true;
  }

  /** A profile without cookies has no use for an endpoint to send one to. */
  #admissionPath(path: Path): Path {
    if (hasMacs(this.#options.context.profile) || path.endpoint === undefined) return path;
    const key = toHex(path.endpoint.address);
    return { kind: path.kind, key, remote: path.remote };
  }

  #freeIndex(random: (length: number) => Uint8Array): number {
    for (;;) {
      const index = readU32Le(random(4), 0);
      if (this.#halfOpen.get(index) === undefined) return index;
    }
  }
}

function drop(reason: DropReason): ResponderStep {
  return { send: [], drop: reason };
}

function challengeOf({ challenge }: { readonly challenge?: Uint8Array }): Uint8Array[] {
  return challenge === undefined ? [] : [challenge];
}
