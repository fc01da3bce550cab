/**
 * Host numbers to addresses.
 *
 * @module
 */

import { deepStrictEqual, notStrictEqual, strictEqual, throws } from "node:assert/strict";
import fc from "fast-check";
import { AddressPlan, DEFAULT_IPV4_RANGE } from "../../lib/coordinator/addresses.ts";
import { parseIpAddress } from "../../lib/net/ip_address.ts";
import { formatIpPrefix, parseIpPrefix, prefixContains } from "../../lib/net/ip_prefix.ts";

const MESH = new Uint8Array(16).fill(1);

Deno.test("AddressPlan.addressesOf() counts through the range, without its first and last", () => {
  const plan = new AddressPlan(MESH, parseIpPrefix("10.1.2.0/30"));
  strictEqual(plan.maxHost, 2);
  deepStrictEqual([1, 2].map((host) => plan.addressesOf(host).ipv4), ["10.1.2.1", "10.1.2.2"]);
  for (const host of [0, 3, -1, 1.5, NaN]) throws(() => plan.addressesOf(host), RangeError);
});

Deno.test("AddressPlan derives a ULA /48 from the mesh id, fixed for ever", () => {
  const plan = new AddressPlan(MESH);
  strictEqual(formatIpPrefix(plan.ipv4Range), "100.64.0.0/10");
  // printf 'tunnelmesh ula v1' and 16 bytes of 0x01 through sha256sum: first ten digits after "fd"
  strictEqual(formatIpPrefix(plan.ipv6Range), "fde4:ae8:8e1a::/48");
  const other = new AddressPlan(new Uint8Array(16).fill(2));
  notStrictEqual(formatIpPrefix(other.ipv6Range), formatIpPrefix(plan.ipv6Range));
});

Deno.test("every host number has its own address, inside the range", () => {
  const plan = new AddressPlan(MESH, DEFAULT_IPV4_RANGE);
  const host = fc.integer({ min: 1, max: plan.maxHost });
  fc.assert(fc.property(host, host, (one, two) => {
    const a = plan.addressesOf(one);
    const b = plan.addressesOf(two);
    strictEqual(a.ipv4 === b.ipv4, one === two);
    strictEqual(a.ipv6 === b.ipv6, one === two);
    strictEqual(prefixContains(plan.ipv4Range, parseIpAddress(a.ipv4)), true);
    strictEqual(prefixContains(plan.ipv6Range, parseIpAddress(a.ipv6)), true);
  }));
});

Deno.test("AddressPlan refuses ranges that are none", () => {
  for (const range of ["10.0.0.0/31", "10.0.0.1/32", "0.0.0.0/0", "fd00::/48"]) {
    throws(() => new AddressPlan(MESH, parseIpPrefix(range)), RangeError, range);
  }
});
