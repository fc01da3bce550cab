/**
 * Packets for tests, built field by field.
 *
 * @module
 */

import { writeU16Be } from "../../lib/base/integers.ts";
import { writeIpv4Checksum } from "../../lib/net/checksum.ts";
import { parseIpAddress } from "../../lib/net/ip_address.ts";

/** What {@linkcode buildPacket} builds. */
export interface PacketFields {
  /** Text of the source address; its family is the packet's. */
  readonly from: string | Uint8Array;
  /** Text of the destination address. */
  readonly to: string | Uint8Array;
  /** @default {59, "no next header"} */
  readonly protocol?: number;
  /** Transport header and payload. */
  readonly body?: Uint8Array;
  /** IPv4: flags and fragment offset. */
  readonly fragment?: number;
  /** IPv4: length of zeroed options, a multiple of 4. */
  readonly optionsLength?: number;
}

/** Builds a whole IP packet with a right IPv4 header checksum. */
export function buildPacket(fields: PacketFields): Uint8Array {
  const { protocol = 59, body = new Uint8Array(0), fragment = 0, optionsLength = 0 } = fields;
  const [from, to] = [fields.from, fields.to].map((end) =>
    typeof end === "string" ? parseIpAddress(end) : end
  );
  if (from!.length === 16) {
    const packet = new Uint8Array(40 + body.length);
    packet[0] = 0x60;
    writeU16Be(packet, 4, body.length);
    packet[6] = protocol;
    packet[7] = 64;
    packet.set(from!, 8);
    packet.set(to!, 24);
    packet.set(body, 40);
    return packet;
  }
  const headerLength = 20 + optionsLength;
  const packet = new Uint8Array(headerLength + body.length);
  packet[0] = 0x40 | (headerLength / 4);
  writeU16Be(packet, 2, packet.length);
  writeU16Be(packet, 6, fragment);
  packet[8] = 64;
  packet[9] = protocol;
  packet.set(from!, 12);
  packet.set(to!, 16);
  packet.set(body, headerLength);
  writeIpv4Checksum(packet);
  return packet;
}

/** A TCP segment without options, its checksum zero. */
export function tcpSegment(payload: Uint8Array = new Uint8Array(0), dataOffset = 5): Uint8Array {
  const segment = new Uint8Array(20 + payload.length);
  writeU16Be(segment, 0, 40000);
  writeU16Be(segment, 2, 443);
  segment[12] = dataOffset << 4;
  segment.set(payload, 20);
  return segment;
}

/** A UDP datagram, its checksum zero. */
export function udpDatagram(payload: Uint8Array = new Uint8Array(0)): Uint8Array {
  const datagram = new Uint8Array(8 + payload.length);
  writeU16Be(datagram, 0, 40000);
  writeU16Be(datagram, 2, 53);
  writeU16Be(datagram, 4, datagram.length);
  datagram.set(payload, 8);
  return datagram;
}
