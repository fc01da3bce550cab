/**
 * Checksums against a naive twin, and the partial ones (T32). An authenticated peer can send what is
 * finished here.
 *
 * @module
 */

import { deepStrictEqual, ok, strictEqual } from "node:assert/strict";
import fc from "fast-check";
import { readU16Be, writeU16Be } from "../../lib/base/integers.ts";
import {
  addToSum,
  finishPartialChecksum,
  internetChecksum,
  partialChecksumAt,
  pseudoHeaderSum,
} from "../../lib/net/checksum.ts";
import { buildPacket, type PacketFields, tcpSegment, udpDatagram } from "./packets.ts";

const V4 = { from: "10.0.0.1", to: "10.0.0.2" };
const V6 = { from: "fd00::1", to: "fd00::2" };
const TCP = 6;
const UDP = 17;

/** RFC 1071 as written: 16-bit words, end-around carry at each step, complement. */
function naiveChecksum(bytes: number[]): number {
  const words = bytes.length % 2 === 0 ? bytes : [...bytes, 0];
  let sum = 0;
  for (let i = 0; i < words.length; i += 2) {
    sum += words[i]! * 256 + words[i + 1]!;
    if (sum > 0xffff) sum -= 0xffff;
  }
  return 0xffff - sum;
}

/** The checksum that TCP or UDP must hold, from a pseudo-header that is built out in full. */
function naiveTransportChecksum(packet: Uint8Array, protocol: number): number {
  const isIpv4 = packet[0]! >> 4 === 4;
  const start = isIpv4 ? (packet[0]! & 15) * 4 : 40;
  const segment = [...packet.subarray(start)];
  const at = protocol === TCP ? 16 : 6;
  segment[at] = segment[at + 1] = 0;
  const length = segment.length;
  const pseudo = isIpv4
    ? [...packet.subarray(12, 20), 0, protocol, length >> 8, length & 255]
    : [...packet.subarray(8, 40), 0, 0, length >> 8, length & 255, 0, 0, 0, protocol];
  return naiveChecksum([...pseudo, ...segment]);
}

Deno.test("internetChecksum() answers the example of RFC 1071 §3", () => {
  const bytes = Uint8Array.of(0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7);
  strictEqual(addToSum(bytes, 0, 8), 0xddf2);
  strictEqual(internetChecksum(bytes), 0x220d);
  strictEqual(internetChecksum(new Uint8Array(0)), 0xffff);
});

Deno.test("internetChecksum() agrees with its naive twin", () => {
  const ones = fc.array(fc.constantFrom(0, 254, 255), { maxLength: 3000 });
  fc.assert(
    fc.property(fc.oneof(fc.array(fc.nat(255), { maxLength: 300 }), ones), (bytes) => {
      strictEqual(internetChecksum(Uint8Array.from(bytes)), naiveChecksum(bytes));
    }),
  );
});

Deno.test("addToSum() adds ranges and may be continued at an even place", () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 100 }), fc.nat(50), fc.nat(9), (bytes, half, start) => {
      const from = Math.min(start, bytes.length);
      const middle = Math.min(from + 2 * half, bytes.length);
      const whole = addToSum(bytes, from, bytes.length);
      if ((middle - from) % 2 === 0) {
        strictEqual(addToSum(bytes, middle, bytes.length, addToSum(bytes, from, middle)), whole);
      }
      strictEqual(whole, addToSum(bytes.slice(from), 0, bytes.length - from));
    }),
  );
});

Deno.test("internetChecksum() of bytes with their checksum is 0", () => {
  fc.assert(fc.property(fc.uint8Array({ minLength: 4, maxLength: 60 }), (bytes) => {
    writeU16Be(bytes, 2, 0);
    writeU16Be(bytes, 2, internetChecksum(bytes));
    strictEqual(internetChecksum(bytes), 0);
  }));
});

const end = (size: number) => fc.uint8Array({ minLength: size, maxLength: size });
const partialPacket = () =>
  fc.record({
    size: fc.constantFrom(4, 16),
    protocol: fc.constantFrom(TCP, UDP),
    payload: fc.uint8Array({ maxLength: 64 }),
    optionsLength: fc.constantFrom(0, 4, 40),
    stale: fc.nat(0xffff),
  }).chain(({ size, protocol, payload, optionsLength, stale }) =>
    fc.tuple(end(size), end(size)).map(([from, to]) => {
      const body = protocol === TCP ? tcpSegment(payload) : udpDatagram(payload);
      writeU16Be(body, protocol === TCP ? 16 : 6, stale);
      const packet = buildPacket({ from, to, protocol, body, optionsLength });
      return { packet, protocol };
    })
  );

Deno.test("finishPartialChecksum() writes what the naive twin says, whatever was there", () => {
  fc.assert(fc.property(partialPacket(), ({ packet, protocol }) => {
    const expected = packet.slice();
    const checksum = naiveTransportChecksum(packet, protocol);
    const at = partialChecksumAt(packet);
    writeU16Be(expected, at, checksum === 0 && protocol === UDP ? 0xffff : checksum);
    ok(finishPartialChecksum(packet));
    deepStrictEqual(packet, expected, "nothing else is touched");
  }));
});

