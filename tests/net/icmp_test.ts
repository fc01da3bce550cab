/**
 * ICMP echo and errors. Peers and programs of this machine can send what is parsed here.
 *
 * @module
 */

import { deepStrictEqual, ok, strictEqual, throws } from "node:assert/strict";
import fc from "fast-check";
import { readU16Be, readU32Be } from "../../lib/base/integers.ts";
import { internetChecksum, pseudoHeaderSum, writeIpv4Checksum } from "../../lib/net/checksum.ts";
import { buildEcho, buildPacketTooBig, buildUnreachable, parseEcho } from "../../lib/net/icmp.ts";
import { formatIpAddress, parseIpAddress } from "../../lib/net/ip_address.ts";
import { readIpPacket } from "../../lib/net/ip_packet.ts";
import { buildPacket, udpDatagram } from "./packets.ts";

const fromHex = (text: string) => Uint8Array.fromHex(text.replaceAll(/\s/g, ""));
const V4 = { from: "10.0.0.1", to: "10.0.0.2" };
const V6 = { from: "fd00::1", to: "fd00::2" };
const UDP = 17;

Deno.test("buildEcho() builds an IPv4 request as ping does", () => {
  const packet = buildEcho({
    source: parseIpAddress("192.0.2.1"),
    destination: parseIpAddress("192.0.2.2"),
    isReply: false,
    identifier: 0x1234,
    sequence: 1,
    data: Uint8Array.of(1, 2, 3),
  });
  // Checksums by hand: header 45…02, ICMP 0800 1234 0001 0102 0300.
  deepStrictEqual(
    packet,
    fromHex("4500001f 00000000 4001f6da c0000201 c0000202  0800e1c8 12340001 010203"),
  );
});

const echo = () =>
  fc.record({
    size: fc.constantFrom(4, 16),
    isReply: fc.boolean(),
    identifier: fc.nat(0xffff),
    sequence: fc.nat(0xffff),
    data: fc.uint8Array({ maxLength: 100 }),
  }).chain(({ size, ...rest }) => {
    const end = fc.uint8Array({ minLength: size, maxLength: size });
    return fc.record({ source: end, destination: end }).map((ends) => ({ ...ends, ...rest }));
  });

Deno.test("parseEcho() gives back what buildEcho() built", () => {
  fc.assert(fc.property(echo(), (echo) => {
    deepStrictEqual(parseEcho(buildEcho(echo)), echo);
  }));
});

Deno.test("parseEcho() refuses an echo with any bit of its ICMP part changed", () => {
  fc.assert(fc.property(echo(), fc.nat(), (echo, place) => {
    const packet = buildEcho(echo);
    const start = echo.source.length === 4 ? 20 : 40;
    const bit = place % ((packet.length - start) * 8);
    packet[start + (bit >> 3)]! ^= 1 << (bit & 7);
    strictEqual(parseEcho(packet), undefined);
  }));
});

Deno.test("parseEcho() refuses fragments, other protocols and cut packets", () => {
  const packet = buildEcho({
    source: parseIpAddress(V4.from),
    destination: parseIpAddress(V4.to),
    isReply: false,
    identifier: 1,
    sequence: 2,
    data: new Uint8Array(8),
  });
  ok(parseEcho(packet));
  const fragment = packet.slice();
  fragment[6] = 0x20;
  writeIpv4Checksum(fragment);
  strictEqual(parseEcho(fragment), undefined, "fragment");
  strictEqual(parseEcho(packet.subarray(0, 27)), undefined, "cut");
  strictEqual(parseEcho(buildPacket({ ...V4, protocol: 1, body: Uint8Array.of(8, 0) })), undefined);
  strictEqual(
    parseEcho(buildPacket({ ...V4, protocol: 58, body: packet.subarray(20) })),
    undefined,
  );
  strictEqual(parseEcho(buildPacket({ ...V6, protocol: 1, body: packet.subarray(20) })), undefined);
});

Deno.test("parseEcho() takes any bytes without an error", () => {
  fc.assert(fc.property(fc.uint8Array({ maxLength: 100 }), (packet) => void parseEcho(packet)));
});

Deno.test("buildEcho() refuses mixed families and too much data", () => {
  const rest = { isReply: false, identifier: 0, sequence: 0 };
  const [a, b] = [parseIpAddress("1.2.3.4"), parseIpAddress("::1")];
  throws(
    () => buildEcho({ source: a, destination: b, ...rest, data: new Uint8Array(0) }),
    RangeError,
  );
  throws(
    () => buildEcho({ source: a, destination: a, ...rest, data: new Uint8Array(65536) }),
    RangeError,
  );
});

