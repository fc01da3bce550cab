/**
 * Whether a peer still answers: sent something, heard nothing, asked, heard nothing.
 *
 * ```text
 *  answered ── something sent, no datagram for W ──► asked (echo) ── none for V ──► silent
 *     ▲                                               │                             │
 *     └───────────── a datagram authenticated ────────┴─────────────────────────────┘
 *  W = max(1 s, 3 × round trip), V = max(0.75 s, 3 × round trip)
 * ```
 *
 * Watches the current keypair only; a new one starts over.
 *
 * @module
 */

import { toHex } from "../base/bytes.ts";
import type { Keypair } from "./keypair.ts";
import { MIN_ANSWER_MS, MIN_SILENCE_MS, SILENCE_ROUND_TRIPS } from "./limits.ts";

/** What {@linkcode Liveness.due} asks for. */
export type LivenessVerdict = "echo" | "silent" | undefined;

/** How an echo was answered. */
export interface EchoAnswer {
  readonly rttMs: number;
  /** Whether somebody asked for this echo. */
  readonly isPing: boolean;
}

/** Weight of the latest round trip in the smoothed one. */
const SMOOTHING = 1 / 8;
/** Echoes whose answer is still awaited; older ones are forgotten. */
const MAX_ECHOES = 16;

/** The liveness of one peer. */
export class Liveness {
  #rttMs: number | undefined;
  /** When the first unanswered echo was sent. */
  #askedAt: number | undefined;
  #silentAt: number | undefined;
  /** What was sent before this moment is not waited for any more. */
  #waitsFrom = -Infinity;
  readonly #echoes = new Map<string, { sentAt: number; isPing: boolean }>();

  /** Smoothed round trip; `undefined` before the first answer. */
  get rttMs(): number | undefined {
    return this.#rttMs;
  }

  /** Whether an echo went unanswered and nothing else came since. */
  get isSilent(): boolean {
    return this.#silentAt !== undefined;
  }

  /** Whether somebody still waits for the answer to an echo; then it has to be sent again. */
  takeOpenPings(): boolean {
    let isOpen = false;
    for (const [key, echo] of this.#echoes) {
      if (!echo.isPing) continue;
      isOpen = true;
      this.#echoes.delete(key);
    }
    return isOpen;
  }

  /** Called when another keypair becomes current. */
  reset(isOtherPath: boolean): void {
    this.#askedAt = undefined;
    this.#silentAt = undefined;
    this.#waitsFrom = -Infinity;
    if (isOtherPath) this.#rttMs = undefined;
  }

  /** Called when no handshake was answered: only what is sent from here on counts again. */
  gaveUp(now: number): void {
    this.reset(false);
    this.#waitsFrom = now;
    this.#echoes.clear();
  }

  /** Called for each echo that is sealed. `id` is its 8 bytes. */
  echoSent(id: Uint8Array, now: number, isPing: boolean): void {
    this.#askedAt ??= now;
    this.#echoes.set(toHex(id), { sentAt: now, isPing });
    if (this.#echoes.size > MAX_ECHOES) {
      for (const oldest of this.#echoes.keys()) return void this.#echoes.delete(oldest);
    }
  }

  /** Called for each echo reply. Returns `undefined` if no such echo is open. */
  echoAnswered(id: Uint8Array, now: number): EchoAnswer | undefined {
    const key = toHex(id);
    const echo = this.#echoes.get(key);
    if (echo === undefined) return undefined;
    this.#echoes.delete(key);
    const rttMs = now - echo.sentAt;
    this.#rttMs = this.#rttMs === undefined
      ? rttMs
      : this.#rttMs + (rttMs - this.#rttMs) * SMOOTHING;
    return { rttMs, isPing: echo.isPing };
  }

  /** What has to be done now for the current keypair. Carries the change of state out. */
  due(keypair: Keypair, now: number): LivenessVerdict {
    this.#noticeAnswers(keypair);
    if (now < this.nextAt(keypair)) return undefined;
    if (this.#askedAt === undefined) return "echo";
    this.#askedAt = undefined;
    this.#silentAt = now;
    return "silent";
  }

  /** When {@linkcode due} will next ask for something, if nothing happens meanwhile. */
  nextAt(keypair: Keypair): number {
    const { receivedAt } = keypair.activity;
    if (this.#silentAt !== undefined && receivedAt <= this.#silentAt) return Infinity;
    if (this.#askedAt !== undefined && receivedAt < this.#askedAt) {
      return this.#askedAt + this.#answerWaitMs;
    }
    return this.#unansweredSince(keypair) + this.#silenceWaitMs;
  }

  /** Since when something that was sent waits for an answer; `Infinity` if nothing does. */
  #unansweredSince({ activity, isInitiator, createdAt }: Keypair): number {
    if (activity.payloadSentAt > Math.max(activity.receivedAt, this.#waitsFrom)) {
      return Math.max(activity.unansweredSince, this.#waitsFrom);
    }
    // An initiator sends at once. That datagram confirms the keypair at the other end, so whether
    // it arrived has to be known even if it was an empty one.
    const hasHeardNothing = isInitiator && activity.receivedAt === -Infinity;
    return hasHeardNothing && createdAt > this.#waitsFrom ? createdAt : Infinity;
  }

  get #silenceWaitMs(): number {
    return Math.max(MIN_SILENCE_MS, SILENCE_ROUND_TRIPS * (this.#rttMs ?? 0));
  }

  get #answerWaitMs(): number {
    // A handshake says little of the round trip: its messages are repeated while holes are punched.
    // Where that is long, the first answer comes late, tells it, and has cost one handshake.
    return Math.max(MIN_ANSWER_MS, SILENCE_ROUND_TRIPS * (this.#rttMs ?? 0));
  }

  #noticeAnswers({ activity: { receivedAt } }: Keypair): void {
    if (this.#askedAt !== undefined && receivedAt >= this.#askedAt) this.#askedAt = undefined;
    if (this.#silentAt !== undefined && receivedAt > this.#silentAt) this.#silentAt = undefined;
  }
}
