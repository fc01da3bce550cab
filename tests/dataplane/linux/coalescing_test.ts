import { deepStrictEqual, ok, strictEqual } from "node:assert/strict";
import fc from "fast-check";
import { IOVEC } from "../../../ffi/layout.ts";
import { Mem } from "../../../ffi/memory.ts";
import { Coalescing } from "../../../lib/dataplane/linux/coalescing.ts";
import type { MessageHeader } from "../../../lib/dataplane/linux/message_header.ts";
import { completeChecksums, naiveSplit } from "./naive_offload.ts";
import { SHAPE, type Shape, superSegment } from "./random_packets.ts";

/** Size of the virtio header. */
const VNET_SIZE = 10;
const VECTORS_AT = 64 + 32 + 160;

/** One write to the TUN. */
interface Write {
  readonly header: Uint8Array;
  readonly packet: Uint8Array;
}

/** Gives packets to the fast coalescer and collects what it writes. */
function coalesce(packets: readonly Uint8Array[], hasUdp = true): Write[] {
  const memory = new Mem(1 << 20);
  const places: [at: number, length: number][] = [];
  let at = 0;
  for (const packet of packets) {
    memory.u8.set(packet, at);
    places.push([at, packet.length]);
    at += packet.length + 32;
  }
  const writes: Write[] = [];
  const write = (_fd: number, message: MessageHeader, vectors: number) => {
    const parts: Uint8Array[] = [];
    for (let i = 0; i < vectors; i++) {
      const entry = VECTORS_AT + i * IOVEC.size;
      const view = message.memory.view;
      const base = view.getBigUint64(entry, true);
      const length = view.getUint32(entry + IOVEC.length, true);
      const pointer = Deno.UnsafePointer.create(base)!;
      parts.push(new Uint8Array(Deno.UnsafePointerView.getArrayBuffer(pointer, length)).slice());
    }
    const packet = new Uint8Array(parts.slice(1).reduce((sum, part) => sum + part.length, 0));
    let to = 0;
    for (const part of parts.slice(1)) {
      packet.set(part, to);
      to += part.length;
    }
    writes.push({ header: parts[0]!, packet });
    return 0;
  };
  const coalescing = new Coalescing({ memory, fd: -1, hasUdp, failed: () => {}, write });
  for (const [place, length] of places) {
    if ((memory.u8[place]! & 0x80) === 0) {
      coalescing.whole(place, length);
      continue;
    }
    memory.u8[place]! &= 0x7f;
    ok(coalescing.partial(place, length), "may be partial");
  }
  coalescing.flush();
  return writes;
}

/** What the receiving kernel makes of a write: packets with complete checksums. */
function received({ header, packet }: Write): Uint8Array[] {
  const view = new DataView(header.buffer);
  const type = header[1]! & 0x7f;
  const transport = view.getUint16(6, true);
  strictEqual(header.length, VNET_SIZE);
  if ((header[0]! & 1) === 0) return [packet];
  const isTcp = view.getUint16(8, true) === 16;
  if (type !== 0) {
    const expected = isTcp ? (packet[0]! >> 4 === 4 ? 1 : 4) : 5;
    strictEqual(type, expected, "GSO type");
    strictEqual(
      view.getUint16(2, true),
      transport + (isTcp ? (packet[transport + 12]! >> 4) * 4 : 8),
      "header length",
    );
  }
  requirePseudoHeader(packet, transport, isTcp);
  if (type === 0) {
    // What is no super-segment keeps its IP header, be it right or wrong.
    const [alone] = naiveSplit({ bytes: packet, gsoSize: 0, transport, isTcp });
    alone!.set(packet.subarray(0, transport));
    return [alone!];
  }
  ok(hasRightHeader(packet, transport, isTcp), "or the kernel would drop the whole super-segment");
  return naiveSplit({ bytes: packet, gsoSize: view.getUint16(4, true), transport, isTcp });
}