/** Whether all checksums of an ICMP packet are right. */
function hasRightChecksums(packet: Uint8Array): boolean {
  const ip = readIpPacket(packet)!;
  const icmp = packet.subarray(ip.headerLength);
  if (ip.version === 6) {
    return internetChecksum(icmp, pseudoHeaderSum(packet, 58, icmp.length)) === 0;
  }
  return internetChecksum(packet.subarray(0, ip.headerLength)) === 0 &&
    internetChecksum(icmp) === 0;
}

Deno.test("buildPacketTooBig() quotes the packet and names the MTU", () => {
  for (const [ends, type, code, most] of [[V4, 3, 4, 576], [V6, 2, 0, 1280]] as const) {
    for (const size of [0, 100, 3000]) {
      const packet = buildPacket({
        ...ends,
        protocol: UDP,
        body: udpDatagram(new Uint8Array(size)),
      });
      const answer = buildPacketTooBig(packet, 1300, parseIpAddress(ends.to))!;
      const ip = readIpPacket(answer)!;
      const icmp = answer.subarray(ip.headerLength);
      strictEqual(formatIpAddress(ip.source), ends.to);
      strictEqual(formatIpAddress(ip.destination), ends.from);
      deepStrictEqual([icmp[0], icmp[1], readU32Be(icmp, 4)], [type, code, 1300]);
      strictEqual(answer.length, Math.min(most, ip.headerLength + 8 + packet.length));
      deepStrictEqual(icmp.subarray(8), packet.subarray(0, icmp.length - 8));
      ok(hasRightChecksums(answer));
    }
  }
});

Deno.test("buildUnreachable() says so in both families", () => {
  for (const [ends, type, code] of [[V4, 3, 1], [V6, 1, 3]] as const) {
    const packet = buildPacket({ ...ends, protocol: UDP, body: udpDatagram() });
    const answer = buildUnreachable(packet, parseIpAddress(ends.to))!;
    const start = readIpPacket(answer)!.headerLength;
    deepStrictEqual([answer[start], answer[start + 1]], [type, code]);
    strictEqual(readU16Be(answer, start + 4) | readU16Be(answer, start + 6), 0);
    ok(hasRightChecksums(answer));
  }
});

const icmp = (type: number) => Uint8Array.of(type, 0, 0, 0, 0, 0, 0, 0);

/** Packet, whether it may be answered with an error, why. */
const ANSWERED: [packet: Uint8Array, isAnswered: boolean, why: string][] = [
  [buildPacket({ ...V4, protocol: 1, body: icmp(8) }), true, "echo request"],
  [buildPacket({ ...V6, protocol: 58, body: icmp(128) }), true, "echo request"],
  [buildPacket({ ...V4, protocol: 1, body: icmp(3) }), false, "an ICMP error"],
  [buildPacket({ ...V4, protocol: 1, body: icmp(11) }), false, "an ICMP error"],
  [buildPacket({ ...V6, protocol: 58, body: icmp(1) }), false, "an ICMPv6 error"],
  [buildPacket({ ...V6, protocol: 58, body: icmp(127) }), false, "any ICMPv6 error"],
  [buildPacket({ ...V4, fragment: 0x2000 }), true, "first fragment"],
  [buildPacket({ ...V4, fragment: 1 }), false, "later fragment"],
  [buildPacket({ ...V4, from: "0.0.0.0" }), false, "from nobody"],
  [buildPacket({ ...V4, from: "224.0.0.1" }), false, "from a group"],
  [buildPacket({ ...V6, from: "::" }), false, "from nobody"],
  [buildPacket({ ...V4, to: "224.0.0.1" }), false, "to a group"],
  [buildPacket({ ...V4, to: "255.255.255.255" }), false, "to everybody"],
  [buildPacket({ ...V6, to: "ff02::1" }), false, "to a group"],
  [new Uint8Array(3), false, "no packet"],
];

Deno.test("buildUnreachable() and buildPacketTooBig() answer only what may be answered", () => {
  for (const [packet, isAnswered, why] of ANSWERED) {
    const from = parseIpAddress(packet[0]! >> 4 === 6 ? "fd00::9" : "10.0.0.9");
    strictEqual(buildUnreachable(packet, from) !== undefined, isAnswered, why);
    strictEqual(buildPacketTooBig(packet, 1280, from) !== undefined, isAnswered, why);
  }
});
