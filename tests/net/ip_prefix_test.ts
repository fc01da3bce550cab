/**
 * Prefix text, which people and configuration files write, and what lies in what.
 *
 * @module
 */

import { ok, strictEqual, throws } from "node:assert/strict";
import fc from "fast-check";
import type { IpAddress } from "../../lib/net/endpoint.ts";
import { IpSyntaxError, parseIpAddress } from "../../lib/net/ip_address.ts";
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
