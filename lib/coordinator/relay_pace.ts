/**
 * How much those who send through the relay may have on the way to it, and when they are granted
 * more. What is on the way stands before whatever else the relay's thread gets: the windows bound
 * how long a join waits there.
 *
 * ```text
 * windows   an equal share each of what all may have together; that is halved while more stands
 *           before a timer than a join should wait for, and doubled again while it does not
 * grants    wait while somebody joins, for some milliseconds at a time and a quarter of all time at
 *           most, so that one who only pretends to join slows the relay by no more than that
 * ```
 *
 * @module
 */

import { MAX_RELAY_WINDOW, RELAY_FIRST_WINDOW } from "./relay_limits.ts";

/** One who sent so lately is one who sends; and how often that is looked at. Ours. */
const SENDING_MS = 1_000;
const SHARE_MS = 100;
/**
 * Bytes that come between a timer's moment and the timer: more of them stood in its way. Ours: 8 ms
 * at 1 Gbit/s. Bytes, not milliseconds: those say as much of what else the machine does.
 */
const BEHIND_BYTES = 1_048_576;
/** How long a sign of somebody who joins holds grants back: the time to his next one. Ours. */
const GIVE_WAY_MS = 20;
/** Part of the time that grants may be held back in the long run, and how much at once. Ours. */
const GIVE_WAY_SHARE = 0.25;
const GIVE_WAY_MOST_MS = 250;

/** The pace of one relay. Instants are on the scale of `Clock.now`. */
export class RelayPace {
  readonly #mostBytes: number;
  /** What all may have on the way at present. */
  #totalBytes: number;
  #share = RELAY_FIRST_WINDOW;
  #sharedAt = -Infinity;
  /** What stood before a timer at most since the share was found, in bytes. */
  #behindBytes = 0;
  /** Until when nothing is granted, and how much longer that may get. */
  #heldUntil = -Infinity;
  #sparedMs = GIVE_WAY_MOST_MS;
  #sparedAt = 0;

  /** @param mostBytes What all may have on the way together, as long as this thread keeps up. */
  constructor(mostBytes: number) {
    this.#mostBytes = mostBytes;
    this.#totalBytes = mostBytes;
  }

  /** What each of those may have on the way that send: an equal share, never less than a message. */
  shareOf(now: number, members: Iterable<{ readonly sentAt: number }>): number {
    if (now - this.#sharedAt >= SHARE_MS) {
      this.#sharedAt = now;
      let senders = 1;
      for (const { sentAt } of members) if (now - sentAt < SENDING_MS) senders++;
      const isBehind = this.#behindBytes > BEHIND_BYTES;
      this.#behindBytes = 0;
      this.#totalBytes = isBehind
        ? Math.max(RELAY_FIRST_WINDOW, this.#totalBytes / 2)
        : Math.min(this.#mostBytes, this.#totalBytes * 2);
      const share = Math.max(RELAY_FIRST_WINDOW, this.#totalBytes / senders);
      this.#share = Math.floor(Math.min(MAX_RELAY_WINDOW, share));
    }
    return this.#share;
  }

  /** A timer came, and so many bytes of messages since it was due. */
  cameAfter(bytes: number): void {
    this.#behindBytes = Math.max(this.#behindBytes, bytes);
  }

  /** Somebody joins. */
  giveWay(now: number): void {
    const gained = (now - this.#sparedAt) * GIVE_WAY_SHARE;
    this.#sparedMs = Math.min(GIVE_WAY_MOST_MS, this.#sparedMs + gained);
    this.#sparedAt = now;
    const until = now + GIVE_WAY_MS;
    const more = until - Math.max(now, this.#heldUntil);
    if (more > this.#sparedMs) return;
    this.#sparedMs -= more;
    this.#heldUntil = until;
  }

  /** When those may be granted more who need it. */
  grantAt(now: number): number {
    return Math.max(now, this.#heldUntil);
  }
}
