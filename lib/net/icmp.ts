/**
 * ICMP as far as this program speaks it itself: echo, "packet too big" and "unreachable". RFC 792,
 * RFC 1191, RFC 4443 §§3.1, 3.2, 4.
 *
 * ```text
 * echo      0 type   1 code 0   2 checksum 2   4 identifier 2   6 sequence 2   8 data
 * too big   0 type   1 code     2 checksum 2   4 (v4: 0 2, MTU 2; v6: MTU 4)   8 start of the packet
 * unreach.  0 type   1 code     2 checksum 2   4 zero 4                        8 start of the packet
 * ```
 *
 * @module
 */

import { readU16Be, writeU16Be, writeU32Be } from "../base/integers.ts";
import { internetChecksum, pseudoHeaderSum, writeIpv4Checksum } from "./checksum.ts";
import type { IpAddress } from "./endpoint.ts";
import { isUnicast } from "./ip_address.ts";
import {
  IP_PROTOCOL,
  type IpPacket,
  IPV4_HEADER_LENGTH,
  IPV6_HEADER_LENGTH,
  readIpPacket,
} from "./ip_packet.ts";

/** Echo types by IP version. */
const ECHO_TYPE = { 4: { request: 8, reply: 0 }, 6: { request: 128, reply: 129 } } as const;
/** "Host unreachable" and "address unreachable". */
const UNREACHABLE = { 4: { type: 3, code: 1 }, 6: { type: 1, code: 3 } } as const;
/** "Fragmentation needed" and "packet too big". */
const TOO_BIG = { 4: { type: 3, code: 4 }, 6: { type: 2, code: 0 } } as const;
const ICMP_HEADER_LENGTH = 8;
/** An ICMP error is no larger than the packet that every host takes. */
const ERROR_MAX_LENGTH = { 4: 576, 6: 1280 } as const;
/** Unreachable, source quench, redirect, time exceeded, parameter problem. */
const ICMPV4_ERRORS: ReadonlySet<number> = new Set([3, 4, 5, 11, 12]);
const HOP_LIMIT = 64;

/** An echo request or reply. */
export interface Echo {
  /** 4 or 16 bytes. */
  readonly source: IpAddress;
  /** As long as the source. */
  readonly destination: IpAddress;
  /** Whether it is the reply. */
  readonly isReply: boolean;
  /** 16 bits that tell one pinging program from another. */
  readonly identifier: number;
  /** 16 bits that count its requests. */
  readonly sequence: number;
  /** Comes back in the reply as it is. */
  readonly data: Uint8Array;
}

/**
 * Builds an echo as a whole IP packet.
 *
 * @param echo Its arrays are copied.
 * @throws {RangeError} when the addresses are of two families, or the packet would be too long.
 */
export function buildEcho(echo: Echo): Uint8Array {
  const length = ICMP_HEADER_LENGTH + echo.data.length;
  const { packet, version, start } = newIcmpPacket(echo.source, echo.destination, length);
  packet[start] = ECHO_TYPE[version][echo.isReply ? "reply" : "request"];
  writeU16Be(packet, start + 4, echo.identifier);
  writeU16Be(packet, start + 6, echo.sequence);
  packet.set(echo.data, start + ICMP_HEADER_LENGTH);
  finish(packet, version, start);
  return packet;
}

/**
 * Decodes an echo.
 *
 * @param packet Borrowed: the result holds views into it.
 * @returns `undefined` for anything else, fragments and wrong checksums included.
 */
export function parseEcho(packet: Uint8Array): Echo | undefined {
  const ip = readIpPacket(packet);
  if (ip === undefined || ip.isFragment) return undefined;
  const { version, headerLength: start } = ip;
  const types = ECHO_TYPE[version];
  const type = packet[start];
  if (
    ip.protocol !== icmpProtocol(version) || start + ICMP_HEADER_LENGTH > packet.length ||
    packet[start + 1] !== 0 || (type !== types.request && type !== types.reply) ||
    internetChecksum(packet.subarray(start), icmpPseudoSum(packet, version, start)) !== 0
  ) return undefined;
  return {
    source: ip.source,
    destination: ip.destination,
    isReply: type === types.reply,
    identifier: readU16Be(packet, start + 4),
    sequence: readU16Be(packet, start + 6),
    data: packet.subarray(start + ICMP_HEADER_LENGTH),
  };
}

