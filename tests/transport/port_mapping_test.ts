/**
 * When a mapping is asked for, renewed, given up and removed, on a fake clock with gateways that say
 * what a test wants. The real gateway is in tests/lab.
 *
 * @module
 */

import { deepStrictEqual, strictEqual } from "node:assert/strict";
import { type Endpoint, formatEndpoint, parseEndpoint } from "../../lib/net/endpoint.ts";
import { parseIpAddress } from "../../lib/net/ip_address.ts";
import {
  type MappingProtocol,
  type MapRequest,
  PortMapping,
} from "../../lib/transport/port_mapping.ts";
import { locationOf } from "../../lib/transport/upnp.ts";
import { FakeClock } from "../fakes/clock.ts";

const OUTSIDE = "192.0.2.1:41000";
const MINUTE = 60_000;
const HOUR = 60 * MINUTE;

/** A gateway that grants `external` for `lifetimeSeconds`, or refuses while it is `undefined`. */
class Gateway implements MappingProtocol {
  readonly requests: MapRequest[] = [];
  external: Endpoint | undefined;
  lifetimeSeconds = 7_200;
  failure: Error | undefined;
  /** Awaited before the answer. */
  gate: Promise<void> | undefined;

  constructor(readonly name: MappingProtocol["name"], external?: string) {
    this.external = external === undefined ? undefined : parseEndpoint(external);
  }

  async request(request: MapRequest) {
    this.requests.push(request);
    await this.gate;
    if (this.failure) throw this.failure;
    const { external, lifetimeSeconds } = this;
    return external && { external, lifetimeSeconds };
  }

  /** Lifetimes asked for; 0 is a removal. */
  get lifetimes(): number[] {
    return this.requests.map(({ lifetimeSeconds }) => lifetimeSeconds);
  }
}

class Bench {
  readonly clock = new FakeClock();
  readonly told: (string | undefined)[] = [];
  readonly mapping: PortMapping;

  constructor(...protocols: Gateway[]) {
    this.mapping = new PortMapping({
      clock: this.clock,
      gateway: parseIpAddress("10.1.0.1"),
      local: parseIpAddress("10.1.0.2"),
      port: 41_000,
      protocols,
      changed: () => {
        const { mapped } = this.mapping;
        this.told.push(mapped && formatEndpoint(mapped));
      },
    });
  }

  async advance(ms: number): Promise<void> {
    this.clock.advance(ms);
    await settle();
  }
}

/** Lets promises that wait for nothing but each other come to an end. */
async function settle(): Promise<void> {
  for (let turns = 0; turns < 50; turns++) await undefined;
}

Deno.test("PortMapping takes the first protocol that is granted", async () => {
  const pcp = new Gateway("pcp");
  const broken = new Gateway("nat-pmp", OUTSIDE);
  broken.failure = new Error("no XML");
  const upnp = new Gateway("upnp", OUTSIDE);
  const bench = new Bench(pcp, broken, upnp);
  await settle();
  deepStrictEqual(bench.told, [OUTSIDE]);
  strictEqual(bench.mapping.protocol, "upnp");
  deepStrictEqual([pcp.lifetimes, broken.lifetimes], [[7_200], [7_200]]);
});

Deno.test("PortMapping renews at half the time, asking for the same port", async () => {
  const gateway = new Gateway("pcp", OUTSIDE);
  const bench = new Bench(gateway);
  await settle();
  await bench.advance(HOUR - 1);
  strictEqual(gateway.requests.length, 1);
  await bench.advance(1);
  strictEqual(gateway.requests.length, 2);
  deepStrictEqual(gateway.requests.map(({ previous }) => previous && formatEndpoint(previous)), [
    undefined,
    OUTSIDE,
  ]);
  gateway.external = parseEndpoint("192.0.2.1:41009");
  await bench.advance(HOUR);
  deepStrictEqual(bench.told, [OUTSIDE, "192.0.2.1:41009"]);
});

/** Granted seconds => milliseconds until it is renewed. */
const RENEWALS: [lifetimeSeconds: number, renewedMs: number][] = [
  [7_200, HOUR],
  [600, 5 * MINUTE],
  [1, MINUTE / 2],
  [0, MINUTE / 2],
  [2 ** 32 - 1, 12 * HOUR],
];

Deno.test("PortMapping is neither too eager nor too trustful", async () => {
  for (const [lifetimeSeconds, renewedMs] of RENEWALS) {
    const gateway = new Gateway("pcp", OUTSIDE);
    gateway.lifetimeSeconds = lifetimeSeconds;
    const bench = new Bench(gateway);
    await settle();
    await bench.advance(renewedMs - 1);
    strictEqual(gateway.requests.length, 1, `${lifetimeSeconds} s`);
    await bench.advance(1);
    strictEqual(gateway.requests.length, 2, `${lifetimeSeconds} s`);
  }
});

