/**
 * How often the coordinator is told which peers are wanted: a node that wants all of a large mesh
 * at once must not say more than the coordinator takes of one member.
 *
 * @module
 */

/** The coordinator takes 600 messages of all kinds in a minute. */
const PER_MINUTE = 240;
const MINUTE_MS = 60_000;
/** One peer is not named again sooner. */
const SAME_PEER_MS = 400;

/** Counts what was said in the last minute. */
export class WantLimit {
  readonly #lastOfPeer = new Map<string, number>();
  /** When each of the last {@linkcode PER_MINUTE} was said, oldest first. */
  readonly #recent: number[] = [];

  /**
   * Takes one, if it may be said.
   *
   * @param now On the scale of `Clock.now`.
   */
  take(nodeId: string, now: number): boolean {
    while (this.#recent.length > 0 && now - this.#recent[0]! >= MINUTE_MS) this.#recent.shift();
    for (const [peer, at] of this.#lastOfPeer) {
      if (now - at < SAME_PEER_MS) break; // the rest was said later
      this.#lastOfPeer.delete(peer);
    }
    if (this.#recent.length >= PER_MINUTE || this.#lastOfPeer.has(nodeId)) return false;
    this.#recent.push(now);
    this.#lastOfPeer.set(nodeId, now);
    return true;
  }
}
