/**
 * Joins packets that follow each other in one flow into one super-segment, and writes to the TUN:
 * the inverse of segmentation.ts, for the receiving kernel to handle 64 KiB at a time.
 *
 * Only what the kernel's own receive offload (GRO) would join is joined: neighbours in order, with
 * equal headers but for what segmentation changes, TCP without SYN, RST and URG, whole UDP; and only
 * packets whose checksum is partial, since nobody has verified any other. Joining makes one IPv4
 * header of many, with a checksum of its own: a packet whose header checksum is wrong goes on alone,
 * as it came, for joining would mend it. Nothing is held back past {@linkcode Coalescing.flush}, and
 * nothing overtakes.
 *
 * @module
 */

import { libc } from "../../../ffi/libc.ts";
import { Mem } from "../../../ffi/memory.ts";
import { partialChecksumAt } from "../../net/checksum.ts";
import { IP_PROTOCOL, IPV6_HEADER_LENGTH } from "../../net/ip_packet.ts";
import { MessageHeader } from "./message_header.ts";
import {
  GSO,
  GSO_ECN,
  NEEDS_CHECKSUM,
  TCP_CHECKSUM,
  TCP_FLAG,
  TCP_FLAGS,
  UDP_CHECKSUM,
  VNET,
} from "./virtio.ts";

/** Longest packet there is. */
const PACKET_MAX = 65_535;
/** The virtio header, the first packet, and this many payloads. */
const VECTORS = 126;
const UDP_HEADER_LENGTH = 8;
/** Flags with which a TCP segment ends what is gathered. */
const ENDING = TCP_FLAG.psh | TCP_FLAG.fin;

/** Where finished packets go; for tests. */
export type WritePackets = (fd: number, message: MessageHeader, vectors: number) => number;

// Safety: every vector points into a Mem that the caller's object holds during the call.
const writeToTun: WritePackets = (fd, message, vectors) =>
  libc.writev(fd, message.vectors, vectors);

/** Gathers the packets of one batch; all of them lie in one memory. */
export class Coalescing {
  readonly #memory: Mem;
  readonly #fd: number;
  readonly #hasUdp: boolean;
  readonly #write: WritePackets;
  readonly #failed: () => void;
  readonly #header = new Mem(16);
  readonly #out = new MessageHeader(VECTORS + 2);
  // What is gathered: where its first packet lies, and how far it reaches.
  #first = 0;
  #count = 0;
  #total = 0;
  #isTcp = true;
  #isIpv4 = true;
  #headers = 0;
  #transport = 0;
  #segment = 0;
  #next = 0;

  /**
   * @param o The batch's memory, the TUN, whether it takes super-segments of UDP, and whom to tell
   * that a packet was refused.
   */
  constructor(
    o: {
      readonly memory: Mem;
      readonly fd: number;
      readonly hasUdp: boolean;
      readonly failed: () => void;
      readonly write?: WritePackets;
    },
  ) {
    this.#memory = o.memory;
    this.#fd = o.fd;
    this.#hasUdp = o.hasUdp;
    this.#failed = o.failed;
    this.#write = o.write ?? writeToTun;
    this.#out.vector(0, this.#header, 0, VNET.size);
  }

  /**
   * Takes a packet whose checksum is complete, or that has none.
   *
   * @param at Where it lies.
   */
  whole(at: number, length: number): void {
    this.flush();
    // All of VNET; a fill() would cost more than the rest of this after a pause.
    const { u32 } = this.#header;
    u32[0] = u32[1] = u32[2] = 0;
    this.#out.vector(1, this.#memory, at, length);
    this.#put(2);
  }

  /**
   * Takes a packet whose checksum is partial; the bit that said so is cleared.
   *
   * @returns `false`, and nothing was taken, if it may not have a partial checksum.
   */
  partial(at: number, length: number): boolean {
    const { u8, view } = this.#memory;
    const isIpv4 = u8[at]! >> 4 === 4;
    const transport = isIpv4 ? (u8[at]! & 15) * 4 : IPV6_HEADER_LENGTH;
    const protocol = isIpv4 ? u8[at + 9]! : u8[at + 6]!;
    const isTcp = protocol === IP_PROTOCOL.tcp;
    const t = at + transport;
    const isPlain = isIpv4 ? transport === 20 && (view.getUint16(at + 6) & 0x3fff) === 0 : true;
    if (isPlain && isTcp && transport + 20 <= length) {
      const headers = transport + (u8[t + 12]! >> 4) * 4;
      if (headers >= transport + 20 && headers <= length) {
        this.#tcp(at, length, isIpv4, transport, headers);
        return true;
      }
      return false;
    }
    if (isPlain && protocol === IP_PROTOCOL.udp && transport + UDP_HEADER_LENGTH <= length) {
      this.#udp(at, length, isIpv4, transport);
      return true;
    }
    // Options and the like: rare, alone, and judged by the one rule.
    const packet = u8.subarray(at, at + length);
    if (partialChecksumAt(packet) < 0) return false;
    this.flush();
    this.#begin(at, length, isTcp, isIpv4, transport, transport);
    this.flush();
    return true;
  }

