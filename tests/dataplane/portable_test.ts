/**
 * The portable data plane keeps the contract, on a TUN and a network in memory.
 *
 * @module
 */

import { deepStrictEqual, strictEqual } from "node:assert/strict";
import type { DataPlaneEvents } from "../../lib/dataplane/data_plane.ts";
import { PortablePlane } from "../../lib/dataplane/portable.ts";
import { DEFAULT_LIMITS } from "../../lib/session/limits.ts";
import type { Path } from "../../lib/session/path.ts";
import { FakeClock } from "../fakes/clock.ts";
import { SimulatedNetwork } from "../fakes/network.ts";
import { FakeTun } from "../fakes/tun.ts";
import { type PlaneBench, testDataPlane } from "./contract.ts";

/** A plane on one host, and two sockets on another. */
function setUp(events: DataPlaneEvents): PlaneBench & { tun: FakeTun } {
  const clock = new FakeClock(1_000_000);
  const network = new SimulatedNetwork({ clock });
  const near = network.host("near", ["192.0.2.1"]);
  const far = network.host("far", ["192.0.2.2"]);
  const tun = new FakeTun();
  const socket = near.socket(1);
  const plane = new PortablePlane({ clock, tun, socket, events, limits: DEFAULT_LIMITS });
  const ends = [far.socket(1001), far.socket(1002)];
  const paths = ends.map((end) => socket.path(far.endpoint(end.port), near.addresses[0]));
  const left: { datagram: Uint8Array; path: Path }[] = [];
  ends.forEach((end, i) => {
    end.start((datagram) => left.push({ datagram: datagram.slice(), path: paths[i]! }), () => {});
  });
  return {
    plane,
    tun,
    now: () => clock.now(),
    paths: [paths[0]!, paths[1]!],
    fromMachine: (packet) => tun.send(packet),
    fromNetwork(datagram, path) {
      const end = ends[path === paths[0] ? 0 : 1]!;
      end.send(datagram, end.path(near.endpoint(1)));
    },
    settle: () => Promise.resolve(clock.advance(10)),
    toMachine: () => tun.take(),
    toNetwork: () => left.splice(0),
    limitDatagrams(bytes) {
      network.maxDatagram = bytes;
    },
    close: () => plane.close(),
  };
}

testDataPlane("PortablePlane", (events) => Promise.resolve(setUp(events)));

Deno.test("PortablePlane tells of a broken TUN, counts a refused write, and closes what it owns", async () => {
  const failures: string[] = [];
  const ignore = () => {};
  const bench = setUp({
    datagram: ignore,
    wanted: ignore,
    confirmed: ignore,
    strayed: ignore,
    control: ignore,
    tooLarge: ignore,
    failed: (error) => failures.push(error.message),
  });
  bench.tun.fail(new Error("gone"));
  deepStrictEqual(failures, ["gone"]);
  await bench.close();
  strictEqual(bench.tun.isClosed, true);
  bench.tun.fail(new Error("again"));
  deepStrictEqual(failures, ["gone"], "nothing is told after close()");
});
