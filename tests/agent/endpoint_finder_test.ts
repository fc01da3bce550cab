/**
 * Finding the own public endpoint, on a fake clock, against a discovery port in this process. Local
 * addresses are this machine's, whatever they are.
 *
 * @module
 */

import { deepStrictEqual, ok, strictEqual } from "node:assert/strict";
import { EndpointFinder } from "../../lib/agent/endpoint_finder.ts";
import { randomBytes } from "../../lib/crypto/random.ts";
import { type Endpoint, formatEndpoint, parseEndpoint } from "../../lib/net/endpoint.ts";
import { parseIpPrefix } from "../../lib/net/ip_prefix.ts";
import { answerAsk } from "../../lib/session/discovery.ts";
import { FakeClock } from "../fakes/clock.ts";

const CREDENTIAL = { id: randomBytes(8), key: randomBytes(32) };
const COORDINATOR = parseEndpoint("203.0.113.1:8443");

function setUp(seenAs: string | undefined) {
  const clock = new FakeClock();
  const asked: string[] = [];
  let changes = 0;
  const seen: { at: string | undefined } = { at: seenAs };
  const finder = new EndpointFinder({
    clock,
    port: 7,
    families: { ipv4: true, ipv6: true },
    meshRanges: () => [parseIpPrefix("100.64.0.0/10")],
    send: (datagram: Uint8Array, to: Endpoint) => {
      asked.push(formatEndpoint(to));
      if (seen.at === undefined) return;
      const answer = answerAsk(datagram, parseEndpoint(seen.at), () => CREDENTIAL.key);
      finder.receive(answer!);
    },
    changed: () => changes++,
    moved: () => {},
  });
  const discovered = () =>
    finder.hints.filter(({ source }) => source === "discovered").map(({ endpoint }) => endpoint);
  const ask = () => {
    finder.setCredential(CREDENTIAL, [8443, 8444]);
    finder.setCoordinatorAddresses([COORDINATOR.address]);
    clock.advance(0);
  };
  return { clock, finder, asked, seen, discovered, ask, changes: () => changes };
}

Deno.test("EndpointFinder asks both ports, and reports what they saw", () => {
  const { finder, asked, discovered, ask, changes } = setUp("198.51.100.7:4000");
  strictEqual(asked.length, 0);
  ask();
  ok(asked.includes("203.0.113.1:8443") && asked.includes("203.0.113.1:8444"));
  deepStrictEqual(discovered(), ["198.51.100.7:4000"]);
  strictEqual(changes(), 1);
  finder.close();
});

Deno.test("EndpointFinder asks again until it is answered, and then only to keep the mapping", () => {
  const { clock, finder, asked, seen, discovered, ask } = setUp(undefined);
  ask();
  clock.advance(5_000);
  strictEqual(asked.length, 10, "five times two ports");
  seen.at = "198.51.100.7:4000";
  clock.advance(300_000);
  deepStrictEqual(discovered(), ["198.51.100.7:4000"]);
  asked.length = 0;
  clock.advance(100_000);
  strictEqual(asked.length, 8, "every 25 s");
  finder.close();
  asked.length = 0;
  clock.advance(1_000_000);
  strictEqual(asked.length, 0);
});

Deno.test("EndpointFinder forgets an endpoint that is no longer seen", () => {
  const { clock, finder, seen, discovered, ask, changes } = setUp("198.51.100.7:4000");
  ask();
  seen.at = "198.51.100.7:5000";
  clock.advance(25_000);
  deepStrictEqual(discovered(), ["198.51.100.7:4000", "198.51.100.7:5000"]);
  clock.advance(125_000);
  deepStrictEqual(discovered(), ["198.51.100.7:5000"]);
  strictEqual(changes(), 3);
  finder.close();
});

Deno.test("EndpointFinder takes no answer that nobody asked for, or that cannot be true", () => {
  for (const lie of ["127.0.0.1:5", "100.64.0.9:5", "224.0.0.1:5"]) {
    const { finder, discovered, ask } = setUp(lie);
    ask();
    deepStrictEqual(discovered(), [], lie);
    finder.close();
  }
  const { finder, discovered, ask } = setUp(undefined);
  ask();
  for (const length of [0, 1, 77, 78, 79]) finder.receive(randomBytes(length));
  deepStrictEqual(discovered(), []);
  finder.close();
});