/** Whether the header's checksum is what it should be; IPv6 has none. */
function hasRightHeader(packet: Uint8Array, transport: number, isTcp: boolean): boolean {
  const copy = packet.slice();
  completeChecksums(copy, transport, isTcp);
  return packet[0]! >> 4 === 6 || (copy[10] === packet[10] && copy[11] === packet[11]);
}

/** The kernel goes on from what stands in the field, so it must be the pseudo-header's sum. */
function requirePseudoHeader(packet: Uint8Array, transport: number, isTcp: boolean): void {
  const at = transport + (isTcp ? 16 : 6);
  const stated = packet[at]! << 8 | packet[at + 1]!;
  const copy = packet.slice();
  completeChecksums(copy, transport, isTcp);
  const complete = copy[at]! << 8 | copy[at + 1]!;
  // Summing all with the stated value in place gives the complement of the complete checksum.
  let sum = 0;
  const zeroed = packet.slice(transport);
  for (let i = 0; i < zeroed.length; i += 2) sum += (zeroed[i]! << 8) + (zeroed[i + 1] ?? 0);
  while (sum > 0xffff) sum = (sum >>> 16) + (sum & 0xffff);
  const finished = ~sum & 0xffff;
  strictEqual(!isTcp && finished === 0 ? 0xffff : finished, complete, `pseudo-header ${stated}`);
}

/** Marks a packet as one with a partial checksum; the field then means nothing. */
function partial(packet: Uint8Array, transport: number, isTcp: boolean): Uint8Array {
  const copy = packet.slice();
  copy[0]! |= 0x80;
  copy[transport + (isTcp ? 16 : 6)] = 0xab;
  return copy;
}

/** Packets of some flows, in an order in which segments may be swapped, repeated and lost. */
const ARRIVALS = fc.record({
  shapes: fc.array(SHAPE, { minLength: 1, maxLength: 4 }),
  swaps: fc.array(fc.nat(400), { maxLength: 6 }),
  drops: fc.array(fc.nat(400), { maxLength: 3 }),
  damaged: fc.array(fc.tuple(fc.nat(400), fc.nat(15)), { maxLength: 4 }),
  isPartial: fc.array(fc.integer({ min: 0, max: 9 }), { minLength: 7, maxLength: 7 }),
  hasUdp: fc.boolean(),
});

Deno.test("Coalescing delivers the packets it was given, in order, byte for byte", () => {
  // Any authenticated peer can send these.
  fc.assert(
    fc.property(ARRIVALS, ({ shapes, swaps, drops, damaged, isPartial, hasUdp }) => {
      const packets: { whole: Uint8Array; given: Uint8Array }[] = [];
      for (const shape of shapes) {
        const small = { ...shape, payload: Math.min(shape.payload, 20 * shape.gsoSize) };
        const offloaded = superSegment(small);
        const { transport, isTcp } = offloaded;
        const mayBePartial = shape.isIpv4 || shape.extra === 0;
        for (const whole of naiveSplit(offloaded)) {
          const asPartial = mayBePartial && isPartial[packets.length % 7] !== 0;
          packets.push({ whole, given: asPartial ? partial(whole, transport, isTcp) : whole });
        }
      }
      for (const drop of drops) if (packets.length > 1) packets.splice(drop % packets.length, 1);
      for (const swap of swaps) {
        const i = swap % packets.length;
        const j = (swap + 1) % packets.length;
        [packets[i], packets[j]] = [packets[j]!, packets[i]!];
      }
      for (const [place, bit] of damaged) {
        const { whole, given } = packets[place % packets.length]!;
        if (whole[0]! >> 4 !== 4) continue;
        // The header's checksum, which nobody may mend.
        for (const packet of [whole, given]) packet[10 + (bit >> 3)]! ^= 1 << (bit & 7);
      }
      const writes = coalesce(packets.map(({ given }) => given), hasUdp);
      deepStrictEqual(writes.flatMap(received), packets.map(({ whole }) => whole));
    }),
    { numRuns: 300 },
  );
});

const BASE: Shape = {
  isIpv4: true,
  isTcp: true,
  extra: 0,
  options: 3,
  gsoSize: 1000,
  payload: 4_500,
  flags: 0x10,
  seed: 5,
  isDontFragment: true,
};

