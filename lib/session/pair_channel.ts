/**
 * Messages between two machines that are pairing: each arrives once and in order, whatever is lost
 * on the way. One message is under way at a time.
 *
 * ```text
 * plaintext   (empty)                                        nothing to say
 *             0x00 │ kind 16 │ number u32 │ heard u32 │ body     little-endian
 * ```
 *
 * `number` counts this side's messages from 1; `heard` is the number of the other side's last one.
 * A datagram without a body only acknowledges, and its number is 0. A message is sent again, under
 * a fresh counter, until it is acknowledged.
 *
 * @see docs/protocol.md §8
 * @module
 */

import { readU32Le, writeU32Le } from "../base/integers.ts";
import type { DropReason } from "./actions.ts";
import { PAIR_KEEPALIVE_MS, PAIR_SILENCE_MS, RESEND_MS } from "./pair_limits.ts";
import type { PairTransport } from "./pair_transport.ts";

/** Second byte of a plaintext that carries a message. */
export const PAIR_CONTROL_KIND = 16;
const AT = { zero: 0, kind: 1, number: 2, heard: 6, body: 10 } as const;
/** Longest body; with all that is around it, less than any link's least datagram (1280). */
export const MAX_PAIR_BODY = 1_024;

const EMPTY = new Uint8Array(0);

/** What one datagram brought. */
export interface Received {
  /** The message that it carried, the first time that it came. */
  readonly body: Uint8Array | undefined;
  /** Datagrams to be sent. */
  readonly send: readonly Uint8Array[];
}

/** The message that is not acknowledged yet. */
interface UnderWay {
  readonly number: number;
  readonly body: Uint8Array;
  tries: number;
  resendAt: number;
}

/** One end of the talk. */
export class PairChannel {
  readonly #transport: PairTransport;
  readonly #waiting: Uint8Array[] = [];
  #underWay: UnderWay | undefined;
  #lastNumber = 0;
  #heard = 0;
  #sentAt: number;
  #receivedAt: number;

  /** @param transport Of a complete handshake; owned from now on. */
  constructor(transport: PairTransport, now: number) {
    this.#transport = transport;
    this.#sentAt = now;
    this.#receivedAt = now;
  }

  /** Whether anything of the other side was opened. */
  get hasReceived(): boolean {
    return this.#transport.hasReceived;
  }

  /** Whether all that was said has arrived. */
  get isHeard(): boolean {
    return this.#underWay === undefined && this.#waiting.length === 0;
  }

  /** When {@linkcode tick} has something to do. */
  get deadlineAt(): number {
    return Math.min(
      this.#underWay?.resendAt ?? Infinity,
      this.#sentAt + PAIR_KEEPALIVE_MS,
      this.#receivedAt + PAIR_SILENCE_MS,
    );
  }

  /** Whether nothing of the other side has come for too long. */
  isSilent(now: number): boolean {
    return now - this.#receivedAt >= PAIR_SILENCE_MS;
  }

  /**
   * Says something.
   *
   * @param body 1 to {@linkcode MAX_PAIR_BODY} bytes; kept.
   * @returns Datagrams to be sent.
   * @throws {RangeError} If it is empty or too long.
   */
  say(body: Uint8Array, now: number): Uint8Array[] {
    if (body.length === 0 || body.length > MAX_PAIR_BODY) {
      throw new RangeError(`Cannot say ${body.length} bytes: a message has 1 to ${MAX_PAIR_BODY}`);
    }
    this.#waiting.push(body);
    return this.#next(now);
  }

  /** An empty datagram: shows that this side is there. */
  nothing(now: number): Uint8Array {
    this.#sentAt = now;
    return this.#transport.seal(EMPTY);
  }

  /**
   * Takes a datagram of the other side.
   *
   * @returns Why it is dropped, and then nothing has changed; except that what authenticates and
   * makes no sense counts as heard of.
   */
  receive(datagram: Uint8Array, now: number): Received | DropReason {
    const plaintext = this.#transport.open(datagram);
    if (typeof plaintext === "string") return plaintext;
    this.#receivedAt = now;
    if (plaintext.length === 0) return { body: undefined, send: [] };
    if (plaintext.length < AT.body || plaintext[AT.zero] !== 0) return "bad-plaintext";
    if (plaintext[AT.kind] !== PAIR_CONTROL_KIND) return "unknown-control-kind";
    if (this.#underWay?.number === readU32Le(plaintext, AT.heard)) this.#underWay = undefined;
    const body = plaintext.subarray(AT.body);
    // One message is under way at a time: it is the next one, or one whose acknowledgement was lost.
    const isNext = body.length > 0 && readU32Le(plaintext, AT.number) === this.#heard + 1;
    if (isNext) this.#heard++;
    const send = this.#next(now);
    if (body.length > 0 && send.length === 0) send.push(this.#write(0, EMPTY, now));
    return { body: isNext ? body.slice() : undefined, send };
  }

  /** Returns what is due: a repetition, or an empty datagram. */
  tick(now: number): Uint8Array[] {
    const underWay = this.#underWay;
    if (underWay !== undefined && now >= underWay.resendAt) {
      underWay.tries++;
      underWay.resendAt = now + resendWait(underWay.tries);
      return [this.#write(underWay.number, underWay.body, now)];
    }
    return now >= this.#sentAt + PAIR_KEEPALIVE_MS ? [this.nothing(now)] : [];
  }

  /** Overwrites the keys; only for one that will not be used again. */
  wipe(): void {
    this.#transport.wipe();
  }

  #next(now: number): Uint8Array[] {
    if (this.#underWay !== undefined) return [];
    const body = this.#waiting.shift();
    if (body === undefined) return [];
    const number = ++this.#lastNumber;
    this.#underWay = { number, body, tries: 0, resendAt: now + resendWait(0) };
    return [this.#write(number, body, now)];
  }

  #write(number: number, body: Uint8Array, now: number): Uint8Array {
    const plaintext = new Uint8Array(AT.body + body.length);
    plaintext[AT.kind] = PAIR_CONTROL_KIND;
    writeU32Le(plaintext, AT.number, number);
    writeU32Le(plaintext, AT.heard, this.#heard);
    plaintext.set(body, AT.body);
    this.#sentAt = now;
    return this.#transport.seal(plaintext);
  }
}

function resendWait(tries: number): number {
  return RESEND_MS[Math.min(tries, RESEND_MS.length - 1)]!;
}
