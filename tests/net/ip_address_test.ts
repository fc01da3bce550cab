/**
 * Address text. People and configuration files write it.
 *
 * @module
 */

import { deepStrictEqual, ok, strictEqual, throws } from "node:assert/strict";
import fc from "fast-check";
import type { IpAddress } from "../../lib/net/endpoint.ts";
import {
  equalIpAddresses,
  formatIpAddress,
  IpSyntaxError,
  isBroadcast,
  isIpv4Mapped,
  isLinkLocal,
  isLoopback,
  isMulticast,
  isUnicast,
  isUnspecified,
  normalizeIpAddress,
  parseDecimal,
  parseIpAddress,
} from "../../lib/net/ip_address.ts";

const ipv4 = () => fc.uint8Array({ minLength: 4, maxLength: 4 });
/** With many zero bytes, so that `::` has work. */
const ipv6 = () =>
  fc.array(fc.oneof(fc.constant(0), fc.nat(255)), { minLength: 16, maxLength: 16 })
    .map((bytes) => Uint8Array.from(bytes)).filter((address) => !isIpv4Mapped(address));
const address = () => fc.oneof(ipv4(), ipv6());

/** Text, its one spelling, why. */
const ADDRESSES: [text: string, canonical: string, why: string][] = [
  ["0.0.0.0", "0.0.0.0", "all zeros"],
  ["255.255.255.255", "255.255.255.255", "all ones"],
  ["192.0.2.1", "192.0.2.1", "usual"],
  ["::", "::", "all zeros"],
  ["::1", "::1", "gap at the start"],
  ["1::", "1::", "gap at the end"],
  ["2001:DB8::A", "2001:db8::a", "RFC 5952 §4.3: lower case"],
  ["2001:0db8:0:0:0:0:0:1", "2001:db8::1", "§4.1: no leading zeros"],
  ["2001:db8:0:1:1:1:1:1", "2001:db8:0:1:1:1:1:1", "§4.2.2: one group is not shortened"],
  ["2001:db8::1:1:1:1:1", "2001:db8:0:1:1:1:1:1", "even if it was written so"],
  ["2001:0:0:1:0:0:0:1", "2001:0:0:1::1", "§4.2.3: the longest run"],
  ["2001:db8:0:0:1:0:0:1", "2001:db8::1:0:0:1", "§4.2.3: of equal runs the first"],
  ["1:2:3:4:5:6:7:8", "1:2:3:4:5:6:7:8", "no zeros"],
  ["::2:3:4:5:6:7:8", "0:2:3:4:5:6:7:8", "gap of one group"],
  ["1:2:3:4:5:6:7::", "1:2:3:4:5:6:7:0", "the same at the end"],
  ["64:ff9b::192.0.2.33", "64:ff9b::c000:221", "dotted tail"],
  ["1:2:3:4:5:6:1.2.3.4", "1:2:3:4:5:6:102:304", "dotted tail without a gap"],
  ["::ffff:192.0.2.1", "192.0.2.1", "IPv4-mapped becomes IPv4"],
  ["::FFFF:c000:201", "192.0.2.1", "however it is written"],
  ["::192.0.2.1", "::c000:201", "IPv4-compatible does not"],
];

Deno.test("parseIpAddress() and formatIpAddress() agree with RFC 5952", () => {
  for (const [text, canonical, why] of ADDRESSES) {
    strictEqual(formatIpAddress(parseIpAddress(text)), canonical, why);
  }
});

/** Text that is no address, and why it might be taken for one. */
const NO_ADDRESSES: [text: string, why: string][] = [
  ["", "empty"],
  ["1.2.3", "three numbers"],
  ["1.2.3.4.5", "five numbers"],
  ["1..2.3", "an empty number"],
  ["1.2.3.", "an empty number at the end"],
  ["256.0.0.1", "over 255"],
  ["1.2.3.4294967297", "over 2**32"],
  ["01.2.3.4", "leading zero, octal elsewhere"],
  ["0x10.1.1.1", "hex"],
  ["1e1.0.0.0", "exponent"],
  ["+1.2.3.4", "sign"],
  ["-1.2.3.4", "sign"],
  [" 1.2.3.4", "space"],
  ["1.2.3.4 ", "space"],
  ["1.2.3.4\n", "line feed"],
  ["1.2.3.4/32", "prefix"],
  ["1.2.3.4:5", "endpoint"],
  ["3232235521", "one number"],
  ["localhost", "name"],
  ["١.٢.٣.٤", "digits of another script"],
  [":", "one colon"],
  [":::", "three colons"],
  ["1::2::3", "two gaps"],
  ["1:2:3:4:5:6:7", "seven groups"],
  ["1:2:3:4:5:6:7:8:9", "nine groups"],
  ["1:2:3:4:5:6:7:8::", "a gap for nothing"],
  ["1:2:3:4::5:6:7:8", "the same inside"],
  [":1:2:3:4:5:6:7", "leading colon"],
  ["1:2:3:4:5:6:7:", "trailing colon"],
  ["::1:", "trailing colon after a gap"],
  ["12zz::1", "no hex"],
  ["12345::", "five digits"],
  ["::1%eth0", "zone"],
  ["[::1]", "brackets"],
  ["::1.2.3", "short dotted tail"],
  ["::1.2.3.4:5", "dotted part not at the end"],
  ["1.2.3.4::", "dotted part at the start"],
  ["::01.2.3.4", "leading zero in the tail"],
  ["1:2:3:4:5:6:7:1.2.3.4", "tail too long"],
];

