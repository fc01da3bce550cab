/**
 * The side of a pairing that dials: one handshake under way at a time, and who answered it.
 *
 * ```text
 *              right response, message 3 goes out          responder heard
 *   asking ─────────────────────────────────────► proving ─────────────────► done
 *     │ ▲  │                                        │
 *     │ └──┘ unanswered: afresh after 1, 2, 4, 5 … s│ unheard for 5 s: asking afresh
 *     ▼                                             │
 *   failed ◄── nobody in time; wrong partition ────┘
 * ```
 *
 * What must hold: there is one profile and one partition, those it was told; a response that does
 * not authenticate under them ends the pairing, unless the right one comes soon after: it may be
 * somebody's forgery. Neither is a reason to try another profile.
 *
 * @module
 */

import { equalBytes } from "../base/bytes.ts";
import { readU32Le } from "../base/integers.ts";
import type { HandshakeState } from "../noise/handshake_state.ts";
import { type Cookie, isData, type Response } from "../wire/datagram.ts";
import type { DropReason } from "./actions.ts";
import { PairChannel } from "./pair_channel.ts";
import { MISMATCH_MS, PAIR_REPEATS_MS, THIRD_UNHEARD_MS } from "./pair_limits.ts";
import {
  hasMacs,
  isPairMac1,
  NO_KEY,
  type PairContext,
  writePairInitiation,
  writeThird,
} from "./pair_messages.ts";
import { PairTransport } from "./pair_transport.ts";
import type { Path } from "./path.ts";
import { TakenCookies } from "./taken_cookies.ts";
import { retryWaitMs } from "./timers.ts";

/** Why a pairing cannot come about. */
export type PairFault =
  /** Whoever answers uses another partition (or forges what he sends). */
  | "mismatch"
  /** Nobody answered. */
  | "unanswered"
  /** It is this very node that answers. */
  | "own-key"
  /** The other side was there and is not any more. */
  | "silent"
  /** It took longer than one handshake may be used. */
  | "too-long";

/** The other side, proven to hold its key. */
export interface PairedPeer {
  /** 32 bytes. */
  readonly staticKey: Uint8Array;
  /** 32 bytes, the same at both ends. */
  readonly handshakeHash: Uint8Array;
  readonly path: Path;
}

/** A handshake that is complete, with what follows it. */
export interface CompletedPairing {
  readonly peer: PairedPeer;
  readonly channel: PairChannel;
}

/** What a step asks for. */
export interface PairStep {
  /** Datagrams to be sent by the path of the pairing. */
  readonly send: readonly Uint8Array[];
  readonly drop?: DropReason;
  readonly failed?: PairFault;
  /** The pairing is complete: both sides have proven their keys to each other. */
  readonly done?: CompletedPairing;
}

/** What both roles work with. */
export interface PairSideOptions {
  readonly context: PairContext;
  /** Returns that many random bytes. */
  readonly random: (length: number) => Uint8Array;
}

/** What the dialling side works with. */
export interface PairInitiatorOptions extends PairSideOptions {
  /** How long it goes on without an answer, in ms. */
  readonly giveUpAfterMs: number;
}

/** A handshake whose response is awaited. */
interface Asking {
  readonly kind: "asking";
  readonly index: number;
  readonly datagram: Uint8Array;
  readonly handshake: HandshakeState;
  readonly cookies: TakenCookies;
  readonly sentAt: number;
  readonly retryAt: number;
  repeats: number;
}

/** Message 3 went out; the responder has not been heard yet. */
interface Proving {
  readonly kind: "proving";
  readonly response: Uint8Array;
  readonly third: Uint8Array;
  readonly completed: CompletedPairing;
  readonly sentAt: number;
  repeats: number;
}

const NOTHING: PairStep = { send: [] };

/** The dialling side. */
export class PairInitiator {
  readonly #options: PairInitiatorOptions;
  /** To the responder, wherever it leaves from. */
  readonly #dial: Path;
  readonly #startedAt: number;
  #state: Asking | Proving | undefined;
  #attempt = 0;
  /** When a response came first that did not authenticate. */
  #mismatchAt = Infinity;

  /** @param path To the responder; nothing that comes from elsewhere is looked at. */
  constructor(options: PairInitiatorOptions, path: Path, now: number) {
    this.#options = options;
    this.#dial = path;
    this.#startedAt = now;
  }

  /** By which what {@linkcode tick} returns is to be sent. */
  get path(): Path {
    return this.#state?.kind === "proving" ? this.#state.completed.peer.path : this.#dial;
  }

