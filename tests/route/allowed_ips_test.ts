/**
 * The prefix trie against a list that is searched from end to end.
 *
 * @module
 */

import { deepStrictEqual, ok, strictEqual, throws } from "node:assert/strict";
import fc from "fast-check";
import { parseIpAddress } from "../../lib/net/ip_address.ts";
import {
  equalPrefixes,
  formatIpPrefix,
  type IpPrefix,
  parseIpPrefix,
  prefixContains,
  prefixesOverlap,
  prefixOf,
} from "../../lib/net/ip_prefix.ts";
import { AllowedIps, OverlapError } from "../../lib/route/allowed_ips.ts";

/** The twin: a list, the longest match by looking at all of it. */
class NaiveAllowedIps {
  list: { prefix: IpPrefix; value: string }[] = [];

  insert(prefix: IpPrefix, value: string): boolean {
    if (this.list.some((e) => e.value !== value && prefixesOverlap(e.prefix, prefix))) return false;
    const isThere = this.list.some((e) => equalPrefixes(e.prefix, prefix));
    if (!isThere) this.list.push({ prefix, value });
    return true;
  }

  removeValue(value: string): void {
    this.list = this.list.filter((entry) => entry.value !== value);
  }

  lookup(address: Uint8Array): string | undefined {
    const held = this.list.filter(({ prefix }) => prefixContains(prefix, address));
    held.sort((a, b) => b.prefix.length - a.prefix.length);
    return held[0]?.value;
  }
}

function table(rows: Record<string, string[]>): AllowedIps<string> {
  const allowedIps = new AllowedIps<string>();
  for (const [value, prefixes] of Object.entries(rows)) {
    for (const prefix of prefixes) allowedIps.insert(parseIpPrefix(prefix), value);
  }
  return allowedIps;
}

function lookup(allowedIps: AllowedIps<string>, text: string): string | undefined {
  return allowedIps.lookup(parseIpAddress(text));
}

/** Address, value it belongs to, why. */
const LOOKUPS: [address: string, value: string | undefined, why: string][] = [
  ["10.1.0.0", "a", "first address"],
  ["10.1.255.255", "a", "last address"],
  ["10.0.255.255", undefined, "one before"],
  ["10.2.0.0", "b", "one after is the neighbour's"],
  ["10.2.0.1", undefined, "a host prefix holds one address"],
  ["10.1.2.3", "a", "in two nested prefixes of one value"],
  ["0.0.0.0", undefined, "the root is no prefix"],
  ["fd00::1", "a", "host prefix"],
  ["fd00::2", "b", "its neighbour"],
  ["fd00::3", undefined, "nobody's"],
  ["fd00:1::", "c", "first address"],
  ["fd00:1:0:ffff:ffff:ffff:ffff:ffff", "c", "last address"],
  ["fd00:1:1::", undefined, "one after"],
  ["::a01:203", undefined, "families do not mix"],
];

Deno.test("AllowedIps.lookup() finds whom an address belongs to", () => {
  const allowedIps = table({
    a: ["10.1.0.0/16", "10.1.2.0/24", "fd00::1/128"],
    b: ["10.2.0.0/32", "fd00::2/128"],
    c: ["fd00:1::/48"],
  });
  for (const [address, value, why] of LOOKUPS) strictEqual(lookup(allowedIps, address), value, why);
});

Deno.test("AllowedIps.lookup() finds everything under a prefix of length 0", () => {
  const allowedIps = table({ a: ["0.0.0.0/0", "10.0.0.0/8"], b: ["::/0"] });
  strictEqual(lookup(allowedIps, "255.1.2.3"), "a");
  strictEqual(lookup(allowedIps, "10.1.2.3"), "a");
  strictEqual(lookup(allowedIps, "ffff::"), "b");
  allowedIps.removeValue("a");
  strictEqual(lookup(allowedIps, "10.1.2.3"), undefined);
});

