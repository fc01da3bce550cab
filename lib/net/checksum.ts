/**
 * The Internet checksum and what TCP, UDP and ICMP do with it. RFC 1071; RFC 768, RFC 9293 §3.1 and
 * RFC 8200 §8.1 (pseudo-headers).
 *
 * Also the partial checksums of docs/protocol.md: a sender whose kernel left a checksum to
 * "hardware" says so inside the sealed plaintext, and the receiver finishes it.
 *
 * @module
 */

import { readU16Be, writeU16Be } from "../base/integers.ts";
import {
  DESTINATION_AT,
  IP_PROTOCOL,
  IPV6_HEADER_LENGTH,
  ipVersion,
  SOURCE_AT,
} from "./ip_packet.ts";

/** Offset of the checksum in a TCP header. */
const TCP_CHECKSUM_AT = 16;
/** Smallest TCP header. */
const TCP_HEADER_LENGTH = 20;
/** Offset of the checksum in a UDP header. */
const UDP_CHECKSUM_AT = 6;
/** The UDP header. */
const UDP_HEADER_LENGTH = 8;

/**
 * Adds bytes to a one's complement sum, as 16-bit numbers in network byte order; an odd last byte is
 * the high half of one.
 *
 * @param start First byte added.
 * @param end One past the last.
 * @param sum What was added before.
 * @returns Folded to 16 bits.
 */
export function addToSum(bytes: Uint8Array, start: number, end: number, sum = 0): number {
  let total = sum;
  let i = start;
  // No overflow: below 2**53 for any array there is.
  for (; i + 1 < end; i += 2) total += (bytes[i]! << 8) | bytes[i + 1]!;
  if (i < end) total += bytes[i]! << 8;
  return fold(total);
}

/**
 * The Internet checksum: complement of the one's complement sum.
 *
 * @param sum A pseudo-header's sum, or 0.
 * @returns 16 bits. Over bytes that hold a right checksum it is 0.
 */
export function internetChecksum(bytes: Uint8Array, sum = 0): number {
  return ~addToSum(bytes, 0, bytes.length, sum) & 0xffff;
}

/**
 * The sum of a pseudo-header, which transport checksums start from.
 *
 * @param packet Its version and addresses count.
 * @param protocol Protocol number of the transport.
 * @param length Length of transport header and payload.
 * @returns Folded to 16 bits, not complemented.
 */
export function pseudoHeaderSum(packet: Uint8Array, protocol: number, length: number): number {
  const isIpv4 = packet[0]! >> 4 === 4;
  const start = isIpv4 ? SOURCE_AT[4] : SOURCE_AT[6];
  const end = isIpv4 ? DESTINATION_AT[4] + 4 : DESTINATION_AT[6] + 16;
  return addToSum(packet, start, end, protocol + (length >>> 16) + (length & 0xffff));
}

/**
 * Where the checksum stands of a packet that may carry a partial one: TCP or UDP, not fragmented,
 * with a complete transport header, and for IPv6 without extension headers.
 *
 * @returns Its offset in the packet, or -1 for any other packet.
 */
export function partialChecksumAt(packet: Uint8Array): number {
  const version = ipVersion(packet);
  if (version === 0 || (version === 4 && (readU16Be(packet, 6) & 0x3fff) !== 0)) return -1;
  const start = transportAt(packet, version);
  switch (version === 4 ? packet[9] : packet[6]) {
    case IP_PROTOCOL.tcp: {
      if (start + TCP_HEADER_LENGTH > packet.length) return -1;
      const headerLength = (packet[start + 12]! >> 4) * 4;
      const isComplete = headerLength >= TCP_HEADER_LENGTH && start + headerLength <= packet.length;
      return isComplete ? start + TCP_CHECKSUM_AT : -1;
    }
    case IP_PROTOCOL.udp:
      return start + UDP_HEADER_LENGTH <= packet.length ? start + UDP_CHECKSUM_AT : -1;
    default:
      return -1;
  }
}

/**
 * Finishes a partial checksum. What the field held before means nothing.
 *
 * @param packet A whole IP packet, the partial-checksum bit already cleared; changed in place.
 * @returns `false`, and nothing changed, if this packet may not carry one: it is to be dropped.
 */
export function finishPartialChecksum(packet: Uint8Array): boolean {
  const at = partialChecksumAt(packet);
  if (at < 0) return false;
  const version = packet[0]! >> 4 === 4 ? 4 : 6;
  const protocol = packet[version === 4 ? 9 : 6]!;
  const start = transportAt(packet, version);
  writeU16Be(packet, at, 0);
  const pseudo = pseudoHeaderSum(packet, protocol, packet.length - start);
  const checksum = ~addToSum(packet, start, packet.length, pseudo) & 0xffff;
  // RFC 768: a UDP checksum of 0 would mean that there is none.
  writeU16Be(packet, at, checksum === 0 && protocol === IP_PROTOCOL.udp ? 0xffff : checksum);
  return true;
}

/** Writes the header checksum of an IPv4 packet. */
export function writeIpv4Checksum(packet: Uint8Array): void {
  writeU16Be(packet, 10, 0);
  writeU16Be(packet, 10, ~addToSum(packet, 0, transportAt(packet, 4)) & 0xffff);
}

function transportAt(packet: Uint8Array, version: 4 | 6): number {
  return version === 4 ? (packet[0]! & 0xf) * 4 : IPV6_HEADER_LENGTH;
}

function fold(sum: number): number {
  let folded = sum;
  while (folded > 0xffff) folded = Math.floor(folded / 0x1_0000) + (folded % 0x1_0000);
  return folded;
}
