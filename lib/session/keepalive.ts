/**
 * Empty datagrams to one peer: to say that packets arrived, and to keep a way open through a NAT.
 *
 * The second kind has three modes: never; while the session is used, for a NAT that is known to be
 * there, since its mapping ends sooner than people's patience; always, where somebody asked for it.
 *
 * @module
 */

import type { Keypair } from "./keypair.ts";
import type { Slot } from "./keypair_slots.ts";
import { KEEP_USED_MS, type SessionLimits } from "./limits.ts";
import { keepaliveAt } from "./timers.ts";

/** The keepalives of one peer. */
export class Keepalive {
  /** Whether the way is to be kept open for ever, and a session with it. */
  isPersistent = false;
  /** Whether the way is to be kept open while, and some time after, packets pass. */
  isWhileUsed = false;
  #lastAt = -Infinity;
  #countsFrom = -Infinity;

  /**
   * When an empty datagram is due on the keypair in use.
   *
   * @param slots All of the peer: use of an older keypair counts, too.
   */
  nextAt(keypair: Keypair, slots: readonly Slot[], limits: SessionLimits): number {
    const persistentUntil = this.#until(slots);
    return keepaliveAt(keypair, limits, { lastAt: this.#lastAt, persistentUntil });
  }

  /** One was asked for; it need not have been sent. */
  sent(now: number): void {
    this.#lastAt = now;
  }

  /** Whether there is to be a session although no packet waits for it. */
  wantsSession(slots: readonly Slot[], now: number): boolean {
    return now < this.#until(slots);
  }

  /** No handshake was answered: only what passes from here on is use. */
  gaveUp(now: number): void {
    this.#countsFrom = now;
  }

  /** Until when the way is to be kept open. */
  #until(slots: readonly Slot[]): number {
    if (this.isPersistent) return Infinity;
    if (!this.isWhileUsed) return -Infinity;
    let usedAt = -Infinity;
    for (const { keypair: { activity } } of slots) {
      usedAt = Math.max(usedAt, activity.payloadSentAt, activity.payloadReceivedAt);
    }
    return usedAt > this.#countsFrom ? usedAt + KEEP_USED_MS : -Infinity;
  }
}