/** Prefix there, prefix added by another peer, whether they overlap. */
const OVERLAPS: [there: string, added: string, overlaps: boolean][] = [
  ["10.0.0.0/8", "10.0.0.0/8", true],
  ["10.0.0.0/8", "10.1.0.0/16", true],
  ["10.1.0.0/16", "10.0.0.0/8", true],
  ["10.1.0.0/16", "10.1.2.3/32", true],
  ["10.1.2.3/32", "10.1.2.3/32", true],
  ["0.0.0.0/0", "10.1.2.3/32", true],
  ["10.1.2.3/32", "0.0.0.0/0", true],
  ["10.0.0.0/9", "10.128.0.0/9", false],
  ["10.1.2.2/32", "10.1.2.3/32", false],
  ["fd00::/48", "fd00::/48", true],
  ["fd00::/48", "fd00:0:0:1::/64", true],
  ["fd00:0:0:1::/64", "fd00::/48", true],
  ["fd00::1/128", "fd00::/48", true],
  ["::/0", "fd00::1/128", true],
  ["fd00::/64", "fd00:0:0:1::/64", false],
  ["fd00::1/128", "fd00::2/128", false],
  ["0.0.0.0/0", "::/0", false],
  ["::/0", "0.0.0.0/0", false],
];

Deno.test("T18: AllowedIps.insert() refuses what overlaps another value's, naming both", () => {
  for (const [there, added, overlaps] of OVERLAPS) {
    const allowedIps = new AllowedIps<string>((value) => `peer "${value}"`);
    allowedIps.insert(parseIpPrefix(there), "laptop");
    const insert = () => allowedIps.insert(parseIpPrefix(added), "server");
    if (!overlaps) {
      insert();
      continue;
    }
    throws(insert, (error: unknown) => {
      ok(error instanceof OverlapError);
      strictEqual(
        error.message,
        `Cannot give ${added} to peer "server": it overlaps ${there} of peer "laptop"`,
      );
      return true;
    });
    deepStrictEqual(allowedIps.prefixesOf("server"), [], "nothing has changed");
    strictEqual(allowedIps.lookup(parseIpPrefix(there).address), "laptop");
  }
});

Deno.test("T18: an overlap is found among many prefixes, on either side of a fork", () => {
  const allowedIps = table({ a: ["10.1.1.0/24"], b: ["10.1.2.0/24"], c: ["10.1.128.0/24"] });
  for (const prefix of ["10.1.0.0/16", "10.1.1.0/24", "10.1.2.0/23", "10.1.128.0/17"]) {
    throws(() => allowedIps.insert(parseIpPrefix(prefix), "d"), OverlapError, prefix);
  }
  allowedIps.insert(parseIpPrefix("10.1.3.0/24"), "d");
});

Deno.test("AllowedIps.insert() takes nested and repeated prefixes of one value", () => {
  const allowedIps = table({ a: ["10.0.0.0/8", "10.1.0.0/16", "10.0.0.0/8"] });
  deepStrictEqual(allowedIps.prefixesOf("a").map(formatIpPrefix), ["10.0.0.0/8", "10.1.0.0/16"]);
});

Deno.test("AllowedIps.insert() copies and checks its prefix", () => {
  const allowedIps = new AllowedIps<string>();
  const prefix = parseIpPrefix("10.0.0.0/8");
  allowedIps.insert(prefix, "a");
  prefix.address[0] = 11;
  strictEqual(lookup(allowedIps, "10.0.0.1"), "a");
  deepStrictEqual(allowedIps.prefixesOf("a").map(formatIpPrefix), ["10.0.0.0/8"]);
  const broken = { address: Uint8Array.of(10, 0, 0, 1), length: 8 };
  throws(() => allowedIps.insert(broken, "a"), RangeError, "host bits");
});

Deno.test("AllowedIps.replace() replaces all prefixes or none", () => {
  const allowedIps = table({ a: ["10.1.0.0/16"], b: ["10.2.0.0/16"] });
  const wanted = ["10.3.0.0/16", "10.2.2.0/24"].map((text) => parseIpPrefix(text));
  throws(() => allowedIps.replace("a", wanted), OverlapError);
  strictEqual(lookup(allowedIps, "10.1.0.1"), "a", "last good one in force");
  strictEqual(lookup(allowedIps, "10.3.0.1"), undefined);
  allowedIps.replace("a", [parseIpPrefix("10.1.0.0/17"), parseIpPrefix("10.3.0.0/16")]);
  strictEqual(lookup(allowedIps, "10.1.0.1"), "a", "narrowed");
  strictEqual(lookup(allowedIps, "10.1.128.1"), undefined, "no longer");
  strictEqual(lookup(allowedIps, "10.3.0.1"), "a");
  allowedIps.replace("a", []);
  deepStrictEqual(allowedIps.prefixesOf("a"), []);
});

