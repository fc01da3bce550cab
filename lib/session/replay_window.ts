/**
 * Anti-replay window for transport-data counters, after
 * {@link https://www.rfc-editor.org/rfc/rfc6479 | RFC 6479}.
 *
 * The window is a ring of 32-bit blocks. Moving forward clears whole blocks, so the ring is longer
 * than the window: twice as long, which keeps `& RING_MASK` a modulo. 2 KiB per keypair.
 *
 * @module
 */

const BLOCK_BITS = 32;
const RING_BLOCKS = 512; // a power of two; more than REPLAY_WINDOW_SIZE / BLOCK_BITS
const RING_MASK = RING_BLOCKS - 1;

/** How many of the newest counters are told apart; older ones are refused. */
export const REPLAY_WINDOW_SIZE = 8192;

/**
 * Remembers which counters of one receiving key were already seen.
 *
 * Ask {@linkcode ReplayWindow.mayAccept} before opening and call {@linkcode ReplayWindow.accept}
 * only after the tag has verified: a forged datagram must not be able to move the window.
 *
 * @example Usage
 * ```ts
 * import { ReplayWindow } from "./replay_window.ts";
 * import { strictEqual } from "node:assert/strict";
 *
 * const window = new ReplayWindow();
 * strictEqual(window.accept(7), true);
 * strictEqual(window.accept(7), false); // replayed
 * strictEqual(window.accept(3), true); // late, but inside the window
 * ```
 */
export class ReplayWindow {
  #newest = 0;
  readonly #ring = new Uint32Array(RING_BLOCKS);

  /**
   * Reports whether `counter` is new and inside the window. Changes nothing.
   *
   * @param counter An integer in `[0, 2**53)`.
   * @returns `true` if {@linkcode accept} would return `true`.
   */
  mayAccept(counter: number): boolean {
    if (counter > this.#newest) return true;
    if (this.#newest - counter >= REPLAY_WINDOW_SIZE) return false;
    const block = Math.floor(counter / BLOCK_BITS) & RING_MASK;
    return (this.#ring[block]! & bitOf(counter)) === 0;
  }

  /**
   * Marks `counter` as seen.
   *
   * @param counter Counter of a datagram that authenticated.
   * @returns `false` if it was a replay or lies behind the window.
   */
  accept(counter: number): boolean {
    if (!this.mayAccept(counter)) return false;
    const target = Math.floor(counter / BLOCK_BITS);
    if (counter > this.#newest) {
      const current = Math.floor(this.#newest / BLOCK_BITS);
      // A jump past the whole ring clears each block once, not `target - current` times.
      const steps = Math.min(target - current, RING_BLOCKS);
      for (let i = 1; i <= steps; i++) this.#ring[(current + i) & RING_MASK] = 0;
      this.#newest = counter;
    }
    this.#ring[target & RING_MASK]! |= bitOf(counter);
    return true;
  }
}

function bitOf(counter: number): number {
  return 1 << (counter % BLOCK_BITS);
}
