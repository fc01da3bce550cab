/**
 * How often initiations may go to sources from which data of a session strayed in. Anybody can
 * make data stray by sending a copy of it from elsewhere, so this is all they get.
 *
 * @module
 */

import { HEAL_INTERVAL_MS, HEALS_PER_SECOND } from "./limits.ts";

/** One per peer per five seconds, ten per second in all. */
export class HealLimit {
  readonly #lastOfPeer = new Map<string, number>();
  /** The last ten of all peers, oldest first. */
  readonly #recent: number[] = [];

  /** Takes one, if it is to be had. */
  take(peer: string, now: number): boolean {
    if (now - (this.#lastOfPeer.get(peer) ?? -Infinity) < HEAL_INTERVAL_MS) return false;
    if (this.#recent.length === HEALS_PER_SECOND) {
      if (now - this.#recent[0]! < 1_000) return false;
      this.#recent.shift();
    }
    this.#recent.push(now);
    this.#lastOfPeer.set(peer, now);
    return true;
  }

  /** Forgets a peer that was removed. */
  forget(peer: string): void {
    this.#lastOfPeer.delete(peer);
  }
}
