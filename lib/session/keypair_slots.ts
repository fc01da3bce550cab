/**
 * The keypairs of one peer, which of them is sent with, and in which order they give way.
 *
 * ```text
 *  initiator: response read ──────────────► confirmed ─┐
 *  responder: response written ─► unconfirmed ─ data ──┴─► current, if it supersedes the present one
 *                                     │
 *                 a newer initiation, or nobody confirms: retired
 * ```
 *
 * Whatever its place, a confirmed keypair opens data until it is too old.
 *
 * @module
 */

import type { Keypair } from "./keypair.ts";
import { MAX_KEYPAIRS } from "./limits.ts";

/** One keypair in its place. */
export interface Slot {
  readonly keypair: Keypair;
  /** Counts the peer's keypairs in the order in which this node completed them. */
  readonly ordinal: number;
  /** The keypair of the handshake that crossed this one's. */
  rival: Slot | undefined;
}

/** The keypairs of one peer. */
export class KeypairSlots {
  /**
   * Whether our static public key is the smaller of the two, most significant byte first: then our
   * handshake wins where two cross.
   */
  readonly isOurKeySmaller: boolean;
  readonly #slots: Slot[] = [];
  #nextOrdinal = 0;
  #current: Slot | undefined;

  /** @param isOurKeySmaller See {@linkcode KeypairSlots.isOurKeySmaller}. */
  constructor(isOurKeySmaller: boolean) {
    this.isOurKeySmaller = isOurKeySmaller;
  }

  /** All of them, oldest first. */
  get all(): readonly Slot[] {
    return this.#slots;
  }

  /** The one to send with. */
  get current(): Slot | undefined {
    return this.#current;
  }

  /** The one that the peer has not used yet. */
  get unconfirmed(): Slot | undefined {
    return this.#slots.find((slot) => !slot.keypair.isConfirmed);
  }

  /** What the ordinal of the next keypair will be. */
  get nextOrdinal(): number {
    return this.#nextOrdinal;
  }

  /** The slot of a keypair, if it was not taken out. */
  slotOf(keypair: Keypair): Slot | undefined {
    return this.#slots.find((slot) => slot.keypair === keypair);
  }

  /** Puts a keypair in; {@linkcode surplus} says what has to go out for it. */
  add(keypair: Keypair): Slot {
    const slot: Slot = { keypair, ordinal: this.#nextOrdinal++, rival: undefined };
    this.#slots.push(slot);
    return slot;
  }

  /**
   * If there are more than a peer may have: the one, current excepted, by which nothing has come for
   * longest. It need not be the oldest: the peer may have given up what came after that.
   */
  get surplus(): Slot | undefined {
    if (this.#slots.length <= MAX_KEYPAIRS) return undefined;
    return this.#slots.filter((slot) => slot !== this.#current).reduce((least, slot) =>
      heardAt(slot) < heardAt(least) ? slot : least
    );
  }

  /** Whether a confirmed keypair shall be sent with instead of the present current one. */
  supersedes(candidate: Slot): boolean {
    const current = this.#current;
    if (current === undefined) return true;
    // Crossing: "the one whose initiator has the smaller static public key … else the later one".
    if (candidate.rival === current) {
      return candidate.keypair.isInitiator === this.isOurKeySmaller;
    }
    return candidate.ordinal > current.ordinal;
  }

  /** Sends with this one from here on; `undefined`: with none. */
  setCurrent(slot: Slot | undefined): void {
    this.#current = slot;
  }

  /** Takes one out. */
  remove(keypair: Keypair): void {
    const at = this.#slots.findIndex((slot) => slot.keypair === keypair);
    if (at < 0) return;
    const [slot] = this.#slots.splice(at, 1) as [Slot];
    if (slot.rival !== undefined) slot.rival.rival = undefined;
    if (this.#current === slot) this.#current = undefined;
  }
}

/** When something last came by a keypair, or when it was made. */
function heardAt({ keypair: { createdAt, activity } }: Slot): number {
  return Math.max(createdAt, activity.receivedAt);
}