Deno.test("PortMapping holds what it cannot renew until it is over", async () => {
  const gateway = new Gateway("pcp", OUTSIDE);
  const bench = new Bench(gateway);
  await settle();
  gateway.external = undefined;
  await bench.advance(HOUR);
  await bench.advance(HOUR / 2);
  strictEqual(gateway.requests.length, 3, "again at half of what is left");
  deepStrictEqual(bench.told, [OUTSIDE]);
  for (let left = HOUR / 4; left > 1; left /= 2) await bench.advance(left);
  deepStrictEqual(bench.told, [OUTSIDE, undefined]);
  gateway.external = parseEndpoint(OUTSIDE);
  await bench.advance(15 * MINUTE);
  deepStrictEqual(bench.told, [OUTSIDE, undefined, OUTSIDE]);
});

Deno.test("PortMapping asks again every quarter of an hour where nobody grants", async () => {
  const gateway = new Gateway("pcp");
  const bench = new Bench(gateway);
  await settle();
  await bench.advance(15 * MINUTE - 1);
  strictEqual(gateway.requests.length, 1);
  await bench.advance(1);
  strictEqual(gateway.requests.length, 2);
  deepStrictEqual(bench.told, []);
});

Deno.test("PortMapping takes no address that nobody can send to", async () => {
  for (const external of ["0.0.0.0:41000", "127.0.0.1:41000", "224.0.0.1:41000"]) {
    const bench = new Bench(new Gateway("pcp", external));
    await settle();
    deepStrictEqual([bench.told, bench.mapping.mapped], [[], undefined], external);
  }
});

Deno.test("PortMapping.stop() removes what is mapped, once", async () => {
  const gateway = new Gateway("nat-pmp", OUTSIDE);
  const bench = new Bench(gateway);
  await settle();
  await Promise.all([bench.mapping.stop(), bench.mapping.stop()]);
  deepStrictEqual(gateway.lifetimes, [7_200, 0]);
  strictEqual(formatEndpoint(gateway.requests[1]!.previous!), OUTSIDE);
  strictEqual(bench.mapping.mapped, undefined);
  await bench.advance(24 * HOUR);
  deepStrictEqual([gateway.requests.length, bench.told, bench.clock.pending], [2, [OUTSIDE], 0]);
});

Deno.test("PortMapping.stop() removes what is granted after it", async () => {
  const gateway = new Gateway("pcp", OUTSIDE);
  const gate = Promise.withResolvers<void>();
  gateway.gate = gate.promise;
  const bench = new Bench(gateway);
  const stopped = bench.mapping.stop();
  gate.resolve();
  await stopped;
  deepStrictEqual([gateway.lifetimes, bench.told], [[7_200, 0], []]);
});

Deno.test("PortMapping.stop() sends nothing where nothing is mapped", async () => {
  const gateway = new Gateway("pcp");
  const bench = new Bench(gateway);
  await settle();
  await bench.mapping.stop();
  deepStrictEqual([gateway.lifetimes, bench.clock.pending], [[7_200], 0]);
});

/** Answer to a search => the URL it gives. */
const SEARCH_ANSWERS: [name: string, text: string, url: string | undefined][] = [
  [
    "a gateway",
    "HTTP/1.1 200 OK\r\nSt: urn:schemas-upnp-org:device:InternetGatewayDevice:1\r\n" +
    "LOCATION:http://10.1.0.1:5000/d.xml\r\n\r\n",
    "http://10.1.0.1:5000/d.xml",
  ],
  [
    "something else",
    "HTTP/1.1 200 OK\r\nST: urn:schemas-upnp-org:device:MediaServer:1\r\n" +
    "LOCATION: http://10.1.0.1:5000/d.xml\r\n\r\n",
    undefined,
  ],
  ["a notice", "NOTIFY * HTTP/1.1\r\nLOCATION: http://10.1.0.1:5000/d.xml\r\n\r\n", undefined],
  [
    "no URL",
    "HTTP/1.1 200 OK\r\nST: urn:schemas-upnp-org:device:InternetGatewayDevice:2\r\n\r\n",
    undefined,
  ],
  ["nothing", "", undefined],
];

Deno.test("locationOf() reads answers of gateways only", () => {
  for (const [name, text, url] of SEARCH_ANSWERS) strictEqual(locationOf(text)?.href, url, name);
});