/** What arrives, how many writes it takes, and why. */
const WRITES: [
  shape: Partial<Shape>,
  change: (packets: Uint8Array[]) => void,
  count: number,
  why: string,
][] = [
  [{}, () => {}, 1, "a run of TCP over IPv4"],
  [{ isIpv4: false }, () => {}, 1, "a run of TCP over IPv6"],
  [{ isTcp: false }, () => {}, 1, "a run of UDP over IPv4"],
  [{ isTcp: false, isIpv4: false }, () => {}, 1, "a run of UDP over IPv6"],
  [{ flags: 0x19 }, () => {}, 1, "PSH and FIN at the end belong to it"],
  [{ flags: 0x90 }, () => {}, 1, "CWR at the start belongs to it"],
  [{ flags: 0x12 }, () => {}, 5, "SYN is never joined"],
  [{ flags: 0x30 }, () => {}, 5, "URG is never joined"],
  [{}, (p) => void p.splice(2, 1), 2, "a gap"],
  [{}, (p) => [p[1], p[2]] = [p[2]!, p[1]!], 4, "out of order"],
  [{}, (p) => p[2]![1]! ^= 4, 3, "another type of service"],
  [{}, (p) => p[2]![8]!--, 3, "another time to live"],
  [{}, (p) => p[2]![20 + 20]! ^= 1, 3, "another TCP option"],
  [{}, (p) => p[2]![20 + 15]! ^= 1, 3, "another window"],
  [{}, (p) => p[2]![20 + 11]! ^= 1, 3, "another acknowledgement"],
  [{}, (p) => p[2]![5]! ^= 1, 3, "another identification than the next"],
];

/** Which header checksums are wrong, how many writes it takes, and why. */
const DAMAGED: [shape: Partial<Shape>, places: number[], count: number, why: string][] = [
  [{}, [0], 2, "the first goes alone, the others together"],
  [{}, [2], 3, "one in the middle parts them"],
  [{}, [4], 2, "the last goes alone"],
  [{}, [1, 2], 4, "two wrong ones are not joined with each other either"],
  [{ isTcp: false }, [2], 3, "the same for UDP"],
];

Deno.test("Coalescing joins what the kernel would, and nothing else", () => {
  for (const [shape, change, count, why] of WRITES) {
    const offloaded = superSegment({ ...BASE, ...shape });
    const packets = naiveSplit(offloaded);
    change(packets);
    const { transport, isTcp } = offloaded;
    for (const packet of packets) completeChecksums(packet, transport, isTcp);
    const given = packets.map((packet) => partial(packet, transport, isTcp));
    strictEqual(coalesce(given).length, count, why);
  }
});

Deno.test("Coalescing hands a packet with a wrong header checksum on alone, as it came", () => {
  for (const [shape, places, count, why] of DAMAGED) {
    const offloaded = superSegment({ ...BASE, ...shape });
    const { transport, isTcp } = offloaded;
    const whole = naiveSplit(offloaded);
    for (const place of places) whole[place]![10]! ^= 1;
    const writes = coalesce(whole.map((packet) => partial(packet, transport, isTcp)));
    strictEqual(writes.length, count, why);
    deepStrictEqual(writes.flatMap(received), whole, why);
  }
});

Deno.test("Coalescing leaves UDP alone where the TUN takes no super-segments of it", () => {
  const offloaded = superSegment({ ...BASE, isTcp: false });
  const given = naiveSplit(offloaded).map((packet) => partial(packet, offloaded.transport, false));
  strictEqual(coalesce(given, false).length, given.length);
});

Deno.test("Coalescing joins no packet whose checksum nobody verified, and mends none", () => {
  const packets = naiveSplit(superSegment(BASE));
  packets[1]![20 + 16]! ^= 1; // the checksum of TCP
  packets[3]![packets[3]!.length - 1]! ^= 1;
  const writes = coalesce(packets);
  deepStrictEqual(writes.map(({ packet }) => packet), packets);
  ok(writes.every(({ header }) => header[0] === 0), "nor asks the kernel to");
});
