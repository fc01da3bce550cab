/**
 * Finding the own public endpoint, on a fake clock, against a discovery port in this process.
 *
 * @module
 */

import { deepStrictEqual, ok, strictEqual } from "node:assert/strict";
import type { NetworkChange } from "../../ffi/netlink_monitor.ts";
import { EndpointFinder, type EndpointFinderOptions } from "../../lib/agent/endpoint_finder.ts";
import { randomBytes } from "../../lib/crypto/random.ts";
import { type Endpoint, formatEndpoint, parseEndpoint } from "../../lib/net/endpoint.ts";
import { parseIpPrefix } from "../../lib/net/ip_prefix.ts";
import { answerAsk } from "../../lib/session/discovery.ts";
import { FakeClock } from "../fakes/clock.ts";

const CREDENTIAL = { id: randomBytes(8), key: randomBytes(32) };
const COORDINATOR = parseEndpoint("203.0.113.1:8443");

const NO_CHANGE = { links: false, addresses: false, defaultRoute: false, sleptMs: 0 };

function setUp(seenAs: string | undefined, more: Partial<EndpointFinderOptions> = {}) {
  const clock = new FakeClock();
  const asked: string[] = [];
  let changes = 0;
  let moves = 0;
  const seen: {
    at: string | undefined;
    by: (port: number) => string | undefined;
    local: string;
  } = { at: seenAs, by: () => seen.at, local: "10.0.0.2:7" };
  const finder = new EndpointFinder({
    clock,
    port: 7,
    families: { ipv4: true, ipv6: true },
    meshRanges: () => [parseIpPrefix("100.64.0.0/10")],
    send: (datagram: Uint8Array, to: Endpoint) => {
      asked.push(formatEndpoint(to));
      const at = seen.by(to.port);
      if (at === undefined) return;
      const answer = answerAsk(datagram, parseEndpoint(at), () => CREDENTIAL.key);
      finder.receive(answer!, to);
    },
    changed: () => changes++,
    moved: () => moves++,
    local: () => [seen.local],
    ...more,
  });
  const discovered = () =>
    finder.hints.filter(({ source }) => source === "discovered").map(({ endpoint }) => endpoint);
  const ask = () => {
    finder.setCredential(CREDENTIAL, [8443, 8444]);
    finder.setCoordinatorAddresses([COORDINATOR.address]);
    clock.advance(0);
  };
  return {
    clock,
    finder,
    asked,
    seen,
    discovered,
    ask,
    changes: () => changes,
    moved: () => moves,
  };
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

Deno.test("EndpointFinder forgets an endpoint as soon as servers see another one", () => {
  const { clock, finder, seen, discovered, ask, changes } = setUp("198.51.100.7:4000");
  ask();
  seen.at = "198.51.100.7:5000";
  clock.advance(25_000);
  deepStrictEqual(discovered(), ["198.51.100.7:5000"]);
  ok(changes() >= 2);
  finder.close();
});

Deno.test("EndpointFinder.checkMapping() asks at once, unless it was just asked", () => {
  const { clock, finder, asked, seen, discovered, ask } = setUp("198.51.100.7:4000");
  ask();
  asked.length = 0;
  seen.at = "198.51.100.7:5000";
  clock.advance(4_999);
  finder.checkMapping();
  clock.advance(0);
  deepStrictEqual([asked.length, discovered()], [0, ["198.51.100.7:4000"]]);
  clock.advance(1);
  finder.checkMapping();
  clock.advance(0);
  deepStrictEqual([asked.length, discovered()], [2, ["198.51.100.7:5000"]]);
  finder.close();
});

Deno.test("EndpointFinder tells how the NAT maps, from what both ports see", () => {
  const rows: [seen: (port: number) => string | undefined, mapping: string, nat: string][] = [
    [() => "10.0.0.2:7", "none", "none"],
    [() => "198.51.100.7:4000", "endpoint-independent", "same"],
    [(port) => `198.51.100.7:${port}`, "address-and-port-dependent", "varying"],
    [(port) => port === 8443 ? "198.51.100.7:4000" : undefined, "mapped", "unknown"],
    [() => undefined, "unknown", "unknown"],
  ];
  for (const [seenBy, mapping, nat] of rows) {
    const { clock, finder, seen, ask } = setUp(undefined);
    seen.by = seenBy;
    ask();
    clock.advance(5_000);
    deepStrictEqual([finder.behaviour.mapping, finder.nat], [mapping, nat]);
    strictEqual(finder.isUdpOpen, mapping !== "unknown");
    finder.close();
  }
});

Deno.test("EndpointFinder forgets what another network showed, and asks anew at once", () => {
  const moves: [change: Partial<NetworkChange>, local: string, isMove: boolean][] = [
    [{ links: true }, "10.0.0.2:7", false],
    [{ addresses: true }, "10.0.0.2:7", false],
    [{ addresses: true }, "10.9.0.2:7", true],
    [{ defaultRoute: true }, "10.0.0.2:7", true],
    [{ sleptMs: 60_000 }, "10.0.0.2:7", true],
  ];
  for (const [change, local, isMove] of moves) {
    const { clock, finder, asked, seen, discovered, ask, moved } = setUp("198.51.100.7:4000");
    ask();
    asked.length = 0;
    seen.at = undefined;
    seen.local = local;
    finder.networkChanged({ ...NO_CHANGE, ...change });
    clock.advance(0);
    const what = JSON.stringify(change);
    strictEqual(moved(), isMove ? 1 : 0, what);
    deepStrictEqual(discovered(), isMove ? [] : ["198.51.100.7:4000"], what);
    strictEqual(asked.length, isMove ? 2 : 0, what);
    seen.at = "192.0.2.9:4000";
    clock.advance(250);
    deepStrictEqual(discovered(), isMove ? ["192.0.2.9:4000"] : ["198.51.100.7:4000"], what);
    finder.close();
  }
});

Deno.test("EndpointFinder.watch() looks now and then only where nobody tells of changes", () => {
  const rows: [watch: "none" | "throws" | "works" | "fails", isPolling: boolean][] = [
    ["none", true],
    ["throws", true],
    ["works", false],
    ["fails", true],
  ];
  for (const [watch, isPolling] of rows) {
    let isClosed = false;
    let fail = (_: Error) => {};
    const { clock, finder, seen, moved } = setUp(
      undefined,
      watch === "none" ? {} : {
        watchNetwork: ({ failed }) => {
          if (watch === "throws") throw new Error("no netlink here");
          fail = failed;
          return { close: () => isClosed = true };
        },
      },
    );
    finder.watch();
    if (watch === "fails") fail(new Error("gone"));
    seen.local = "10.9.0.2:7";
    clock.advance(5_000);
    strictEqual(moved(), isPolling ? 1 : 0, watch);
    finder.close();
    strictEqual(isClosed, watch === "works", watch);
  }
});

Deno.test("EndpointFinder asks STUN servers, too, and takes only what it awaits", () => {
  const sent: Uint8Array[] = [];
  const { clock, finder, discovered } = setUp(undefined, {
    send: (datagram) => sent.push(datagram),
  });
  finder.setStunServers([parseEndpoint("192.0.2.5:3478")]);
  clock.advance(0);
  strictEqual(sent.length, 1);
  const answer = stunResponse(sent[0]!, [198, 51, 100, 9], 4000);
  ok(!finder.receiveStun(randomBytes(32)));
  ok(finder.receiveStun(answer));
  ok(!finder.receiveStun(answer), "once");
  deepStrictEqual(discovered(), ["198.51.100.9:4000"]);
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
  for (const length of [0, 1, 77, 78, 79]) finder.receive(randomBytes(length), COORDINATOR);
  deepStrictEqual(discovered(), []);
  finder.close();
});

/** A success response with MAPPED-ADDRESS (RFC 8489 §14.1). */
function stunResponse(request: Uint8Array, address: number[], port: number): Uint8Array {
  const head = [0x01, 0x01, 0, 12, ...request.subarray(4, 20)];
  return Uint8Array.of(...head, 0, 1, 0, 8, 0, 1, port >> 8, port & 0xff, ...address);
}
