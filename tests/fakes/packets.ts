/**
 * IP packets for tests, built by slow and plain code that shares nothing with `lib/net`.
 *
 * @module
 */

/** A UDP packet to build. Both addresses of one family. */
export interface UdpPacketFields {
  /** 4 or 16 bytes. */
  readonly source: Uint8Array;
  /** 4 or 16 bytes. */
  readonly destination: Uint8Array;
  /** @default {1000} */
  readonly sourcePort?: number;
  /** @default {2000} */
  readonly destinationPort?: number;
  readonly payload: Uint8Array;
}

const TCP = 6;
const UDP = 17;

/** Builds an IPv4 or IPv6 packet with UDP in it, checksums whole. */
export function udpPacket(fields: UdpPacketFields): Uint8Array {
  const { source, destination, sourcePort = 1000, destinationPort = 2000, payload } = fields;
  const length = 8 + payload.length;
  const udp = [...u16(sourcePort), ...u16(destinationPort), ...u16(length), 0, 0, ...payload];
  const sum = onesSum([...source, ...destination, 0, UDP, ...u16(length), ...udp]);
  udp.splice(6, 2, ...u16(sum === 0xffff ? 0xffff : ~sum & 0xffff));
  return ipPacket({ source, destination, protocol: UDP, body: Uint8Array.from(udp) });
}

/** Builds an IPv4 or IPv6 packet with a TCP segment in it, checksums whole. */
export function tcpPacket(
  fields: {
    readonly source: Uint8Array;
    readonly destination: Uint8Array;
    /** Such as 2, a SYN. */
    readonly flags: number;
    readonly options?: readonly number[];
    readonly payload?: Uint8Array;
  },
): Uint8Array {
  const { source, destination, flags, options = [], payload = [] } = fields;
  const padded = [...options, ...Array((4 - options.length % 4) % 4).fill(0)];
  const tcp = [...u16(1000), ...u16(80), 1, 2, 3, 4, 5, 6, 7, 8];
  tcp.push((5 + padded.length / 4) << 4, flags, 0xff, 0xff, 0, 0, 0, 0, ...padded, ...payload);
  const sum = onesSum([...source, ...destination, 0, TCP, ...u16(tcp.length), ...tcp]);
  tcp.splice(16, 2, ...u16(~sum & 0xffff));
  return ipPacket({ source, destination, protocol: TCP, body: Uint8Array.from(tcp) });
}

/** Builds an IPv4 or IPv6 packet around a body. */
export function ipPacket(
  fields: {
    readonly source: Uint8Array;
    readonly destination: Uint8Array;
    readonly protocol: number;
    readonly body: Uint8Array;
  },
): Uint8Array {
  const { source, destination, protocol, body } = fields;
  if (source.length === 16) {
    const start = [0x60, 0, 0, 0, ...u16(body.length), protocol, 64];
    return Uint8Array.from([...start, ...source, ...destination, ...body]);
  }
  const header = [0x45, 0, ...u16(20 + body.length), 0, 1, 0x40, 0, 64, protocol, 0, 0];
  header.push(...source, ...destination);
  header.splice(10, 2, ...u16(~onesSum(header) & 0xffff));
  return Uint8Array.from([...header, ...body]);
}

/** The payload of a packet that {@linkcode udpPacket} built. */
export function udpPayload(packet: Uint8Array): Uint8Array {
  return packet.subarray((packet[0]! >> 4 === 4 ? 20 : 40) + 8);
}

/** Whether the checksums of a packet built here, or of its like, are right. */
export function hasRightChecksums(packet: Uint8Array): boolean {
  const isIpv4 = packet[0]! >> 4 === 4;
  const headerLength = isIpv4 ? 20 : 40;
  if (isIpv4 && onesSum([...packet.subarray(0, 20)]) !== 0xffff) return false;
  const protocol = packet[isIpv4 ? 9 : 6]!;
  const addresses = [...(isIpv4 ? packet.subarray(12, 20) : packet.subarray(8, 40))];
  const body = [...packet.subarray(headerLength)];
  const pseudoHeader = protocol === 1 ? [] : [...addresses, 0, protocol, ...u16(body.length)];
  return onesSum([...pseudoHeader, ...body]) === 0xffff;
}

/** The ones' complement sum of 16-bit words (RFC 1071), 0xffff for what is whole. */
function onesSum(bytes: readonly number[]): number {
  let sum = 0;
  for (let i = 0; i < bytes.length; i += 2) sum += bytes[i]! * 256 + (bytes[i + 1] ?? 0);
  while (sum > 0xffff) sum = (sum & 0xffff) + Math.floor(sum / 65536);
  return sum;
}

function u16(value: number): [high: number, low: number] {
  return [value >> 8 & 255, value & 255];
}
