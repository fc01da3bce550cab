/**
 * How often initiations may go to sources from which data of a session strayed in. Anybody can
 * make data stray by sending a copy of it from elsewhere, so this is all they get.
 *
 * @module
 */

import { HEAL_AGAIN_MS, HEAL_INTERVAL_MS, HEAL_TRIES, HEALS_PER_SECOND } from "./limits.ts";

/** What a peer has had. */
interface Taken {
  /** When its interval began. */
  readonly since: number;
  readonly lastAt: number;
  readonly count: number;
}

/** Three per peer in five seconds, for one may be lost; ten per second in all. */
export class HealLimit {
  readonly #ofPeer = new Map<string, Taken>();
  /** The last ten of all peers, oldest first. */
  readonly #recent: number[] = [];

  /** Takes one, if it is to be had. */
  take(peer: string, now: number): boolean {
    const known = this.#ofPeer.get(peer);
    const current = known !== undefined && now - known.since < HEAL_INTERVAL_MS ? known : undefined;
    if (current?.count === HEAL_TRIES) return false;
    if (current !== undefined && now - current.lastAt < HEAL_AGAIN_MS) return false;
    if (this.#recent.length === HEALS_PER_SECOND) {
      if (now - this.#recent[0]! < 1_000) return false;
      this.#recent.shift();
    }
    this.#recent.push(now);
    const { since, count } = current ?? { since: now, count: 0 };
    this.#ofPeer.set(peer, { since, lastAt: now, count: count + 1 });
    return true;
  }

  /** Forgets a peer that was removed. */
  forget(peer: string): void {
    this.#ofPeer.delete(peer);
  }
}
