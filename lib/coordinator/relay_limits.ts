/**
 * What one member may ask of the relay, and what the relay may hold.
 *
 * @module
 */

/** The limits of a relay. */
export interface RelayLimits {
  /** Bytes per second from one member, after the burst. @default {125000000} */
  readonly bytesPerSecond: number;
  /** @default {8388608} */
  readonly burstBytes: number;
  /** Datagrams per second from one member, after the burst. @default {250000} */
  readonly datagramsPerSecond: number;
  /** @default {32768} */
  readonly burstDatagrams: number;
  /** Bytes that may wait for one member beyond those in its socket. @default {2097152} */
  readonly queueBytes: number;
  /** Bytes in a member's socket beyond which more waits outside it. @default {131072} */
  readonly socketBytes: number;
  /** What waited for so long is of no use any more. @default {300} */
  readonly maxWaitMs: number;
  /** Bytes that may wait for all members together. @default {67108864} */
  readonly totalQueueBytes: number;
  /** Bytes on the way to the relay from all members that send, at most. @default {4194304} */
  readonly totalWindowBytes: number;
}

/** Most bytes of a message. */
export const MAX_RELAY_MESSAGE = 65_536;
/**
 * Bytes that a member may have sent before it was granted any: part of the protocol. Nor is the
 * window ever smaller, for the longest message must fit.
 */
export const RELAY_FIRST_WINDOW = 65_536;
/** Most bytes on the way from one member, as much as may wait for one: 400 Mbit/s over 40 ms. */
export const MAX_RELAY_WINDOW = 2_097_152;

/** One gigabit per second for everyone, as long as the machine has it. */
export const DEFAULT_RELAY_LIMITS: RelayLimits = {
  bytesPerSecond: 125_000_000,
  burstBytes: 8_388_608,
  datagramsPerSecond: 250_000,
  burstDatagrams: 32_768,
  queueBytes: 2_097_152,
  socketBytes: 131_072,
  maxWaitMs: 300,
  totalQueueBytes: 67_108_864,
  totalWindowBytes: 4_194_304,
};

/** Two token buckets of one member: bytes and datagrams. */
export class RelayMeter {
  readonly #limits: RelayLimits;
  #bytes: number;
  #datagrams: number;
  #at: number;

  /** Starts full. @param now Milliseconds that never step back. */
  constructor(limits: RelayLimits, now: number) {
    this.#limits = limits;
    this.#bytes = limits.burstBytes;
    this.#datagrams = limits.burstDatagrams;
    this.#at = now;
  }

  /** Takes a message's worth from both, or from neither. @returns `false`: over the limit. */
  spend(bytes: number, datagrams: number, now: number): boolean {
    const { bytesPerSecond, burstBytes, datagramsPerSecond, burstDatagrams } = this.#limits;
    const seconds = (now - this.#at) / 1000;
    this.#at = now;
    this.#bytes = Math.min(burstBytes, this.#bytes + seconds * bytesPerSecond);
    this.#datagrams = Math.min(burstDatagrams, this.#datagrams + seconds * datagramsPerSecond);
    if (this.#bytes < bytes || this.#datagrams < datagrams) return false;
    this.#bytes -= bytes;
    this.#datagrams -= datagrams;
    return true;
  }
}
