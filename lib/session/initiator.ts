/**
 * The initiation under way with one peer: at most one, repeated freshly while it goes unanswered.
 *
 * ```text
 *           begin                      response
 *   none ──────────► outstanding ─────────────────► none, and a keypair
 *    ▲                  │    ▲
 *    │ abandon, given up│    │ again: after 1, 2, 4, 5, 5 … s, another PSK epoch
 *    └──────────────────┘────┘
 * ```
 *
 * @module
 */

import type { HandshakeState } from "../noise/handshake_state.ts";
import type { Cookie, Response } from "../wire/datagram.ts";
import type { DropReason } from "./actions.ts";
import {
  type Correspondent,
  type HandshakeContext,
  type HandshakeResult,
  readResponse,
  writeInitiation,
} from "./handshake_messages.ts";
import type { Slot } from "./keypair_slots.ts";
import { SEEK_MS, type SessionLimits } from "./limits.ts";
import type { Path } from "./path.ts";
import { TakenCookies } from "./taken_cookies.ts";
import { retryWaitMs } from "./timers.ts";
import type { TimestampSource } from "./timestamp.ts";

/** What an initiator works with; its fields may be replaced by their owner. */
export interface InitiatorContext extends HandshakeContext {
  readonly limits: SessionLimits;
  readonly timestamps: TimestampSource;
  readonly random: (length: number) => Uint8Array;
}

/** What the handshake is for. */
export interface Want {
  /** When it was wanted first; attempts go on from there. */
  readonly wantedAt: number;
  /** Keypairs from this ordinal on serve the same want. */
  readonly servedFrom: number;
  /** Over this path alone, or over those better than the bound one; `undefined`: over all. */
  over: Over | undefined;
}

/** Where an initiation goes that does not go everywhere. */
export type Over = Path | "better";

/** An initiation that waits for its response. */
export interface Outstanding extends Want {
  readonly localIndex: number;
  readonly datagram: Uint8Array;
  readonly sentAt: number;
  /** How many went unanswered before it. */
  readonly attempt: number;
  readonly retryAt: number;
  /** The answer that we gave to the peer's initiation meanwhile. */
  crossedBy: Slot | undefined;
}

/** What completed a handshake. */
export interface Completed {
  readonly keys: HandshakeResult;
  readonly outstanding: Outstanding;
}

/** Where indices come from and go back to. */
export interface IndexSource {
  allocate(): number;
  free(index: number): void;
}

/** Our own handshakes with one peer. */
export class Initiator {
  readonly #context: InitiatorContext;
  readonly #to: Correspondent;
  readonly #indices: IndexSource;
  #outstanding:
    | (Outstanding & { readonly handshake: HandshakeState; readonly cookies: TakenCookies })
    | undefined;

  /** Starts with none. */
  constructor(context: InitiatorContext, to: Correspondent, indices: IndexSource) {
    this.#context = context;
    this.#to = to;
    this.#indices = indices;
  }

  /** The one under way. */
  get outstanding(): Outstanding | undefined {
    return this.#outstanding;
  }

  /** When something has to be done about the one under way; `Infinity` if there is none. */
  get deadlineAt(): number {
    const outstanding = this.#outstanding;
    if (outstanding === undefined) return Infinity;
    return Math.min(
      outstanding.retryAt,
      outstanding.wantedAt + this.#context.limits.giveUpAfterMs,
    );
  }

  /** Writes a first initiation, in place of one under way. */
  begin(want: Want, now: number): Outstanding {
    return this.#start(want, 0, now);
  }

  /**
   * Writes a fresh initiation in place of the one that nobody answered, for all paths.
   *
   * @returns `undefined` if that has gone on for too long: then there is none any more.
   */
  again(now: number): Outstanding | undefined {
    const last = this.#outstanding;
    if (last === undefined) return undefined;
    if (now - last.wantedAt < this.#context.limits.giveUpAfterMs) {
      const { wantedAt, servedFrom } = last;
      return this.#start({ wantedAt, servedFrom, over: undefined }, last.attempt + 1, now);
    }
    this.abandon();
    return undefined;
  }

  /** Reads a response, whose mac1 was right. Only the right one ends the initiation. */
  complete(response: Response): Completed | DropReason {
    const outstanding = this.#outstanding;
    if (outstanding?.localIndex !== response.receiverIndex) return "no-handshake-outstanding";
    const keys = readResponse(outstanding.handshake, response);
    if (typeof keys === "string") return keys;
    this.#outstanding = undefined;
    return { keys, outstanding };
  }

  /** Called when an initiation goes out: the one under way with what its path asks for. */
  goingBy(path: Path, datagram: Uint8Array): Uint8Array {
    const outstanding = this.#outstanding;
    return outstanding?.datagram === datagram ? outstanding.cookies.goingBy(path) : datagram;
  }

  /** Takes a cookie: returns the initiation under way with the mac2 that it gives. */
  takeCookie(cookie: Cookie, path: Path): Uint8Array | DropReason {
    const outstanding = this.#outstanding;
    return outstanding?.localIndex === cookie.receiverIndex
      ? outstanding.cookies.take(cookie, path)
      : "no-handshake-outstanding";
  }

  /** Drops the one under way; its response will find nothing. */
  abandon(): void {
    if (this.#outstanding === undefined) return;
    this.#indices.free(this.#outstanding.localIndex);
    this.#outstanding.handshake.wipe();
    this.#outstanding = undefined;
  }

  #start({ wantedAt, servedFrom, over }: Want, attempt: number, now: number): Outstanding {
    this.abandon();
    const localIndex = this.#indices.allocate();
    const initiation = writeInitiation(this.#context, this.#to, {
      senderIndex: localIndex,
      timestamp: this.#context.timestamps.next(),
      attempt,
    });
    const chance = this.#context.random(1)[0]! / 256;
    this.#outstanding = {
      ...initiation,
      cookies: new TakenCookies(this.#context.crypto, this.#to.staticKey, initiation.datagram),
      wantedAt,
      servedFrom,
      over,
      sentAt: now,
      attempt,
      localIndex,
      retryAt: now + (over === "better" ? SEEK_MS : retryWaitMs(attempt, chance)),
      crossedBy: undefined,
    };
    return this.#outstanding;
  }
}
