/**
 * Endpoint text. People and configuration files write it.
 *
 * @module
 */

import { deepStrictEqual, ok, strictEqual, throws } from "node:assert/strict";
import fc from "fast-check";
import { equalEndpoints, formatEndpoint, parseEndpoint } from "../../lib/net/endpoint.ts";
import { IpSyntaxError, isIpv4Mapped, parseIpAddress } from "../../lib/net/ip_address.ts";

const ipv4 = () => fc.uint8Array({ minLength: 4, maxLength: 4 });
/** With many zero bytes, so that `::` has work. */
const ipv6 = () =>
  fc.array(fc.oneof(fc.constant(0), fc.nat(255)), { minLength: 16, maxLength: 16 })
    .map((bytes) => Uint8Array.from(bytes)).filter((address) => !isIpv4Mapped(address));
const address = () => fc.oneof(ipv4(), ipv6());

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