  /** When {@linkcode tick} has something to do; `-Infinity` before the first time. */
  get deadlineAt(): number {
    const state = this.#state;
    if (state === undefined) return -Infinity;
    const repeatAt = state.sentAt + (PAIR_REPEATS_MS[state.repeats] ?? Infinity);
    if (state.kind === "proving") return Math.min(repeatAt, state.sentAt + THIRD_UNHEARD_MS);
    return Math.min(repeatAt, state.retryAt, this.#mismatchAt + MISMATCH_MS, this.#giveUpAt);
  }

  /** Returns what is due. */
  tick(now: number): PairStep {
    const state = this.#state;
    if (state === undefined) return this.#ask(now);
    if (state.kind === "asking") {
      if (now >= this.#mismatchAt + MISMATCH_MS) return { send: [], failed: "mismatch" };
      if (now >= this.#giveUpAt) return { send: [], failed: "unanswered" };
      if (now >= state.retryAt) return this.#ask(now);
    } else if (now >= state.sentAt + THIRD_UNHEARD_MS) {
      return this.#ask(now);
    }
    if (now < state.sentAt + (PAIR_REPEATS_MS[state.repeats] ?? Infinity)) return NOTHING;
    state.repeats++;
    const again = state.kind === "asking" ? state.cookies.goingBy(this.#dial) : state.third;
    return { send: [again] };
  }

  /** Takes a response: completes the handshake if it is the right one. */
  takeResponse(response: Response, datagram: Uint8Array, path: Path, now: number): PairStep {
    const state = this.#state;
    if (path.remote !== this.#dial.remote) return { send: [], drop: "wrong-path" };
    if (!isPairMac1(this.#options.context, response)) return { send: [], drop: "bad-mac1" };
    if (state?.kind === "proving") {
      // The copy of an answer: message 3 has not arrived, or not yet.
      if (equalBytes(datagram, state.response)) return { send: [state.third] };
      return { send: [], drop: "no-handshake-outstanding" };
    }
    if (state?.index !== response.receiverIndex) {
      return { send: [], drop: "no-handshake-outstanding" };
    }
    const { context } = this.#options;
    const written = writeThird(context, state.handshake, response, state.index);
    if (written === "unknown-static-key") return { send: [], drop: written, failed: "own-key" };
    if (typeof written === "string") {
      if (written === "bad-handshake" && this.#mismatchAt === Infinity) this.#mismatchAt = now;
      return { send: [], drop: written };
    }
    const { datagram: third, sendKey, receiveKey, remoteStaticKey, handshakeHash } = written;
    const transport = new PairTransport({
      sendKey,
      receiveKey,
      localIndex: state.index,
      remoteIndex: response.senderIndex,
      crypto: context.crypto,
    });
    const peer = { staticKey: remoteStaticKey, handshakeHash, path };
    this.#state = {
      kind: "proving",
      response: datagram.slice(),
      third,
      completed: { peer, channel: new PairChannel(transport, now) },
      sentAt: now,
      repeats: 0,
    };
    return { send: [third] };
  }

  /** Takes a cookie: the same initiation goes out again, with the proof that it asks for. */
  takeCookie(cookie: Cookie, path: Path): PairStep {
    const state = this.#state;
    if (state?.kind !== "asking" || state.index !== cookie.receiverIndex) {
      return { send: [], drop: "no-handshake-outstanding" };
    }
    const proving = state.cookies.take(cookie, path);
    return typeof proving === "string" ? { send: [], drop: proving } : { send: [proving] };
  }

  /** Takes transport data: the first of the responder says that message 3 arrived. */
  takeData(datagram: Uint8Array, path: Path, now: number): PairStep & { body?: Uint8Array } {
    const state = this.#state;
    if (state?.kind !== "proving") return { send: [], drop: "unknown-index" };
    if (path.key !== this.path.key) return { send: [], drop: "wrong-path" };
    if (!isData(datagram)) return { send: [], drop: "malformed" };
    const { completed } = state;
    const received = completed.channel.receive(datagram, now);
    // What authenticates proves the responder, whether or not it makes sense.
    if (!completed.channel.hasReceived) return { send: [], drop: received as DropReason };
    if (typeof received === "string") return { send: [], drop: received, done: completed };
    const { send, body } = received;
    return { send, done: completed, ...(body !== undefined && { body }) };
  }

  /** Wipes what is under way; a channel that was handed out is its owner's to wipe. */
  close(isDone: boolean): void {
    const state = this.#state;
    if (state?.kind === "asking") state.handshake.wipe();
    else if (state !== undefined && !isDone) state.completed.channel.wipe();
  }

  get #giveUpAt(): number {
    return this.#startedAt + this.#options.giveUpAfterMs;
  }

  #ask(now: number): PairStep {
    this.close(false);
    const { context, random } = this.#options;
    const index = readU32Le(random(4), 0);
    const { datagram, handshake } = writePairInitiation(context, index);
    const cookies = new TakenCookies(context.crypto, NO_KEY, datagram);
    const retryAt = now + retryWaitMs(this.#attempt++, random(1)[0]! / 256);
    this.#state = {
      ...{ kind: "asking", index, datagram, handshake, cookies },
      ...{ sentAt: now, retryAt, repeats: 0 },
    };
    return { send: [hasMacs(context.profile) ? cookies.goingBy(this.#dial) : datagram] };
  }
}
