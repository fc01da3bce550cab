/**
 * The port at the gateway, with a gateway that is a function, on a fake clock.
 *
 * @module
 */

import { deepStrictEqual, match, strictEqual } from "node:assert/strict";
import { type Gateway, GatewayMapping } from "../../lib/agent/gateway_mapping.ts";
import { formatEndpoint, parseEndpoint } from "../../lib/net/endpoint.ts";
import { formatIpAddress, parseIpAddress } from "../../lib/net/ip_address.ts";
import type { MapRequest } from "../../lib/transport/port_mapping.ts";
import { FakeClock } from "../fakes/clock.ts";

const HOME = { gateway: parseIpAddress("10.0.0.1"), local: parseIpAddress("10.0.0.2") };
const OFFICE = { gateway: parseIpAddress("10.9.0.1"), local: parseIpAddress("10.9.0.2") };
const PUBLIC = { gateway: parseIpAddress("192.0.2.1"), local: parseIpAddress("192.0.2.2") };

function setUp(answers: (request: MapRequest) => Promise<boolean> = () => Promise.resolve(true)) {
  const clock = new FakeClock();
  const asked: string[] = [];
  const network: { at: Gateway | undefined } = { at: HOME };
  let changes = 0;
  const mapping = new GatewayMapping({
    clock,
    port: 7,
    changed: () => changes++,
    findGateway: () => network.at,
    protocols: () => [{
      name: "pcp",
      request: async (request) => {
        const { gateway, lifetimeSeconds } = request;
        asked.push(`${lifetimeSeconds === 0 ? "remove" : "map"} ${formatIpAddress(gateway)}`);
        if (!await answers(request)) return undefined;
        const external = parseEndpoint(gateway[1] === 0 ? "198.51.100.1:7" : "198.51.100.9:7");
        return { external, lifetimeSeconds };
      },
    }],
  });
  const mapped = () => mapping.mapped.map(formatEndpoint);
  return { clock, asked, network, mapping, mapped, changes: () => changes };
}

/** Lets everything that waits for nothing happen. */
const settle = () => new Promise((resolve) => setTimeout(resolve, 0));

Deno.test("GatewayMapping asks the gateway there is, and another one after a move", async () => {
  const { asked, network, mapping, mapped, changes } = setUp();
  strictEqual(asked.length, 0, "nobody before update()");
  mapping.update();
  await settle();
  deepStrictEqual(mapped(), ["198.51.100.1:7"]);
  match(mapping.note ?? "", /198\.51\.100\.1:7.*pcp/);
  mapping.update();
  await settle();
  deepStrictEqual(asked, ["map 10.0.0.1"], "the same gateway is asked once");
  network.at = OFFICE;
  mapping.update();
  deepStrictEqual(mapped(), [], "what was mapped elsewhere is of no use");
  await settle();
  deepStrictEqual(mapped(), ["198.51.100.9:7"]);
  strictEqual(changes(), 3);
  network.at = undefined;
  mapping.update();
  deepStrictEqual(mapped(), []);
  await mapping.stop();
});

Deno.test("GatewayMapping asks nobody from a public address", async () => {
  const { asked, network, mapping } = setUp();
  network.at = PUBLIC;
  mapping.update();
  await settle();
  deepStrictEqual(asked, []);
  await mapping.stop();
});

Deno.test("GatewayMapping.stop() removes the mapping, and waits for no gateway for long", async () => {
  const { asked, mapping } = setUp();
  mapping.update();
  await settle();
  await mapping.stop();
  deepStrictEqual(asked, ["map 10.0.0.1", "remove 10.0.0.1"]);
  mapping.update();
  strictEqual(asked.length, 2);

  const never = new Promise<boolean>(() => {});
  const mute = setUp(({ lifetimeSeconds }) => lifetimeSeconds > 0 ? Promise.resolve(true) : never);
  mute.mapping.update();
  await settle();
  let isStopped = false;
  const stopped = mute.mapping.stop().then(() => isStopped = true);
  await settle();
  mute.clock.advance(199);
  await settle();
  strictEqual(isStopped, false);
  mute.clock.advance(1);
  await stopped;

  const asking = setUp(() => never);
  asking.mapping.update();
  await asking.mapping.stop();
});
