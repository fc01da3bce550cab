/**
 * The inner address rule: a decrypted packet comes from an address of its sender and goes to one of
 * ours; a packet that this machine sends comes from one of ours (docs/protocol.md, sessions).
 *
 * Pure, both ways, both families, for whole IP packets with the partial-checksum bit cleared. The
 * answers are drop reasons. All of it stands in the packet loop and allocates nothing.
 *
 * @module
 */

import { readU32Be } from "../base/integers.ts";
import type { IpAddress } from "../net/endpoint.ts";
import { isUnspecified, requireIpAddress } from "../net/ip_address.ts";
import { DESTINATION_AT, ipVersion, ipVersionAt, SOURCE_AT } from "../net/ip_packet.ts";
import type { AllowedIps } from "./allowed_ips.ts";

/** Why a packet is dropped; these are drop reasons of the session layer. */
export type InnerFault = "bad-plaintext" | "source-not-allowed" | "destination-not-ours";

/**
 * `0.0.0.0` and `::` among the own addresses: this machine forwards for its peers, so every address
 * of that family that can be a machine's counts as ours. Sources of peers are checked all the same.
 */
export const ANY_IPV4: IpAddress = new Uint8Array(4);
/** See {@linkcode ANY_IPV4}. */
export const ANY_IPV6: IpAddress = new Uint8Array(16);

/** This machine's own mesh addresses: few, asked for with every packet. */
export class OwnAddresses {
  readonly #ipv4: Uint32Array;
  /** Four words for each. */
  readonly #ipv6: Uint32Array;
  readonly #isAnyIpv4: boolean;
  readonly #isAnyIpv6: boolean;

  /**
   * @param addresses Each 4 or 16 bytes, {@linkcode ANY_IPV4} and {@linkcode ANY_IPV6} for all of a
   * family; copied.
   * @throws {RangeError} when one has another length.
   */
  constructor(addresses: readonly IpAddress[]) {
    addresses.forEach(requireIpAddress);
    const isAny = (length: number) =>
      addresses.some((address) => address.length === length && isUnspecified(address));
    this.#isAnyIpv4 = isAny(4);
    this.#isAnyIpv6 = isAny(16);
    const ofLength = (length: number) =>
      addresses.filter((address) => address.length === length && !isUnspecified(address));
    this.#ipv4 = Uint32Array.from(ofLength(4), (address) => readU32Be(address, 0));
    this.#ipv6 = Uint32Array.from(
      ofLength(16).flatMap((address) => [0, 4, 8, 12].map((at) => readU32Be(address, at))),
    );
  }

  /** Whether the IPv4 address that stands at an offset, within bounds, is ours. */
  hasIpv4(bytes: Uint8Array, offset: number): boolean {
    const word = readU32Be(bytes, offset);
    for (let i = 0; i < this.#ipv4.length; i++) if (this.#ipv4[i] === word) return true;
    return this.#isAnyIpv4 && !isNoHostIpv4(bytes, offset);
  }

  /** Whether the IPv6 address that stands at an offset, within bounds, is ours. */
  hasIpv6(bytes: Uint8Array, offset: number): boolean {
    const own = this.#ipv6;
    for (let i = 0; i < own.length; i += 4) {
      if (
        own[i + 3] === readU32Be(bytes, offset + 12) &&
        own[i + 2] === readU32Be(bytes, offset + 8) &&
        own[i + 1] === readU32Be(bytes, offset + 4) && own[i] === readU32Be(bytes, offset)
      ) return true;
    }
    return this.#isAnyIpv6 && !isNoHostIpv6(bytes, offset);
  }
}

/**
 * Judges a packet that a peer sealed for us.
 *
 * @param packet The whole plaintext.
 * @param peer Who sealed it.
 * @param allowedIps Whose addresses are whose.
 * @param own Our addresses.
 * @returns `undefined` if it may be delivered.
 */
export function receivedPacketFault<T>(
  packet: Uint8Array,
  peer: T,
  allowedIps: AllowedIps<T>,
  own: OwnAddresses,
): InnerFault | undefined {
  return receivedPacketFaultAt(packet, 0, packet.length, peer, allowedIps, own);
}

/**
 * The same for a packet of `length` bytes that stands in a larger memory from `at` on, so that no
 * view has to be made of it.
 */
export function receivedPacketFaultAt<T>(
  bytes: Uint8Array,
  at: number,
  length: number,
  peer: T,
  allowedIps: AllowedIps<T>,
  own: OwnAddresses,
): InnerFault | undefined {
  switch (ipVersionAt(bytes, at, length)) {
    case 4:
      if (isNoHostIpv4(bytes, at + SOURCE_AT[4])) return "source-not-allowed";
      if (allowedIps.lookupIpv4(bytes, at + SOURCE_AT[4]) !== peer) return "source-not-allowed";
      return own.hasIpv4(bytes, at + DESTINATION_AT[4]) ? undefined : "destination-not-ours";
    case 6:
      if (isNoHostIpv6(bytes, at + SOURCE_AT[6])) return "source-not-allowed";
      if (allowedIps.lookupIpv6(bytes, at + SOURCE_AT[6]) !== peer) return "source-not-allowed";
      return own.hasIpv6(bytes, at + DESTINATION_AT[6]) ? undefined : "destination-not-ours";
    case 0:
      return "bad-plaintext";
  }
}

/**
 * Judges a packet that this machine sends into the mesh, before its peer is looked up.
 *
 * @param packet The whole packet.
 * @param own Our addresses.
 * @returns `undefined` if it may be sent.
 */
export function sentPacketFault(packet: Uint8Array, own: OwnAddresses): InnerFault | undefined {
  switch (ipVersion(packet)) {
    case 4:
      return own.hasIpv4(packet, SOURCE_AT[4]) ? undefined : "source-not-allowed";
    case 6:
      return own.hasIpv6(packet, SOURCE_AT[6]) ? undefined : "source-not-allowed";
    case 0:
      return "bad-plaintext";
  }
}

/**
 * Whose address a packet goes to.
 *
 * @param packet A packet that {@linkcode sentPacketFault} let pass.
 * @returns `undefined` if nobody's: there is no route.
 */
export function destinationPeer<T>(packet: Uint8Array, allowedIps: AllowedIps<T>): T | undefined {
  return packet[0]! >> 4 === 4
    ? allowedIps.lookupIpv4(packet, DESTINATION_AT[4])
    : allowedIps.lookupIpv6(packet, DESTINATION_AT[6]);
}

/**
 * Addresses that are no single machine's, and loopback, whatever prefixes a peer has (`0.0.0.0/0`
 * would hold them): 0.0.0.0/8, 127.0.0.0/8, 224.0.0.0/4 and 240.0.0.0/4 with the broadcast address.
 */
function isNoHostIpv4(bytes: Uint8Array, offset: number): boolean {
  const first = bytes[offset]!;
  return first === 0 || first === 127 || first >= 0xe0;
}

/** The same of IPv6: `::/96` with `::` and `::1`, `::ffff:0:0/96` (IPv4-mapped), `ff00::/8`. */
function isNoHostIpv6(bytes: Uint8Array, offset: number): boolean {
  if (bytes[offset] === 0xff) return true;
  if ((readU32Be(bytes, offset) | readU32Be(bytes, offset + 4)) !== 0) return false;
  const third = readU32Be(bytes, offset + 8);
  return third === 0 || third === 0xffff;
}
