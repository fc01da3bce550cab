/**
 * Address, endpoint and prefix text. People and configuration files write it.
 *
 * @module
 */

import { deepStrictEqual, ok, strictEqual, throws } from "node:assert/strict";
import fc from "fast-check";
import {
  equalEndpoints,
  formatEndpoint,
  type IpAddress,
  parseEndpoint,
} from "../../lib/net/endpoint.ts";
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
import {
  equalPrefixes,
  formatIpPrefix,
  hostPrefix,
  parseIpPrefix,
  prefixContains,
  prefixesOverlap,
  prefixOf,
  requireIpPrefix,
} from "../../lib/net/ip_prefix.ts";

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

Deno.test("parseEndpoint() reads both families", () => {
  deepStrictEqual(parseEndpoint("192.0.2.1:51820"), {
    address: Uint8Array.of(192, 0, 2, 1),
    port: 51820,
  });
  deepStrictEqual(parseEndpoint("[::1]:1"), { address: parseIpAddress("::1"), port: 1 });
  strictEqual(formatEndpoint(parseEndpoint("[::ffff:1.2.3.4]:65535")), "1.2.3.4:65535");
});

Deno.test("parseEndpoint() refuses everything else", () => {
  for (
    const text of [
      "",
      "1.2.3.4",
      "::1",
      "1.2.3.4:",
      "1.2.3.4:0",
      "1.2.3.4:65536",
      "1.2.3.4:080",
      "1.2.3.4:+80",
      "1.2.3.4: 80",
      "1.2.3.4:80 ",
      "1.2.3.4:80:80",
      "::1:80",
      "[::1]80",
      "[::1]",
      "[::1]:",
      "[1.2.3.4]:80",
      "[::1:80",
      "::1]:80",
      "[]:80",
      ":80",
      "localhost:80",
      "[fe80::1%2]:80",
    ]
  ) throws(() => parseEndpoint(text), IpSyntaxError, text);
});

Deno.test("parseEndpoint() reads back what formatEndpoint() writes", () => {
  fc.assert(fc.property(address(), fc.integer({ min: 1, max: 65535 }), (address, port) => {
    const back = parseEndpoint(formatEndpoint({ address, port }));
    deepStrictEqual(back, { address, port });
    ok(equalEndpoints(back, { address, port }));
    ok(!equalEndpoints(back, { address, port: port === 1 ? 2 : port - 1 }));
  }));
});

/** Text, what it reads as with host bits refused and masked; `undefined`: refused. */
const PREFIXES: [text: string, strict: string | undefined, masked: string | undefined][] = [
  ["10.0.0.0/8", "10.0.0.0/8", "10.0.0.0/8"],
  ["0.0.0.0/0", "0.0.0.0/0", "0.0.0.0/0"],
  ["1.2.3.4/32", "1.2.3.4/32", "1.2.3.4/32"],
  ["10.0.0.1/8", undefined, "10.0.0.0/8"],
  ["100.127.255.255/10", undefined, "100.64.0.0/10"],
  ["1.2.3.5/31", undefined, "1.2.3.4/31"],
  ["fd00::/48", "fd00::/48", "fd00::/48"],
  ["fd00::1/48", undefined, "fd00::/48"],
  ["::/0", "::/0", "::/0"],
  ["::1/128", "::1/128", "::1/128"],
  ["1.2.3.4", undefined, undefined],
  ["1.2.3.4/", undefined, undefined],
  ["1.2.3.4/33", undefined, undefined],
  ["1.2.3.4/032", undefined, undefined],
  ["1.2.3.4/-1", undefined, undefined],
  ["1.2.3.0/24/24", undefined, undefined],
  ["1.2.3.0/255.255.255.0", undefined, undefined],
  ["::/129", undefined, undefined],
  ["::ffff:1.2.3.0/120", undefined, undefined],
  ["::ffff:1.2.3.0/24", undefined, undefined],
  ["/8", undefined, undefined],
];

