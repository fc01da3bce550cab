/**
 * IP headers. A peer, or any program on this machine, can send these bytes.
 *
 * @module
 */

import { deepStrictEqual, ok, strictEqual } from "node:assert/strict";
import fc from "fast-check";
import { ipVersion, readIpPacket } from "../../lib/net/ip_packet.ts";
import { parseIpAddress } from "../../lib/net/ip_address.ts";
import { buildPacket, tcpSegment } from "./packets.ts";

const V4 = { from: "10.0.0.1", to: "10.0.0.2" };
const V6 = { from: "fd00::1", to: "fd00::2" };

Deno.test("readIpPacket() reads an IPv4 header", () => {
  const packet = buildPacket({ ...V4, protocol: 6, body: tcpSegment(), optionsLength: 8 });
  deepStrictEqual(readIpPacket(packet), {
    version: 4,
    source: parseIpAddress(V4.from),
    destination: parseIpAddress(V4.to),
    protocol: 6,
    headerLength: 28,
    totalLength: 48,
    hasExtensionHeaders: false,
    isFragment: false,
    fragmentOffset: 0,
  });
});

Deno.test("readIpPacket() reads an IPv6 header", () => {
  const packet = buildPacket({ ...V6, protocol: 6, body: tcpSegment() });
  deepStrictEqual(readIpPacket(packet), {
    version: 6,
    source: parseIpAddress(V6.from),
    destination: parseIpAddress(V6.to),
    protocol: 6,
    headerLength: 40,
    totalLength: 60,
    hasExtensionHeaders: false,
    isFragment: false,
    fragmentOffset: 0,
  });
});

Deno.test("ipVersion() takes a packet only at its own length", () => {
  for (const fields of [V4, V6]) {
    const packet = buildPacket({ ...fields, body: new Uint8Array(20) });
    const version = fields === V4 ? 4 : 6;
    strictEqual(ipVersion(packet), version);
    for (let length = 0; length < packet.length; length++) {
      strictEqual(ipVersion(packet.subarray(0, length)), 0, `cut to ${length}`);
    }
    const padded = new Uint8Array(packet.length + 1);
    padded.set(packet);
    strictEqual(ipVersion(padded), 0, "padded");
  }
});

/** Packet of 40 bytes with these first bytes; version it is taken for; why. */
const FIRST_BYTES: [first: number, version: number, why: string][] = [
  [0x45, 4, "usual"],
  [0x4a, 4, "header of 40 bytes"],
  [0x4b, 0, "header longer than the packet"],
  [0x44, 0, "header under 20 bytes"],
  [0x40, 0, "no header at all"],
  [0x60, 6, "usual"],
  [0x6f, 6, "traffic class set"],
  [0x00, 0, "version 0"],
  [0x55, 0, "version 5"],
  [0x70, 0, "version 7"],
  [0xc5, 0, "partial-checksum bit not cleared"],
  [0xe0, 0, "the same of IPv6"],
];

Deno.test("ipVersion() judges the first byte", () => {
  for (const [first, version, why] of FIRST_BYTES) {
    const packet = new Uint8Array(40);
    packet[0] = first;
    if (first >> 4 === 4) packet[3] = 40;
    strictEqual(ipVersion(packet), version, why);
  }
});

/** IPv4 flags and offset; fragment, offset, why. */
const FRAGMENTS: [field: number, isFragment: boolean, offset: number, why: string][] = [
  [0x0000, false, 0, "whole"],
  [0x4000, false, 0, "don't fragment"],
  [0x2000, true, 0, "first fragment"],
  [0x2001, true, 8, "middle"],
  [0x1fff, true, 65528, "last"],
];

Deno.test("readIpPacket() tells IPv4 fragments", () => {
  for (const [fragment, isFragment, fragmentOffset, why] of FRAGMENTS) {
    const view = readIpPacket(buildPacket({ ...V4, fragment }))!;
    deepStrictEqual([view.isFragment, view.fragmentOffset], [isFragment, fragmentOffset], why);
  }
});

const hop = (next: number, units = 0) => [next, units, ...new Array(6 + 8 * units).fill(0)];
const fragment = (next: number, field: number) => [next, 0, field >> 8, field & 255, 0, 0, 0, 1];

/** Next header, extension headers, then what is read: protocol, header length, fragment, offset. */
const EXTENSIONS: [
  first: number,
  body: number[],
  read: [number, number, boolean, number] | undefined,
  why: string,
][] = [
  [0, hop(6), [6, 48, false, 0], "hop-by-hop"],
  [0, hop(6, 2), [6, 64, false, 0], "longer hop-by-hop"],
  [43, [...hop(60), ...hop(17)], [17, 56, false, 0], "routing, then destination options"],
  [51, [6, 2, ...new Array(14).fill(0)], [6, 56, false, 0], "authentication counts in 4 bytes"],
  [44, fragment(6, 0x0001), [6, 48, true, 0], "first fragment"],
  [44, fragment(6, 0x0000), [6, 48, false, 0], "atomic fragment (RFC 6946)"],
  [44, [...fragment(6, 0x0009), 1], [6, 48, true, 8], "later fragment"],
  [44, fragment(0, 0x0008), [0, 48, true, 8], "later fragment: what follows is payload"],
  [44, fragment(0, 0x0001), undefined, "first fragment without the announced header"],
  [0, hop(6).slice(0, 7), undefined, "cut extension header"],
  [0, [6, 1, 0, 0, 0, 0, 0, 0], undefined, "extension header longer than the packet"],
  [0, [], undefined, "announced extension header missing"],
  [59, [1, 2, 3], [59, 40, false, 0], "no next header"],
];

Deno.test("readIpPacket() walks IPv6 extension headers", () => {
  for (const [protocol, body, read, why] of EXTENSIONS) {
    const view = readIpPacket(buildPacket({ ...V6, protocol, body: Uint8Array.from(body) }));
    const got = view &&
      [view.protocol, view.headerLength, view.isFragment, view.fragmentOffset];
    deepStrictEqual(got, read, why);
    if (view) strictEqual(view.hasExtensionHeaders, view.headerLength > 40, why);
  }
});

Deno.test("readIpPacket() takes any bytes without an error and stays within them", () => {
  const aimed = fc.tuple(
    fc.constantFrom(0, 43, 44, 51, 60, 6),
    fc.array(fc.constantFrom(0, 1, 2, 43, 44, 51, 60, 255), { maxLength: 60 }),
  ).map(([protocol, body]) => buildPacket({ ...V6, protocol, body: Uint8Array.from(body) }));
  fc.assert(fc.property(fc.oneof(fc.uint8Array({ maxLength: 100 }), aimed), (packet) => {
    const view = readIpPacket(packet);
    if (view !== undefined) ok(view.headerLength <= packet.length);
  }));
});
