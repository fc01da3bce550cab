/**
 * Pairing handshakes that were answered and lack message 3: few, for a short time, and hard to push
 * out for whoever does not own an address.
 *
 * What must hold: there are never more than `MAX_HALF_OPEN`. Where the table is full, only who has
 * proven his address gets a place: that of his own oldest, if he holds his share, else that of the
 * oldest whose address is not proven, else none. So spoofed addresses keep nobody out, and who has
 * one address takes no place of who has another.
 *
 * @module
 */

import { equalBytes } from "../base/bytes.ts";
import type { HandshakeState } from "../noise/handshake_state.ts";
import type { Initiation } from "../wire/datagram.ts";
import { REPEAT_ANSWER_MS } from "./limits.ts";
import { HALF_OPEN_MS, HALF_OPEN_PER_SOURCE, MAX_HALF_OPEN } from "./pair_limits.ts";
import type { Path } from "./path.ts";

/** A handshake that waits for message 3. */
export interface HalfOpen {
  /** Receiver index of message 3. */
  readonly index: number;
  /** Receiver index of what goes to the initiator. */
  readonly remoteIndex: number;
  readonly handshake: HandshakeState;
  /** Every byte of message 1 before mac2. */
  readonly request: Uint8Array;
  readonly response: Uint8Array;
  readonly path: Path;
  /** Whom it is counted for. */
  readonly source: string;
  /** Whether the source has shown that it receives there. */
  readonly isProven: boolean;
  readonly answeredAt: number;
}

/** The table, oldest first. */
export class HalfOpenTable {
  #entries: HalfOpen[] = [];

  /** How many there are. */
  get size(): number {
    return this.#entries.length;
  }

  /** When the oldest expires; `Infinity` if there is none. */
  get deadlineAt(): number {
    const [oldest] = this.#entries;
    return oldest === undefined ? Infinity : oldest.answeredAt + HALF_OPEN_MS;
  }

  /** Drops what has expired. */
  expire(now: number): void {
    this.#drop((entry) => now >= entry.answeredAt + HALF_OPEN_MS);
  }

  /**
   * Makes room for one more.
   *
   * @param source Whom it will be counted for.
   * @param isProven Whether that is proven.
   * @returns `false` if there is no room, and nothing has changed.
   */
  makeRoom(source: string, isProven: boolean): boolean {
    if (this.#entries.length < MAX_HALF_OPEN) return true;
    if (!isProven) return false;
    const own = this.#entries.filter((entry) => entry.isProven && entry.source === source);
    const leaving = own.length >= HALF_OPEN_PER_SOURCE
      ? own[0]
      : this.#entries.find((entry) => !entry.isProven);
    if (leaving === undefined) return false;
    this.#drop((entry) => entry === leaving);
    return true;
  }

  /** Adds one; there must be room. */
  add(entry: HalfOpen): void {
    if (this.#entries.length >= MAX_HALF_OPEN) throw new RangeError("Cannot add: table is full");
    this.#entries.push(entry);
  }

  /**
   * The answer to give to an initiation again. The same one by another path is another handshake:
   * whoever copies it from elsewhere must not take the place of who wrote it.
   *
   * @returns `undefined` if it was not answered; `replayed` if that was too long ago.
   */
  repeat(initiation: Initiation, path: Path, now: number): HalfOpen | "replayed" | undefined {
    const entry = this.#entries.find((entry) =>
      entry.path.key === path.key && equalBytes(entry.request, initiation.beforeMac2)
    );
    if (entry === undefined) return undefined;
    return now < entry.answeredAt + REPEAT_ANSWER_MS ? entry : "replayed";
  }

  /** The one that an index stands for. */
  get(index: number): HalfOpen | undefined {
    return this.#entries.find((entry) => entry.index === index);
  }

  /** Takes one out without wiping it: its handshake is complete. */
  take(entry: HalfOpen): void {
    this.#entries = this.#entries.filter((other) => other !== entry);
  }

  /** Wipes and drops all. */
  clear(): void {
    this.#drop(() => true);
  }

  #drop(isLeaving: (entry: HalfOpen) => boolean): void {
    this.#entries = this.#entries.filter((entry) => {
      if (!isLeaving(entry)) return true;
      entry.handshake.wipe();
      return false;
    });
  }
}
