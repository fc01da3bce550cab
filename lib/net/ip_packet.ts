/**
 * IPv4 and IPv6 headers as views. RFC 791 §3.1, RFC 8200 §§3-4.
 *
 * ```text
 * IPv4   0 version│IHL   2 total length   6 flags│fragment offset   8 TTL   9 protocol
 *        10 checksum     12 source 4      16 destination 4          20 options
 * IPv6   0 version…      4 payload length 6 next header             7 hop limit
 *        8 source 16     24 destination 16                          40
 * ```
 *
 * Network byte order. A packet is exactly as long as its header says: padding and tails are refused,
 * since what one reader skips another may read.
 *
 * @module
 */

import { readU16Be } from "../base/integers.ts";
import type { IpAddress } from "./endpoint.ts";

/** Protocol numbers that something here acts on. */
export const IP_PROTOCOL = { icmp: 1, tcp: 6, udp: 17, icmpv6: 58 } as const;

/** Smallest IPv4 header. */
export const IPV4_HEADER_LENGTH = 20;
/** The IPv6 header, extension headers not counted. */
export const IPV6_HEADER_LENGTH = 40;

/** Offset of the source address by version; its length is 4 or 16. */
export const SOURCE_AT = { 4: 12, 6: 8 } as const;
/** Offset of the destination address by version. */
export const DESTINATION_AT = { 4: 16, 6: 24 } as const;

const FRAGMENT_HEADER = 44;
const AUTHENTICATION_HEADER = 51;
/** Hop-by-hop options, routing, destination options, mobility, HIP, shim6. */
const OPTION_HEADERS: ReadonlySet<number> = new Set([0, 43, 60, 135, 139, 140]);

/** A packet's header, decoded. Arrays are borrowed views. */
export interface IpPacket {
  /** 4 or 6. */
  readonly version: 4 | 6;
  /** 4 or 16 bytes. */
  readonly source: IpAddress;
  /** 4 or 16 bytes. */
  readonly destination: IpAddress;
  /** Protocol number of what follows all IP headers. */
  readonly protocol: number;
  /** Length of all IP headers, IPv6 extension headers included: where the transport begins. */
  readonly headerLength: number;
  /** Length of the packet. */
  readonly totalLength: number;
  /** Whether there are IPv6 extension headers. */
  readonly hasExtensionHeaders: boolean;
  /** Whether it is part of a larger packet, the first part included. */
  readonly isFragment: boolean;
  /** Where its payload belongs in the larger packet, in bytes; 0 in a whole one. */
  readonly fragmentOffset: number;
}

/**
 * Checks version and lengths. Allocates nothing.
 *
 * @returns The version, or 0 for what is no IP packet of exactly this length.
 */
export function ipVersion(packet: Uint8Array): 4 | 6 | 0 {
  return ipVersionAt(packet, 0, packet.length);
}

/** The same for a packet of `length` bytes that stands in a larger memory from `at` on. */
export function ipVersionAt(bytes: Uint8Array, at: number, length: number): 4 | 6 | 0 {
  if (length < IPV4_HEADER_LENGTH) return 0;
  const first = bytes[at]!;
  if (first >> 4 === 4) {
    const headerLength = (first & 0xf) * 4;
    const isRight = headerLength >= IPV4_HEADER_LENGTH && headerLength <= length &&
      readU16Be(bytes, at + 2) === length;
    return isRight ? 4 : 0;
  }
  if (first >> 4 !== 6 || length < IPV6_HEADER_LENGTH) return 0;
  return IPV6_HEADER_LENGTH + readU16Be(bytes, at + 4) === length ? 6 : 0;
}

/**
 * Decodes a packet's header, IPv6 extension headers included.
 *
 * @param packet Borrowed: the result holds views into it.
 * @returns `undefined` if lengths do not fit, or the extension headers do not end in the packet.
 */
export function readIpPacket(packet: Uint8Array): IpPacket | undefined {
  switch (ipVersion(packet)) {
    case 4:
      return readIpv4(packet);
    case 6:
      return readIpv6(packet);
    case 0:
      return undefined;
  }
}

function readIpv4(packet: Uint8Array): IpPacket {
  const flags = readU16Be(packet, 6);
  const fragmentOffset = (flags & 0x1fff) * 8;
  return {
    version: 4,
    source: packet.subarray(12, 16),
    destination: packet.subarray(16, 20),
    protocol: packet[9]!,
    headerLength: (packet[0]! & 0xf) * 4,
    totalLength: packet.length,
    hasExtensionHeaders: false,
    isFragment: (flags & 0x2000) !== 0 || fragmentOffset !== 0,
    fragmentOffset,
  };
}

function readIpv6(packet: Uint8Array): IpPacket | undefined {
  let protocol = packet[6]!;
  let at = IPV6_HEADER_LENGTH;
  let isFragment = false;
  let fragmentOffset = 0;
  while (isExtensionHeader(protocol)) {
    // The shortest extension header has 8 bytes. What follows in a later fragment is payload.
    if (at + 8 > packet.length) return undefined;
    const header = protocol;
    protocol = packet[at]!;
    if (header === FRAGMENT_HEADER) {
      const field = readU16Be(packet, at + 2);
      fragmentOffset = field & 0xfff8;
      isFragment ||= fragmentOffset !== 0 || (field & 1) !== 0;
      at += 8;
      if (fragmentOffset !== 0) break;
    } else {
      const unit = header === AUTHENTICATION_HEADER ? 4 : 8;
      const uncounted = header === AUTHENTICATION_HEADER ? 2 : 1;
      at += (packet[at + 1]! + uncounted) * unit;
    }
    if (at > packet.length) return undefined;
  }
  return {
    version: 6,
    source: packet.subarray(8, 24),
    destination: packet.subarray(24, 40),
    protocol,
    headerLength: at,
    totalLength: packet.length,
    hasExtensionHeaders: at > IPV6_HEADER_LENGTH,
    isFragment,
    fragmentOffset,
  };
}

function isExtensionHeader(protocol: number): boolean {
  return protocol === FRAGMENT_HEADER || protocol === AUTHENTICATION_HEADER ||
    OPTION_HEADERS.has(protocol);
}
