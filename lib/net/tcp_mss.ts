/**
 * The maximum segment size that the two ends of a TCP connection tell each other in their SYNs
 * (RFC 9293 §3.7.1), lowered to what fits the way: then no segment is ever too large, even where no
 * ICMP reaches its sender.
 *
 * @module
 */

import { readU16Be, writeU16Be } from "../base/integers.ts";
import { IP_PROTOCOL, IPV4_HEADER_LENGTH, IPV6_HEADER_LENGTH, ipVersionAt } from "./ip_packet.ts";

/** TCP header without options. */
const TCP_HEADER_LENGTH = 20;
/** TCP flags: SYN, by which the option may come. */
const SYN = 0x02;
const FLAGS_AT = 13;
const CHECKSUM_AT = 16;
/** Option kinds. */
const OPTION = { end: 0, nothing: 1, mss: 2 } as const;
const MSS_LENGTH = 4;

/**
 * Lowers the maximum segment size that a SYN states, so that what it asks for fits. Anything else,
 * fragments and IPv6 with extension headers included, stays as it is.
 *
 * @param bytes Hold the packet; changed in place, its checksum too.
 * @param from Where it begins.
 * @param length Of the packet.
 * @param mtu Largest packet that passes, in bytes.
 * @param isPartial Whether the checksum field holds the pseudo-header's sum only: then it does not
 * depend on the option.
 * @returns Whether anything was changed.
 */
export function clampMss(
  bytes: Uint8Array,
  from: number,
  length: number,
  mtu: number,
  isPartial: boolean,
): boolean {
  const start = tcpAt(bytes, from, length);
  if (start < 0 || start + TCP_HEADER_LENGTH > from + length) return false;
  if ((bytes[start + FLAGS_AT]! & SYN) === 0) return false;
  const end = start + (bytes[start + 12]! >> 4) * 4;
  if (end > from + length) return false;
  const isIpv4 = bytes[from]! >> 4 === 4;
  const headers = (isIpv4 ? IPV4_HEADER_LENGTH : IPV6_HEADER_LENGTH) + TCP_HEADER_LENGTH;
  const at = mssAt(bytes, start + TCP_HEADER_LENGTH, end);
  if (at < 0) return false;
  const [stated, fits] = [readU16Be(bytes, at), mtu - headers];
  if (stated <= fits) return false;
  writeU16Be(bytes, at, fits);
  if (!isPartial) adjustChecksum(bytes, start, at, stated, fits);
  return true;
}

/** Where the TCP header stands; -1 if there is none that can be read. */
function tcpAt(bytes: Uint8Array, from: number, length: number): number {
  switch (ipVersionAt(bytes, from, length)) {
    case 4: {
      if (bytes[from + 9] !== IP_PROTOCOL.tcp) return -1;
      const isLaterFragment = (readU16Be(bytes, from + 6) & 0x1fff) !== 0;
      return isLaterFragment ? -1 : from + (bytes[from]! & 15) * 4;
    }
    case 6:
      return bytes[from + 6] === IP_PROTOCOL.tcp ? from + IPV6_HEADER_LENGTH : -1;
    default:
      return -1;
  }
}

/** Where the value of the option stands; -1 without one. */
function mssAt(packet: Uint8Array, from: number, end: number): number {
  for (let at = from; at < end;) {
    const kind = packet[at]!;
    if (kind === OPTION.end) return -1;
    if (kind === OPTION.nothing) {
      at++;
      continue;
    }
    const length = at + 1 < end ? packet[at + 1]! : 0;
    if (length < 2 || at + length > end) return -1;
    if (kind === OPTION.mss) return length === MSS_LENGTH ? at + 2 : -1;
    at += length;
  }
  return -1;
}

/** RFC 1624, equation 3. An option at an odd place counts with its bytes swapped. */
function adjustChecksum(
  packet: Uint8Array,
  start: number,
  at: number,
  before: number,
  after: number,
): void {
  const swap = (value: number) => (value & 0xff) << 8 | value >> 8;
  const isOdd = (at - start) % 2 === 1;
  const [old, now] = isOdd ? [swap(before), swap(after)] : [before, after];
  const checksumAt = start + CHECKSUM_AT;
  let sum = (~readU16Be(packet, checksumAt) & 0xffff) + (~old & 0xffff) + now;
  sum = (sum & 0xffff) + (sum >> 16);
  sum = (sum & 0xffff) + (sum >> 16);
  writeU16Be(packet, checksumAt, ~sum & 0xffff);
}
