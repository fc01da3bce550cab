/**
 * The simulated network keeps the transport contract, and does what its switches say.
 *
 * @module
 */

import { deepStrictEqual, notDeepStrictEqual, strictEqual } from "node:assert/strict";
import { formatEndpoint } from "../../lib/net/endpoint.ts";
import { parseIpAddress } from "../../lib/net/ip_address.ts";
import { FakeClock } from "../fakes/clock.ts";
import { type Flight, type LinkQuality, SimulatedNat, SimulatedNetwork } from "../fakes/network.ts";
import { testDatagramSocket, type TransportBench } from "./contract.ts";

testDatagramSocket("FakeSocket", (): Promise<TransportBench> => {
  const clock = new FakeClock();
  const network = new SimulatedNetwork({ clock });
  const a = network.host("a", ["192.0.2.1", "2001:db8::1", "192.0.2.11"]);
  const b = network.host("b", ["192.0.2.2", "2001:db8::2", "192.0.2.12"]);
  return Promise.resolve({
    openA: () => Promise.resolve(a.socket()),
    openB: () => Promise.resolve(b.socket()),
    routes: a.addresses.map((address, i) => ({ a: address, b: b.addresses[i]! })),
    foreign: parseIpAddress("203.0.113.9"),
    settle: () => Promise.resolve(clock.advance(100)),
    close: () => Promise.resolve(),
  });
});

/** Sends 1000 numbered datagrams a millisecond apart; returns the numbers that arrived, in order. */
function run(quality: Partial<LinkQuality>, seed = 1): number[] {
  const clock = new FakeClock();
  const network = new SimulatedNetwork({ clock, seed, ...quality });
  const a = network.host("a", ["192.0.2.1"]).socket();
  const b = network.host("b", ["192.0.2.2"]);
  const socket = b.socket(7);
  const numbers: number[] = [];
  socket.start((datagram) => numbers.push(datagram[0]! * 256 + datagram[1]!), () => {});
  for (let i = 0; i < 1000; i++) {
    a.send(Uint8Array.of(i >> 8, i & 255), a.path(b.endpoint(7)));
    clock.advance(1);
  }
  clock.advance(1000);
  return numbers;
}

Deno.test("SimulatedNetwork loses, doubles and reorders as told, alike for a seed", () => {
  const all = Array.from({ length: 1000 }, (_, i) => i);
  const near = (actual: number, expected: number) =>
    strictEqual(Math.abs(actual - expected) < expected * 0.25, true, `${actual} of ${expected}`);
  deepStrictEqual(run({}), all);
  near(run({ loss: 0.2 }).length, 800);
  near(run({ duplicate: 0.2 }).length, 1200);
  const shuffled = run({ reorder: 0.2 });
  notDeepStrictEqual(shuffled, all);
  deepStrictEqual(shuffled.toSorted((x, y) => x - y), all);
  deepStrictEqual(run({ loss: 0.5 }, 7), run({ loss: 0.5 }, 7));
  notDeepStrictEqual(run({ loss: 0.5 }, 7), run({ loss: 0.5 }, 8));
  deepStrictEqual(run({ blocked: true }), []);
});

Deno.test("SimulatedNetwork lets the adversary record, change, withhold and add", () => {
  const clock = new FakeClock();
  const network = new SimulatedNetwork({ clock });
  const alice = network.host("alice", ["192.0.2.1"]);
  const bob = network.host("bob", ["192.0.2.2"]);
  const from = alice.socket();
  const to = bob.socket(7);
  const seen: string[] = [];
  to.start((datagram, path) => seen.push(`${datagram[0]} ${path.remote}`), () => {});
  const flights: Flight[] = [];
  network.adversary = (flight) => {
    flights.push(flight);
    switch (flight.datagram[0]) {
      case 1:
        return [];
      case 2:
        return [{ ...flight, datagram: Uint8Array.of(22) }, flight];
      default:
        return [flight];
    }
  };
  for (const byte of [1, 2, 3]) from.send(Uint8Array.of(byte), from.path(bob.endpoint(7)));
  clock.advance(10);
  network.inject({ ...flights[0]!, from: { address: parseIpAddress("203.0.113.1"), port: 9 } });
  clock.advance(10);
  const real = formatEndpoint(alice.endpoint(from.port));
  deepStrictEqual(seen, [`22 ${real}`, `2 ${real}`, `3 ${real}`, "1 203.0.113.1:9"]);
});

Deno.test("SimulatedNat maps, filters by kind, and forgets on rebind()", () => {
  const clock = new FakeClock();
  const network = new SimulatedNetwork({ clock });
  const nat = new SimulatedNat("198.51.100.1", "restricted");
  const inside = network.host("inside", ["10.0.0.2"], nat);
  const beside = network.host("beside", ["10.0.0.3"], nat);
  const outside = network.host("outside", ["192.0.2.2"]);
  const socket = inside.socket(1000);
  const neighbour = beside.socket(1000);
  const server = outside.socket(7);
  const stranger = outside.socket(8);
  const atServer: string[] = [];
  const atInside: string[] = [];
  server.start((_, path) => atServer.push(path.remote), () => {});
  socket.start((_, path) => atInside.push(path.remote), () => {});

  socket.send(Uint8Array.of(1), socket.path(outside.endpoint(7)));
  clock.advance(10);
  deepStrictEqual(atServer, ["198.51.100.1:40000"]);
  const mapped = { address: nat.publicAddress, port: 40_000 };
  server.send(Uint8Array.of(2), server.path(mapped));
  stranger.send(Uint8Array.of(3), stranger.path(mapped));
  server.send(Uint8Array.of(4), server.path(inside.endpoint(1000)));
  neighbour.send(Uint8Array.of(5), neighbour.path(inside.endpoint(1000)));
  clock.advance(10);
  deepStrictEqual(atInside, ["192.0.2.2:7", "10.0.0.3:1000"], "its own peer, and the LAN");

  nat.rebind();
  server.send(Uint8Array.of(6), server.path(mapped));
  socket.send(Uint8Array.of(7), socket.path(outside.endpoint(7)));
  clock.advance(10);
  deepStrictEqual(atServer.slice(1), ["198.51.100.1:40001"]);
  strictEqual(atInside.length, 2, "the forgotten mapping leads nowhere");
});
