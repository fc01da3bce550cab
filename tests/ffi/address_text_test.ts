import { strictEqual } from "node:assert/strict";
import fc from "fast-check";
import { addressText, prefixText } from "../../ffi/address_text.ts";
import { formatIpAddress, parseIpAddress } from "../../lib/net/ip_address.ts";

/** Addresses in the form RFC 5952 wants, and what is special about them. */
const ADDRESSES: [text: string, why: string][] = [
  ["100.64.0.1", "IPv4"],
  ["::", "nothing but zeros"],
  ["::1", "zeros in front"],
  ["fd00::", "zeros at the end"],
  ["fd00::1", "a group that ends in zeros before them"],
  ["2001:db8::1:0:0:1", "the first of two equal runs"],
  ["2001:0:0:1::1", "the longest of two runs"],
  ["2001:db8:0:1:1:1:1:1", "one zero group is not shortened"],
  ["10:0:10::10", "zeros inside groups"],
];

Deno.test("addressText() writes addresses as RFC 5952 says", () => {
  for (const [text, why] of ADDRESSES) strictEqual(addressText(parseIpAddress(text)), text, why);
  strictEqual(prefixText({ address: parseIpAddress("fd00::"), length: 48 }), "fd00::/48");
});

Deno.test("addressText() agrees with lib/net on every address", () => {
  const group = fc.oneof(fc.constant(0), fc.constantFrom(0x10, 0x100, 0xf000), fc.nat(0xffff));
  fc.assert(fc.property(fc.array(group, { minLength: 8, maxLength: 8 }), (groups) => {
    const address = Uint8Array.from(groups.flatMap((value) => [value >> 8, value & 255]));
    // An IPv4-mapped address never occurs in the program (lib/net/endpoint.ts).
    fc.pre(!formatIpAddress(address).includes("."));
    strictEqual(addressText(address), formatIpAddress(address));
  }));
});
