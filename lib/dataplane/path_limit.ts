/**
 * How much fits a path, as a data plane needs to know it, and what becomes of packets that do not fit.
 *
 * ```text
 *  datagram ≤ whole        goes in one piece, never fragmented
 *  packet   ≤ mtu          goes in fragments of IP: only where not even MIN_MTU fits in one piece
 *  packet   > mtu          its sender is told; an IPv4 packet that may be fragmented goes in fragments
 * ```
 *
 * @module
 */

import { readU16Be } from "../base/integers.ts";
import { ipVersion } from "../net/ip_packet.ts";
import { DATA_OVERHEAD } from "../session/transport_keys.ts";

/** No IPv6 link is narrower (RFC 8200 §5): so much is carried, in fragments if need be. */
export const MIN_MTU = 1280;

/** How much fits a path. */
export interface PathLimit {
  /** Largest inner packet, in bytes. */
  readonly mtu: number;
  /** Largest datagram that fits in one piece, in bytes. */
  readonly whole: number;
}

/** Of a path that takes whatever the interface gives. */
export const NO_LIMIT: PathLimit = Object.freeze({ mtu: Infinity, whole: Infinity });

/** The same object for {@linkcode NO_LIMIT}, of a limit that came from another thread. */
export function sameLimit(limit: PathLimit): PathLimit {
  return limit.mtu === Infinity ? NO_LIMIT : limit;
}

/**
 * The limit of a path.
 *
 * @param size Largest inner packet whose datagram fits in one piece.
 * @param passesFragments Whether larger ones arrive in fragments. @default {true}
 */
export function pathLimit(size: number, passesFragments = true): PathLimit {
  return {
    mtu: passesFragments ? Math.max(size, MIN_MTU) : size,
    whole: size + DATA_OVERHEAD,
  };
}

/** Whether a packet is to be refused: too large, and not to be fragmented (RFC 791, DF). */
export function isTooLarge(packet: Uint8Array, length: number, { mtu }: PathLimit): boolean {
  if (length <= mtu) return false;
  return ipVersion(packet) !== 4 || (readU16Be(packet, 6) & 0x4000) !== 0;
}
