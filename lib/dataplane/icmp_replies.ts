/**
 * Tells this machine's own programs that a packet went nowhere, so that they fail at once instead of
 * waiting: an ICMP error back into the TUN, some per second, since a scan of the mesh's range would
 * otherwise get an answer per packet.
 *
 * The errors come from the address that the packet was for: an operating system drops a packet that
 * arrives with one of its own addresses as the source.
 *
 * @module
 */

import { buildPacketTooBig, buildUnreachable } from "../net/icmp.ts";
import { DESTINATION_AT, ipVersion } from "../net/ip_packet.ts";

/** Errors per second in the long run. Ours: enough for people and path MTU discovery. */
const PER_SECOND = 50;
/** Errors that may follow each other at once. */
const BURST = 100;
/** No IPv6 link is narrower (RFC 8200 §5), so no sender believes in a smaller one. */
const MIN_IPV6_MTU = 1280;

/** ICMP errors behind a token bucket. */
export class IcmpReplies {
  #tokens = BURST;
  #filledAt = 0;

  /**
   * Builds "unreachable" for a packet that is routed to nobody.
   *
   * @param packet A packet with a right header; borrowed.
   * @param now On the scale of `Clock.now`.
   * @returns `undefined` where none may be sent, or too many were.
   */
  unreachable(packet: Uint8Array, now: number): Uint8Array | undefined {
    return this.#take(now) ? buildUnreachable(packet, destinationOf(packet)) : undefined;
  }

  /**
   * Builds "too big" for a packet that does not fit its path.
   *
   * @param packet A packet with a right header; borrowed.
   * @param mtu What fits, in bytes.
   * @param now On the scale of `Clock.now`.
   * @returns `undefined` where none may be sent, or too many were.
   */
  tooBig(packet: Uint8Array, mtu: number, now: number): Uint8Array | undefined {
    if (!this.#take(now)) return undefined;
    const stated = ipVersion(packet) === 6 ? Math.max(mtu, MIN_IPV6_MTU) : mtu;
    return buildPacketTooBig(packet, stated, destinationOf(packet));
  }

  #take(now: number): boolean {
    this.#tokens = Math.min(BURST, this.#tokens + (now - this.#filledAt) / 1000 * PER_SECOND);
    this.#filledAt = now;
    if (this.#tokens < 1) return false;
    this.#tokens--;
    return true;
  }
}

function destinationOf(packet: Uint8Array): Uint8Array {
  const at = ipVersion(packet) === 4 ? DESTINATION_AT[4] : DESTINATION_AT[6];
  return packet.subarray(at, at + (at === DESTINATION_AT[4] ? 4 : 16));
}