Deno.test("a finished packet sums to zero with its pseudo-header", () => {
  fc.assert(fc.property(partialPacket(), ({ packet, protocol }) => {
    finishPartialChecksum(packet);
    const start = packet[0]! >> 4 === 4 ? (packet[0]! & 15) * 4 : 40;
    const pseudo = pseudoHeaderSum(packet, protocol, packet.length - start);
    strictEqual(internetChecksum(packet.subarray(start), pseudo), 0);
  }));
});

Deno.test("finishPartialChecksum() never writes 0 for UDP, since that means none", () => {
  // One word of the payload is chosen so that the sum comes out as 0xffff.
  for (const ends of [V4, V6]) {
    const packet = buildPacket({ ...ends, protocol: UDP, body: udpDatagram(new Uint8Array(2)) });
    writeU16Be(packet, packet.length - 2, naiveTransportChecksum(packet, UDP));
    strictEqual(naiveTransportChecksum(packet, UDP), 0);
    ok(finishPartialChecksum(packet));
    strictEqual(readU16Be(packet, partialChecksumAt(packet)), 0xffff);
  }
  const packet = buildPacket({ ...V4, protocol: TCP, body: tcpSegment(new Uint8Array(2)) });
  writeU16Be(packet, packet.length - 2, naiveTransportChecksum(packet, TCP));
  ok(finishPartialChecksum(packet));
  strictEqual(readU16Be(packet, partialChecksumAt(packet)), 0, "TCP has no such rule");
});

const NO_TCP = tcpSegment().subarray(0, 19);
const EXTENDED = Uint8Array.from([TCP, 0, 0, 0, 0, 0, 0, 0, ...tcpSegment()]);

/** Packets that may not carry the partial-checksum bit, and why. */
const REFUSED: [packet: Uint8Array, why: string][] = [
  ...[V4, V6].flatMap((ends): [Uint8Array, string][] => {
    const family = ends === V4 ? "v4" : "v6";
    const packet = (fields: Partial<PacketFields>) => buildPacket({ ...ends, ...fields });
    return [
      [packet({ protocol: TCP, body: NO_TCP }), `${family}: TCP header cut`],
      [packet({ protocol: TCP, body: tcpSegment(new Uint8Array(0), 6) }), `${family}: options cut`],
      [packet({ protocol: TCP, body: tcpSegment(new Uint8Array(0), 4) }), `${family}: offset 4`],
      [packet({ protocol: UDP, body: udpDatagram().subarray(0, 7) }), `${family}: UDP header cut`],
      [packet({ protocol: TCP }), `${family}: no transport header`],
      [packet({ protocol: UDP }), `${family}: no transport header`],
      [packet({ protocol: 1, body: new Uint8Array(64) }), `${family}: ICMP`],
      [packet({ protocol: 58, body: new Uint8Array(64) }), `${family}: ICMPv6`],
      [packet({ protocol: 132, body: new Uint8Array(64) }), `${family}: SCTP`],
      [packet({ protocol: 59, body: new Uint8Array(64) }), `${family}: nothing`],
    ];
  }),
  [buildPacket({ ...V4, protocol: TCP, body: tcpSegment(), fragment: 0x2000 }), "first fragment"],
  [buildPacket({ ...V4, protocol: TCP, body: tcpSegment(), fragment: 0x0001 }), "later fragment"],
  [buildPacket({ ...V6, protocol: 0, body: EXTENDED }), "hop-by-hop header"],
  [buildPacket({ ...V6, protocol: 44, body: EXTENDED }), "fragment header"],
  [buildPacket({ ...V6, protocol: 60, body: EXTENDED }), "destination options"],
  [new Uint8Array(0), "empty"],
  [Uint8Array.of(0xc5), "bit not cleared"],
];

Deno.test("T32: finishPartialChecksum() refuses packets that may not carry a partial one", () => {
  for (const [packet, why] of REFUSED) {
    const before = packet.slice();
    strictEqual(finishPartialChecksum(packet), false, why);
    deepStrictEqual(packet, before, `${why}: unchanged`);
  }
});

Deno.test("finishPartialChecksum() takes don't-fragment and TCP options", () => {
  const body = tcpSegment(new Uint8Array(4), 6);
  ok(finishPartialChecksum(buildPacket({ ...V4, protocol: TCP, body, fragment: 0x4000 })));
  ok(finishPartialChecksum(buildPacket({ ...V6, protocol: TCP, body })));
});

Deno.test("T32: finishPartialChecksum() takes any bytes without an error", () => {
  fc.assert(fc.property(fc.uint8Array({ maxLength: 100 }), (bytes) => {
    const packet = bytes.slice();
    if (!finishPartialChecksum(packet)) deepStrictEqual(packet, bytes);
  }));
});
