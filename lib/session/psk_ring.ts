/**
 * The preshared keys of a mesh that a node holds: previous, current and next, by epoch.
 *
 * The initiator names its current epoch; unanswered, its next attempt names another one held, in
 * the order previous, next. So a rotation that has reached only one end loses nobody.
 *
 * @module
 */

/** One preshared key. */
export interface EpochPsk {
  /** Unsigned 32 bits. */
  readonly epoch: number;
  /** 32 bytes; not all zero. */
  readonly psk: Uint8Array;
}

/** What a {@linkcode PskRing} is made of. */
export interface PskRingKeys {
  readonly previous?: EpochPsk | undefined;
  readonly current: EpochPsk;
  readonly next?: EpochPsk | undefined;
}

const PSK_LENGTH = 32;

/** The preshared keys held, and the order in which to try them. */
export class PskRing {
  /** Epochs in the order in which an initiator names them. */
  readonly epochs: readonly number[];
  readonly #psks = new Map<number, Uint8Array>();

  /**
   * @param keys Borrowed for good: the caller must not overwrite them.
   * @throws {RangeError} when a key is not 32 bytes, all zero, or an epoch occurs twice or is not
   * an unsigned 32-bit number.
   */
  constructor(keys: PskRingKeys) {
    const held = [keys.current, keys.previous, keys.next].filter((key) => key !== undefined);
    for (const { epoch, psk } of held) {
      if (!Number.isInteger(epoch) || epoch < 0 || epoch > 0xffff_ffff) {
        throw new RangeError(`Cannot hold PSK: epoch must be an unsigned 32-bit number`);
      }
      if (psk.length !== PSK_LENGTH) {
        throw new RangeError(`Cannot hold PSK: must be ${PSK_LENGTH} bytes, is ${psk.length}`);
      }
      // Zeros are what an unset key looks like; Noise would take them for "no secret at all".
      if (psk.every((byte) => byte === 0)) {
        throw new RangeError(`Cannot hold PSK of epoch ${epoch}: all zero`);
      }
      if (this.#psks.has(epoch)) throw new RangeError(`Cannot hold two PSKs of epoch ${epoch}`);
      this.#psks.set(epoch, psk);
    }
    this.epochs = held.map((key) => key.epoch);
  }

  /** The key of an epoch, borrowed; `undefined` if it is not held. */
  get(epoch: number): Uint8Array | undefined {
    return this.#psks.get(epoch);
  }

  /** Keys stay out of logs. */
  toJSON(): unknown {
    return { epochs: this.epochs };
  }
}