  /** Writes what is gathered. */
  flush(): void {
    const count = this.#count;
    if (count === 0) return;
    this.#count = 0;
    const { u8, view } = this.#memory;
    const header = this.#header;
    const [first, transport, isTcp, isIpv4] = [
      this.#first,
      this.#transport,
      this.#isTcp,
      this.#isIpv4,
    ];
    const length = this.#total;
    const checksum = isTcp ? TCP_CHECKSUM : UDP_CHECKSUM;
    header.u8[VNET.flags] = NEEDS_CHECKSUM;
    header.view.setUint16(VNET.checksumStart, transport, true);
    header.view.setUint16(VNET.checksumOffset, checksum, true);
    if (count > 1) {
      const tcpType = isIpv4 ? GSO.tcpIpv4 : GSO.tcpIpv6;
      const isMarked = isTcp && (u8[first + transport + TCP_FLAGS]! & TCP_FLAG.cwr) !== 0;
      header.u8[VNET.gsoType] = isTcp ? tcpType | (isMarked ? GSO_ECN : 0) : GSO.udp;
      header.view.setUint16(VNET.headerLength, this.#headers, true);
      header.view.setUint16(VNET.gsoSize, this.#segment, true);
      if (isIpv4) {
        view.setUint16(first + 2, length);
        view.setUint16(first + 10, 0);
        let sum = 0;
        for (let i = 0; i < transport; i += 2) sum += view.getUint16(first + i);
        view.setUint16(first + 10, ~fold(sum) & 0xffff);
      } else {
        view.setUint16(first + 4, length - IPV6_HEADER_LENGTH);
      }
      if (!isTcp) view.setUint16(first + transport + 4, length - transport);
    } else {
      header.u8[VNET.gsoType] = GSO.none;
      header.view.setUint16(VNET.headerLength, 0, true);
      header.view.setUint16(VNET.gsoSize, 0, true);
    }
    const protocol = isTcp ? IP_PROTOCOL.tcp : IP_PROTOCOL.udp;
    const sum = this.#pseudo(first, protocol, length - transport);
    view.setUint16(first + transport + checksum, sum);
    this.#put(count + 1);
  }

  #tcp(at: number, length: number, isIpv4: boolean, transport: number, headers: number): void {
    const { u8, view } = this.#memory;
    const t = at + transport;
    const flags = u8[t + TCP_FLAGS]!;
    const payload = length - headers;
    const mayJoin = payload > 0 && (flags & ENDING) === (flags & ~(TCP_FLAG.ack | TCP_FLAG.ece));
    if (
      mayJoin && this.#count !== 0 && this.#isTcp && payload <= this.#segment &&
      this.#count < VECTORS && this.#total + payload <= PACKET_MAX &&
      this.#continues(at, isIpv4, transport, headers) && this.#continuesTcp(at, transport, headers)
    ) {
      this.#join(at + headers, payload);
      this.#next = (this.#next + payload) >>> 0;
      if (payload < this.#segment || (flags & ENDING) !== 0) {
        u8[this.#first + transport + TCP_FLAGS]! |= flags & ENDING;
        this.flush();
      }
      return;
    }
    this.flush();
    this.#begin(at, length, true, isIpv4, transport, headers);
    this.#next = (view.getUint32(t + 4) + payload) >>> 0;
    // The first of a super-segment may carry CWR, which only it keeps.
    const mayBegin = payload > 0 &&
      (flags & ~(TCP_FLAG.ack | TCP_FLAG.ece | TCP_FLAG.cwr)) === 0;
    if (!mayBegin) this.flush();
  }

  #udp(at: number, length: number, isIpv4: boolean, transport: number): void {
    const headers = transport + UDP_HEADER_LENGTH;
    const payload = length - headers;
    const isExact = this.#memory.view.getUint16(at + transport + 4) === length - transport;
    if (
      this.#hasUdp && isExact && payload > 0 && this.#count !== 0 && !this.#isTcp &&
      payload <= this.#segment && this.#count < VECTORS && this.#total + payload <= PACKET_MAX &&
      this.#continues(at, isIpv4, transport, headers) && this.#hasSamePorts(at, transport)
    ) {
      this.#join(at + headers, payload);
      if (payload < this.#segment) this.flush();
      return;
    }
    this.flush();
    this.#begin(at, length, false, isIpv4, transport, headers);
    if (!this.#hasUdp || !isExact || payload === 0) this.flush();
  }

  #begin(
    at: number,
    length: number,
    isTcp: boolean,
    isIpv4: boolean,
    transport: number,
    headers: number,
  ): void {
    this.#first = at;
    this.#count = 1;
    this.#total = length;
    this.#isTcp = isTcp;
    this.#isIpv4 = isIpv4;
    this.#transport = transport;
    this.#headers = headers;
    this.#segment = length - headers;
    this.#out.vector(1, this.#memory, at, length);
  }

  #join(at: number, length: number): void {
    this.#count++;
    this.#out.vector(this.#count, this.#memory, at, length);
    this.#total += length;
  }

  /** Whether the IP header of the packet at `b` may follow what is gathered. */
  #continues(b: number, isIpv4: boolean, transport: number, headers: number): boolean {
    const { view } = this.#memory;
    const a = this.#first;
    if (
      isIpv4 !== this.#isIpv4 || headers !== this.#headers || transport !== this.#transport
    ) return false;
    if (isIpv4) {
      const id = view.getUint16(b + 4);
      const firstId = view.getUint16(a + 4);
      const isNext = ((firstId + this.#count) & 0xffff) === id;
      // RFC 6864: the identification of what is never fragmented means nothing.
      const isAtomic = (view.getUint16(b + 6) & 0x4000) !== 0 && id === firstId && !this.#isTcp;
      return (isNext || isAtomic) &&
        view.getUint16(a) === view.getUint16(b) && // version, length, type of service
        view.getUint16(a + 6) === view.getUint16(b + 6) && // fragmentation
        view.getUint16(a + 8) === view.getUint16(b + 8) && // time to live, protocol
        view.getUint32(a + 12) === view.getUint32(b + 12) &&
        view.getUint32(a + 16) === view.getUint32(b + 16) &&
        this.#hasRightChecksum(b) && (this.#count > 1 || this.#hasRightChecksum(a));
    }
    // Version, class, flow; next header and hop limit; addresses.
    if (view.getUint32(a) !== view.getUint32(b)) return false;
    if (view.getUint16(a + 6) !== view.getUint16(b + 6)) return false;
    for (let i = 8; i < 40; i += 4) {
      if (view.getUint32(a + i) !== view.getUint32(b + i)) return false;
    }
    return true;
  }

  /** Of an IPv4 header without options. Its sum is the same in any byte order (RFC 1071). */
  #hasRightChecksum(at: number): boolean {
    const { view } = this.#memory;
    let sum = 0;
    for (let i = 0; i < 20; i += 4) {
      const word = view.getUint32(at + i, true);
      sum += (word >>> 16) + (word & 0xffff);
    }
    return sum % 0xffff === 0; // and never 0, for the version is in it
  }

  #continuesTcp(b: number, transport: number, headers: number): boolean {
    const { view } = this.#memory;
    const u = this.#first + transport;
    const t = b + transport;
    const differing = view.getUint16(u + 12) ^ view.getUint16(t + 12);
    if (
      view.getUint32(t + 4) !== this.#next ||
      view.getUint32(u) !== view.getUint32(t) || // ports
      view.getUint32(u + 8) !== view.getUint32(t + 8) || // acknowledgement
      (differing & ~(ENDING | TCP_FLAG.cwr)) !== 0 || // offset and flags
      view.getUint16(u + 14) !== view.getUint16(t + 14) || // window
      view.getUint16(u + 18) !== view.getUint16(t + 18) // urgent pointer, though nobody reads it
    ) return false;
    for (let i = 20; i < headers - transport; i += 4) { // options
      if (view.getUint32(u + i) !== view.getUint32(t + i)) return false;
    }
    return true;
  }

  #hasSamePorts(b: number, transport: number): boolean {
    const { view } = this.#memory;
    return view.getUint32(this.#first + transport) === view.getUint32(b + transport);
  }

  #pseudo(at: number, protocol: number, length: number): number {
    const { view } = this.#memory;
    let sum = protocol + length;
    const start = this.#isIpv4 ? 12 : 8;
    const end = this.#isIpv4 ? 20 : 40;
    for (let i = start; i < end; i += 2) sum += view.getUint16(at + i);
    return fold(sum);
  }

  #put(vectors: number): void {
    if (this.#write(this.#fd, this.#out, vectors) < 0) this.#failed();
  }
}

function fold(sum: number): number {
  let folded = sum;
  while (folded > 0xffff) folded = (folded & 0xffff) + (folded >>> 16);
  return folded;
}