Deno.test("parseIpPrefix() refuses host bits or masks them away", () => {
  const read = (text: string, hostBits: "refuse" | "mask") => {
    try {
      return formatIpPrefix(parseIpPrefix(text, { hostBits }));
    } catch (error) {
      ok(error instanceof IpSyntaxError, text);
      return undefined;
    }
  };
  for (const [text, strict, masked] of PREFIXES) {
    strictEqual(read(text, "refuse"), strict, text);
    strictEqual(read(text, "mask"), masked, text);
  }
  throws(() => parseIpPrefix("10.0.0.1/8"), /perhaps 10\.0\.0\.0\/8 is meant/);
});

/** The naive twin: addresses as strings of bits. */
function bitsOf(address: IpAddress): string {
  return [...address].map((byte) => byte.toString(2).padStart(8, "0")).join("");
}

/** Few different bits, so that prefixes meet. */
const closeAddress = () =>
  fc.oneof(
    fc.array(fc.constantFrom(0, 1, 128, 255), { minLength: 4, maxLength: 4 }),
    fc.array(fc.constantFrom(0, 1), { minLength: 16, maxLength: 16 }),
  ).map((bytes) => Uint8Array.from(bytes));
const prefix = () =>
  fc.tuple(closeAddress(), fc.nat(128)).map(([address, length]) =>
    prefixOf(address, length % (address.length * 8 + 1))
  );

Deno.test("prefixContains() and prefixesOverlap() agree with strings of bits", () => {
  fc.assert(fc.property(prefix(), prefix(), closeAddress(), (a, b, address) => {
    const begins = (text: string, prefix: typeof a) =>
      text.startsWith(bitsOf(prefix.address).slice(0, prefix.length));
    const isSameFamily = a.address.length === b.address.length;
    const overlap = isSameFamily && (begins(bitsOf(a.address), b) && b.length <= a.length ||
      begins(bitsOf(b.address), a) && a.length <= b.length);
    strictEqual(prefixesOverlap(a, b), overlap);
    strictEqual(prefixesOverlap(b, a), overlap, "both ways");
    strictEqual(
      prefixContains(a, address),
      a.address.length === address.length && begins(bitsOf(address), a),
    );
    strictEqual(equalPrefixes(a, b), formatIpPrefix(a) === formatIpPrefix(b));
  }));
});

Deno.test("prefixOf() zeroes every bit past the length", () => {
  for (const size of [4, 16]) {
    const ones = new Uint8Array(size).fill(255);
    for (let length = 0; length <= size * 8; length++) {
      const { address } = prefixOf(ones, length);
      strictEqual(bitsOf(address), "1".repeat(length).padEnd(size * 8, "0"));
    }
  }
  throws(() => prefixOf(new Uint8Array(4), 33), RangeError);
  throws(() => prefixOf(new Uint8Array(4), 1.5), RangeError);
  throws(() => prefixOf(new Uint8Array(5), 1), RangeError);
  strictEqual(formatIpPrefix(hostPrefix(parseIpAddress("::1"))), "::1/128");
  strictEqual(formatIpPrefix(hostPrefix(parseIpAddress("1.2.3.4"))), "1.2.3.4/32");
});

Deno.test("requireIpPrefix() refuses objects that break the promise of IpPrefix", () => {
  requireIpPrefix(parseIpPrefix("10.0.0.0/8"));
  throws(() => requireIpPrefix({ address: Uint8Array.of(10, 0, 0, 1), length: 8 }), RangeError);
  throws(() => requireIpPrefix({ address: Uint8Array.of(10, 0, 0), length: 8 }), RangeError);
  throws(() => requireIpPrefix({ address: new Uint8Array(16), length: 129 }), RangeError);
  const mapped = Uint8Array.of(0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 255, 255, 1, 2, 3, 4);
  throws(() => requireIpPrefix({ address: mapped, length: 128 }), RangeError);
});