Deno.test("parseIpAddress() refuses everything else, saying what is wrong", () => {
  for (const [text, why] of NO_ADDRESSES) {
    throws(() => parseIpAddress(text), (error: unknown) => {
      ok(error instanceof IpSyntaxError && error instanceof SyntaxError, why);
      ok(
        error.message.startsWith(`Cannot parse IP address ${JSON.stringify(text)}: `),
        error.message,
      );
      return true;
    }, why);
  }
});

Deno.test("parseIpAddress() reads back what formatIpAddress() writes", () => {
  fc.assert(fc.property(address(), (address) => {
    deepStrictEqual(parseIpAddress(formatIpAddress(address)), address);
  }));
});

Deno.test("parseIpAddress() throws nothing but IpSyntaxError on any text", () => {
  const near = fc.string({ unit: fc.constantFrom(..."0123456789abcf:.%/[] "), maxLength: 24 });
  fc.assert(fc.property(fc.oneof(near, fc.string()), (text) => {
    try {
      const address = parseIpAddress(text);
      deepStrictEqual(parseIpAddress(formatIpAddress(address)), address);
    } catch (error) {
      ok(error instanceof IpSyntaxError);
    }
  }));
});

Deno.test("formatIpAddress() refuses other lengths", () => {
  for (const length of [0, 3, 5, 15, 17]) {
    throws(() => formatIpAddress(new Uint8Array(length)), RangeError);
  }
  strictEqual(
    formatIpAddress(
      parseIpAddress("::").map((_, i) => [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 255, 255, 1, 2, 3, 4][i]!),
    ),
    "::ffff:1.2.3.4",
  );
});

type Claim = (address: IpAddress) => boolean;
/** Address and which of the claims hold of it. */
const CLASSES: [text: string, claims: Claim[]][] = [
  ["0.0.0.0", [isUnspecified]],
  ["0.1.2.3", []],
  ["::", [isUnspecified]],
  ["127.0.0.1", [isLoopback, isUnicast]],
  ["127.255.0.9", [isLoopback, isUnicast]],
  ["126.255.255.255", [isUnicast]],
  ["128.0.0.1", [isUnicast]],
  ["::1", [isLoopback, isUnicast]],
  ["::2", [isUnicast]],
  ["1::1", [isUnicast]],
  ["223.255.255.255", [isUnicast]],
  ["224.0.0.1", [isMulticast]],
  ["239.255.255.255", [isMulticast]],
  ["240.0.0.1", []],
  ["255.255.255.255", [isBroadcast]],
  ["255.255.255.254", []],
  ["ff02::1", [isMulticast]],
  ["feff::1", [isUnicast]],
  ["169.254.1.1", [isLinkLocal, isUnicast]],
  ["169.253.1.1", [isUnicast]],
  ["fe80::1", [isLinkLocal, isUnicast]],
  ["febf::1", [isLinkLocal, isUnicast]],
  ["fec0::1", [isUnicast]],
  ["fe7f::1", [isUnicast]],
  ["ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", [isMulticast]],
];

Deno.test("isLoopback() and its like hold of their ranges only", () => {
  const all: Claim[] = [
    isUnspecified,
    isLoopback,
    isMulticast,
    isBroadcast,
    isLinkLocal,
    isUnicast,
  ];
  for (const [text, claims] of CLASSES) {
    const address = parseIpAddress(text);
    for (const claim of all) {
      strictEqual(claim(address), claims.includes(claim), `${claim.name} ${text}`);
    }
  }
});

Deno.test("normalizeIpAddress() changes IPv4-mapped addresses only", () => {
  fc.assert(fc.property(address(), (address) => {
    strictEqual(normalizeIpAddress(address), address);
    if (address.length !== 4) return;
    const mapped = Uint8Array.of(0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 255, 255, ...address);
    ok(isIpv4Mapped(mapped));
    deepStrictEqual(normalizeIpAddress(mapped), address);
    ok(!equalIpAddresses(mapped, address));
  }));
});

Deno.test("parseDecimal() takes digits only", () => {
  deepStrictEqual(["0", "7", "10", "255"].map((text) => parseDecimal(text, 255)), [0, 7, 10, 255]);
  for (const text of ["", "00", "07", "256", "1e1", " 1", "1 ", "+1", "-0", "0x1", "1.0", "²"]) {
    strictEqual(parseDecimal(text, 255), undefined, text);
  }
});