Deno.test("AllowedIps.removeValue() frees prefixes for others and takes unknown values", () => {
  const allowedIps = table({ a: ["10.0.0.0/8", "10.1.0.0/16", "fd00::/48"], b: ["11.0.0.0/8"] });
  allowedIps.removeValue("nobody");
  allowedIps.removeValue("a");
  for (const address of ["10.0.0.1", "10.1.0.1", "fd00::1"]) {
    strictEqual(lookup(allowedIps, address), undefined, address);
  }
  strictEqual(lookup(allowedIps, "11.0.0.1"), "b");
  allowedIps.insert(parseIpPrefix("10.1.0.0/16"), "b");
  strictEqual(lookup(allowedIps, "10.1.0.1"), "b");
});

/** Few different bytes, so that prefixes nest, meet and part at every kind of place. */
const address = () =>
  fc.oneof(
    fc.array(fc.constantFrom(0, 1, 2, 128, 255), { minLength: 4, maxLength: 4 }),
    fc.array(fc.constantFrom(0, 1, 128), { minLength: 16, maxLength: 16 }),
  ).map((bytes) => Uint8Array.from(bytes));
/** An IPv6 address that differs from zero in one bit, so that long prefixes nest too. */
const oneBit = () =>
  fc.nat(128).map((bit) => {
    const address = new Uint8Array(16);
    if (bit < 128) address[bit >> 3] = 128 >> (bit & 7);
    return address;
  });
const anyAddress = () => fc.oneof(address(), oneBit());
const length = () => fc.oneof(fc.nat(128), fc.constantFrom(0, 1, 31, 32, 63, 64, 65, 96, 127, 128));
const anyPrefix = () =>
  fc.tuple(anyAddress(), length()).map(([address, length]) =>
    prefixOf(address, Math.min(length, address.length * 8))
  );
const value = () => fc.constantFrom("a", "b", "c");
const step = () =>
  fc.oneof(
    { weight: 6, arbitrary: fc.record({ insert: anyPrefix(), value: value() }) },
    { weight: 1, arbitrary: fc.record({ remove: value() }) },
  );

Deno.test("AllowedIps agrees with its naive twin over any history", () => {
  fc.assert(
    fc.property(
      fc.array(step(), { maxLength: 40 }),
      fc.array(anyAddress(), { minLength: 5, maxLength: 20 }),
      (steps, addresses) => {
        const fast = new AllowedIps<string>();
        const naive = new NaiveAllowedIps();
        for (const step of steps) {
          if ("remove" in step) {
            fast.removeValue(step.remove);
            naive.removeValue(step.remove);
            continue;
          }
          let isTaken = true;
          try {
            fast.insert(step.insert, step.value);
          } catch (error) {
            ok(error instanceof OverlapError);
            isTaken = false;
          }
          strictEqual(isTaken, naive.insert(step.insert, step.value));
        }
        const edges = steps.flatMap((step) => "insert" in step ? [step.insert.address] : []);
        for (const address of [...addresses, ...edges]) {
          strictEqual(fast.lookup(address), naive.lookup(address));
        }
        for (const value of ["a", "b", "c"]) {
          deepStrictEqual(
            fast.prefixesOf(value).map(formatIpPrefix),
            naive.list.filter((e) => e.value === value).map((e) => formatIpPrefix(e.prefix)),
          );
        }
      },
    ),
    { numRuns: 500 },
  );
});

Deno.test("AllowedIps.lookupIpv4() and lookupIpv6() read at an offset", () => {
  const allowedIps = table({ a: ["10.0.0.0/8"], b: ["fd00::/8"] });
  fc.assert(fc.property(address(), fc.nat(40), (address, offset) => {
    const bytes = new Uint8Array(offset + address.length + 3).fill(0xfd);
    bytes.set(address, offset);
    const found = address.length === 4
      ? allowedIps.lookupIpv4(bytes, offset)
      : allowedIps.lookupIpv6(bytes, offset);
    strictEqual(found, allowedIps.lookup(address));
  }));
});
