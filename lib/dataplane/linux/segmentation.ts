/**
 * Splits a super-segment into the packets that a network card would make of it: TCP over IPv4 and
 * IPv6 (RFC 9293), UDP (`UDP_SEGMENT`).
 *
 * Segment `i` begins where its header is written: over the end of the payload before it, which the
 * sink has taken by then. So no payload is copied. The header comes from a template kept aside, of
 * which a few fields change.
 *
 * Its checksum field stays partial, which the first byte says (docs/protocol.md §3): nobody sums the
 * payload, the tag protects it. Only where the rules forbid that (IPv6 extension headers) it is
 * finished here.
 *
 * @module
 */

import type { Mem } from "../../../ffi/memory.ts";
import { addToSum } from "../../net/checksum.ts";
import { IPV6_HEADER_LENGTH } from "../../net/ip_packet.ts";
import { PARTIAL_CHECKSUM_BIT } from "../../wire/inner_control.ts";
import { GSO, GSO_ECN, TCP_CHECKSUM, TCP_FLAG, TCP_FLAGS, UDP_CHECKSUM } from "./virtio.ts";

/** Takes packets one by one. */
export interface PacketSink {
  /**
   * Takes the packet that stands in `memory` from `at` on, before it returns.
   *
   * @param length In bytes.
   */
  packet(memory: Mem, at: number, length: number): void;
}

/** Longest chain of headers that is split: IP with options or extensions, and TCP. */
const HEADER_MAX = 512;
const UDP_HEADER_LENGTH = 8;
const TCP_HEADER_MIN = 20;

/** Splits super-segments; one at a time. */
export class Segmentation {
  /** The header of the super-segment, changed from segment to segment. */
  readonly #template = new Uint8Array(HEADER_MAX);
  readonly #view = new DataView(this.#template.buffer);

  /**
   * Splits one.
   *
   * @param memory Holds the super-segment; overwritten.
   * @param start Where its IP header begins.
   * @param length Its length, from there on.
   * @param gsoType As in the virtio header.
   * @param gsoSize Payload of each segment but the last, in bytes.
   * @param transport Where the TCP or UDP header begins, from `start` on.
   * @returns `false`, and nothing was given away, if the lengths do not fit each other.
   */
  split(
    memory: Mem,
    start: number,
    length: number,
    gsoType: number,
    gsoSize: number,
    transport: number,
    sink: PacketSink,
  ): boolean {
    const { u8 } = memory;
    const isTcp = (gsoType & ~GSO_ECN) !== GSO.udp;
    const isIpv4 = u8[start]! >> 4 === 4;
    if (transport + (isTcp ? TCP_HEADER_MIN : UDP_HEADER_LENGTH) > length) return false;
    const headers = transport +
      (isTcp ? (u8[start + transport + 12]! >> 4) * 4 : UDP_HEADER_LENGTH);
    const payload = length - headers;
    if (headers > HEADER_MAX || payload <= 0 || gsoSize === 0) return false;
    if (isIpv4 ? transport !== (u8[start]! & 0xf) * 4 : transport < IPV6_HEADER_LENGTH) {
      return false;
    }
    const template = this.#template;
    for (let i = 0; i < headers; i++) template[i] = u8[start + i]!;
    const mayStayPartial = isIpv4 || transport === IPV6_HEADER_LENGTH;
    if (mayStayPartial) template[0]! |= PARTIAL_CHECKSUM_BIT;

    const view = this.#view;
    const flagsAt = transport + TCP_FLAGS;
    const checksumAt = transport + (isTcp ? TCP_CHECKSUM : UDP_CHECKSUM);
    const flags = isTcp ? template[flagsAt]! : 0;
    const sequence = isTcp ? view.getUint32(transport + 4) : 0;
    const identification = isIpv4 ? view.getUint16(4) : 0;
    // The pseudo-header's sum without the length, to which each segment adds its own.
    const pseudo = mayStayPartial ? 0 : withoutLength(view, checksumAt, length - transport);
    if (isTcp) template[flagsAt] = flags & ~(TCP_FLAG.fin | TCP_FLAG.psh);
    let ipSum = this.#setLength(isIpv4, transport, isTcp, headers + gsoSize);
    let i = 0;
    for (let offset = 0; offset < payload; offset += gsoSize) {
      let size = gsoSize;
      if (offset + gsoSize >= payload) {
        // The last one: it may be shorter, and FIN and PSH are its.
        size = payload - offset;
        if (isTcp) template[flagsAt] = i === 0 ? flags : flags & ~TCP_FLAG.cwr;
        ipSum = this.#setLength(isIpv4, transport, isTcp, headers + size);
      }
      if (isIpv4) {
        const id = (identification + i) & 0xffff;
        view.setUint16(4, id);
        view.setUint16(10, ~fold(ipSum + id) & 0xffff);
      }
      if (isTcp) view.setUint32(transport + 4, sequence + offset);
      const at = start + offset;
      if (!mayStayPartial) view.setUint16(checksumAt, 0);
      for (let j = 0; j < headers; j++) u8[at + j] = template[j]!;
      if (!mayStayPartial) {
        const end = at + headers + size;
        const sum = addToSum(u8, at + transport, end, pseudo + end - at - transport);
        const checksum = ~sum & 0xffff;
        const isZeroUdp = !isTcp && checksum === 0; // RFC 768: 0 would mean that there is none
        memory.view.setUint16(at + checksumAt, isZeroUdp ? 0xffff : checksum);
      }
      sink.packet(memory, at, headers + size);
      if (i === 0 && isTcp) template[flagsAt]! &= ~TCP_FLAG.cwr;
      i++;
    }
    return true;
  }

  /**
   * Sets the length fields for packets of `length` bytes.
   *
   * @returns The sum of the IPv4 header without identification and checksum; 0 for IPv6.
   */
  #setLength(isIpv4: boolean, transport: number, isTcp: boolean, length: number): number {
    const view = this.#view;
    if (!isTcp) view.setUint16(transport + 4, length - transport);
    if (!isIpv4) {
      view.setUint16(4, length - IPV6_HEADER_LENGTH);
      return 0;
    }
    view.setUint16(2, length);
    // The header is summed as the receiver will see it: with the bit cleared.
    let sum = (view.getUint16(0) & ~(PARTIAL_CHECKSUM_BIT << 8)) + view.getUint16(2);
    for (let i = 6; i < transport; i += 2) if (i !== 10) sum += view.getUint16(i);
    return sum;
  }
}

/** What a partial checksum holds, less a length. One's complement: subtracting is adding the rest. */
function withoutLength(view: DataView, checksumAt: number, length: number): number {
  return fold(view.getUint16(checksumAt) + (~fold(length) & 0xffff));
}

function fold(sum: number): number {
  let folded = sum;
  while (folded > 0xffff) folded = (folded & 0xffff) + (folded >>> 16);
  return folded;
}
