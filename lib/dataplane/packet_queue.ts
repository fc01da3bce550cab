/**
 * Packets of one peer that wait for a keypair. Bounded both ways, because whoever sends on this
 * machine decides how many there are; the oldest make room, since the newest are worth most.
 *
 * @module
 */

/** How much may wait for one peer. */
export interface QueueLimits {
  /** @default {256} */
  readonly maxPackets: number;
  /** @default {1048576} */
  readonly maxBytes: number;
}

/** What a peer gets where nothing else is said. */
export const DEFAULT_QUEUE_LIMITS: QueueLimits = { maxPackets: 256, maxBytes: 1 << 20 };

/** A first-in first-out queue that drops at its head. */
export class PacketQueue {
  readonly #limits: QueueLimits;
  #packets: Uint8Array[] = [];
  #bytes = 0;

  constructor(limits: QueueLimits = DEFAULT_QUEUE_LIMITS) {
    this.#limits = limits;
  }

  /** How many packets wait. */
  get length(): number {
    return this.#packets.length;
  }

  /** How many bytes wait. */
  get bytes(): number {
    return this.#bytes;
  }

  /**
   * Adds a packet at the end; copied.
   *
   * @returns How many were dropped for it, the packet itself included if it alone is too large.
   */
  push(packet: Uint8Array): number {
    if (packet.length > this.#limits.maxBytes) return 1;
    this.#packets.push(packet.slice());
    this.#bytes += packet.length;
    let dropped = 0;
    while (this.#packets.length > this.#limits.maxPackets || this.#bytes > this.#limits.maxBytes) {
      this.#bytes -= this.#packets.shift()!.length;
      dropped++;
    }
    return dropped;
  }

  /** Takes all of them, oldest first. */
  take(): Uint8Array[] {
    const packets = this.#packets;
    this.#packets = [];
    this.#bytes = 0;
    return packets;
  }
}
