/**
 * Where the member inside a coordinator finds its relay.
 *
 * @module
 */

import { strictEqual } from "node:assert/strict";
import { coordinatorUrlOf, insideOf } from "../../lib/agent/coordinator_url.ts";

const ROWS: [listening: [hostname: string, port: number][], url: string, why: string][] = [
  [[["0.0.0.0", 8443]], "https://127.0.0.1:8443", "every address"],
  [[["::", 8443]], "https://[::1]:8443", "every address, IPv6"],
  [[["0.0.0.0", 8443], ["::", 8443]], "https://127.0.0.1:8443", "the first that will do"],
  [[["192.0.2.1", 443]], "https://192.0.2.1:443", "one address: loopback is not listened on"],
  [[["2001:db8::1", 443]], "https://[2001:db8::1]:443", "the same by IPv6"],
  [
    [["192.0.2.1", 443], ["127.0.0.1", 8443]],
    "https://127.0.0.1:8443",
    "loopback first, by its port",
  ],
  [[["192.0.2.1", 443], ["::1", 8443]], "https://[::1]:8443", "the same by IPv6"],
  [[["hub.example", 443]], "https://hub.example:443", "a name"],
  [[["localhost", 8443]], "https://localhost:8443", "a name of loopback"],
];

Deno.test("insideOf() finds what a coordinator listens on, loopback first", () => {
  for (const [listening, url, why] of ROWS) {
    const addresses = listening.map(([hostname, port]) => ({ hostname, port }));
    const inside = insideOf(addresses)!;
    strictEqual(coordinatorUrlOf(inside.hostname, inside.port, true), url, why);
  }
  strictEqual(insideOf([]), undefined);
  strictEqual(coordinatorUrlOf("127.0.0.1", 8080, false), "http://127.0.0.1:8080");
});