/**
 * Builds the answer to a packet that is too large for its way.
 *
 * @param packet The packet; its start is copied into the answer.
 * @param mtu Largest packet that passes, in bytes.
 * @param from Address, of the packet's family, that the answer comes from.
 * @returns `undefined` if no answer may be sent: no IP packet, a later fragment, itself an ICMP
 * error, from no single host, or to a group.
 */
export function buildPacketTooBig(
  packet: Uint8Array,
  mtu: number,
  from: IpAddress,
): Uint8Array | undefined {
  return buildError(packet, from, TOO_BIG, mtu);
}

/**
 * Builds the answer to a packet to an address that nobody has.
 *
 * @param packet The packet; its start is copied into the answer.
 * @param from Address, of the packet's family, that the answer comes from.
 * @returns `undefined` as for {@linkcode buildPacketTooBig}.
 */
export function buildUnreachable(packet: Uint8Array, from: IpAddress): Uint8Array | undefined {
  return buildError(packet, from, UNREACHABLE, 0);
}

/** @param parameter What stands between checksum and the packet's start. */
function buildError(
  packet: Uint8Array,
  from: IpAddress,
  kinds: typeof TOO_BIG | typeof UNREACHABLE,
  parameter: number,
): Uint8Array | undefined {
  const ip = readIpPacket(packet);
  if (ip === undefined || ip.fragmentOffset !== 0 || isIcmpError(packet, ip)) return undefined;
  if (!isUnicast(ip.source) || !isUnicast(ip.destination)) return undefined;
  const headers = ip.version === 4 ? IPV4_HEADER_LENGTH : IPV6_HEADER_LENGTH;
  const room = ERROR_MAX_LENGTH[ip.version] - headers - ICMP_HEADER_LENGTH;
  const quoted = packet.subarray(0, room);
  const answer = newIcmpPacket(from, ip.source, ICMP_HEADER_LENGTH + quoted.length);
  const { start } = answer;
  answer.packet[start] = kinds[ip.version].type;
  answer.packet[start + 1] = kinds[ip.version].code;
  writeU32Be(answer.packet, start + 4, parameter);
  answer.packet.set(quoted, start + ICMP_HEADER_LENGTH);
  finish(answer.packet, ip.version, start);
  return answer.packet;
}

/** IP header in place, checksums still zero. */
function newIcmpPacket(
  source: IpAddress,
  destination: IpAddress,
  length: number,
): { packet: Uint8Array; version: 4 | 6; start: number } {
  if (source.length !== destination.length) {
    throw new RangeError("Cannot build ICMP packet: source and destination differ in family");
  }
  const version = source.length === 4 ? 4 : 6;
  const start = version === 4 ? IPV4_HEADER_LENGTH : IPV6_HEADER_LENGTH;
  if (start + length > 0xffff) {
    throw new RangeError(`Cannot build ICMP packet: ${start + length} bytes are too many`);
  }
  const packet = new Uint8Array(start + length);
  if (version === 4) {
    packet[0] = 0x45;
    writeU16Be(packet, 2, packet.length);
    packet[8] = HOP_LIMIT;
    packet[9] = IP_PROTOCOL.icmp;
    packet.set(source, 12);
    packet.set(destination, 16);
    writeIpv4Checksum(packet);
  } else {
    packet[0] = 0x60;
    writeU16Be(packet, 4, length);
    packet[6] = IP_PROTOCOL.icmpv6;
    packet[7] = HOP_LIMIT;
    packet.set(source, 8);
    packet.set(destination, 24);
  }
  return { packet, version, start };
}

function finish(packet: Uint8Array, version: 4 | 6, start: number): void {
  const pseudo = icmpPseudoSum(packet, version, start);
  writeU16Be(packet, start + 2, internetChecksum(packet.subarray(start), pseudo));
}

/** ICMPv6 has a pseudo-header (RFC 4443 §2.3), ICMP has none. */
function icmpPseudoSum(packet: Uint8Array, version: 4 | 6, start: number): number {
  if (version === 4) return 0;
  return pseudoHeaderSum(packet, IP_PROTOCOL.icmpv6, packet.length - start);
}

/** RFC 1122 §3.2.2 and RFC 4443 §2.4: no error answers an error. */
function isIcmpError(packet: Uint8Array, ip: IpPacket): boolean {
  const type = packet[ip.headerLength];
  if (ip.protocol !== icmpProtocol(ip.version) || type === undefined) return false;
  return ip.version === 6 ? type < ECHO_TYPE[6].request : ICMPV4_ERRORS.has(type);
}

function icmpProtocol(version: 4 | 6): number {
  return version === 4 ? IP_PROTOCOL.icmp : IP_PROTOCOL.icmpv6;
}
