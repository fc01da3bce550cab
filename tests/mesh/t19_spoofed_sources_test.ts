/**
 * T19 and T21 of docs/protocol.md §7 with whole nodes: datagrams from a source that is not the
 * sender's, and packets from an address that is not the sender's.
 *
 * @module
 */

import { deepStrictEqual, ok, strictEqual } from "node:assert/strict";
import { formatEndpoint, parseEndpoint } from "../../lib/net/endpoint.ts";
import { parseIpAddress } from "../../lib/net/ip_address.ts";
import type { Flight } from "../fakes/network.ts";
import { udpPacket } from "../fakes/packets.ts";
import {
  numbered,
  numberOf,
  PORT,
  recordedOf,
  spoofedEndpoint,
  TestMesh,
  twoNodes,
} from "./simulated_mesh.ts";

Deno.test("T19: data from 1000 spoofed sources costs no AEAD and moves no session", async () => {
  const { mesh, clock, network, alice, bob } = twoNodes();
  ok(alice.pingInner(bob) !== undefined);
  const held: Flight[] = [];
  network.adversary = (flight) => {
    if (flight.datagram[0] !== 5 || !alice.host.has(flight.from.address)) return [flight];
    held.push(flight);
    return [];
  };
  for (let i = 0; i < 10; i++) alice.send(bob, numbered(i));
  network.adversary = undefined;
  network.recorded.length = 0;
  const { opens } = bob.aeadCounts;
  bob.crypto.reset();
  for (let i = 0; i < 1000; i++) network.inject({ ...held[i % 10]!, from: spoofedEndpoint(i) });
  clock.advance(10);
  strictEqual(bob.aeadCounts.opens, opens, "0 AEAD calls");
  strictEqual(bob.drops()["wrong-path"], 1000);
  deepStrictEqual(bob.received, []);
  strictEqual(bob.statusOf(alice).path?.remote, `[2001:db8::1]:${PORT}`);
  const asked = recordedOf(mesh, 1, bob).map(({ to }) => formatEndpoint(to));
  deepStrictEqual(asked.length, 2, "one handshake: to the first new source and the bound path");
  ok(asked.includes(`[2001:db8::1]:${PORT}`));
  clock.advance(1_000);
  for (const flight of held) network.inject(flight);
  clock.advance(10);
  deepStrictEqual(bob.received.map(numberOf), [0, 1, 2, 3, 4, 5, 6, 7, 8, 9], "nothing was lost");
  strictEqual(bob.statusOf(alice).path?.remote, `[2001:db8::1]:${PORT}`);
  ok(bob.pingInner(alice) !== undefined);
  await mesh.close();
});

Deno.test("T19: healing is rare, whoever asks for it, and never where nobody may be sent", async () => {
  const mesh = new TestMesh();
  const hub = mesh.add("hub");
  const peers = Array.from({ length: 30 }, (_, i) => mesh.add(`peer ${i}`));
  mesh.introduceAll();
  for (const peer of peers) ok(peer.pingInner(hub) !== undefined);
  mesh.clock.advance(1_000);
  const held: Flight[] = [];
  mesh.network.adversary = (flight) => {
    if (flight.datagram[0] === 5) held.push(flight);
    return [];
  };
  for (const peer of peers) peer.send(hub, numbered(1));
  mesh.network.adversary = undefined;
  mesh.network.recorded.length = 0;
  const forbidden = [
    "127.0.0.1:80",
    "[::1]:80",
    "224.0.0.1:80",
    "255.255.255.255:80",
    "100.64.0.3:80",
    "[fd77::3]:80",
    "0.0.0.0:80",
  ].map(parseEndpoint);
  const [first, second] = [held.slice(0, 15), held.slice(15)];
  for (const flight of first) {
    for (const from of forbidden) mesh.network.inject({ ...flight, from });
  }
  mesh.clock.advance(10);
  const toForbidden = mesh.network.recorded.filter(({ to }) =>
    forbidden.some((from) => formatEndpoint(from) === formatEndpoint(to))
  );
  deepStrictEqual(toForbidden, []);
  for (const [i, flight] of second.entries()) {
    for (let k = 0; k < 5; k++) {
      mesh.network.inject({ ...flight, from: spoofedEndpoint(100 + 5 * i + k) });
    }
  }
  mesh.clock.advance(10);
  const toStrangers = recordedOf(mesh, 1, hub).filter(({ to }) => to.address[0] === 203);
  ok(toStrangers.length <= 10, `${toStrangers.length} in one second`);
  ok(toStrangers.length > 0);
  await mesh.close();
});

Deno.test("T19: a session's data does not follow a stolen datagram that overtakes the genuine one", async () => {
  const { mesh, clock, network, alice, bob } = twoNodes({ delayMs: 50 });
  ok(alice.pingInner(bob) !== undefined);
  clock.advance(1_000);
  const thief = network.host("thief", ["203.0.113.66"]);
  const loot: Uint8Array[] = [];
  thief.socket(PORT).start((datagram) => loot.push(datagram.slice()), () => {});
  network.adversary = (flight) => {
    if (flight.datagram[0] === 5 && alice.host.has(flight.from.address)) {
      clock.schedule(clock.now() + 60, () => network.inject(flight)); // held back
      return [{ ...flight, from: thief.endpoint(PORT) }];
    }
    return [flight];
  };
  for (let i = 0; i < 100; i++) {
    alice.send(bob, numbered(i));
    bob.send(alice, numbered(i));
    clock.advance(20);
  }
  network.adversary = undefined;
  clock.advance(1_000);
  ok(loot.every((datagram) => datagram[0] === 1), "the thief gets initiations, never data");
  deepStrictEqual(alice.received.map(numberOf), Array.from({ length: 100 }, (_, i) => i));
  strictEqual(bob.received.length, 100);
  strictEqual(bob.statusOf(alice).path?.remote, `[2001:db8::1]:${PORT}`);
  await mesh.close();
});

Deno.test("T20: under `roam` a session follows fresh authentic data, and nothing else", async () => {
  const mesh = new TestMesh();
  const session = { binding: "roam" } as const;
  const alice = mesh.add("alice", { session });
  const bob = mesh.add("bob", { session });
  mesh.introduceAll();
  ok(alice.pingInner(bob) !== undefined);
  alice.send(bob, numbered(1));
  mesh.clock.advance(10);
  const path = () => bob.statusOf(alice).path?.remote;
  for (const flight of recordedOf(mesh, 5, alice)) {
    const forged = flight.datagram.slice();
    new DataView(forged.buffer).setBigUint64(8, 1_000n, true);
    mesh.network.inject({ ...flight, from: spoofedEndpoint(1) });
    mesh.network.inject({ ...flight, from: spoofedEndpoint(1), datagram: forged });
  }
  mesh.clock.advance(10);
  strictEqual(path(), `[2001:db8::1]:${PORT}`, "not a replay, not a forgery");
  const held: Flight[] = [];
  mesh.network.adversary = (flight) => {
    held.push(flight);
    return [];
  };
  for (const i of [2, 3]) alice.send(bob, numbered(i));
  mesh.network.adversary = undefined;
  mesh.network.inject(held[1]!);
  mesh.clock.advance(10);
  mesh.network.inject({ ...held[0]!, from: spoofedEndpoint(1) });
  mesh.clock.advance(10);
  deepStrictEqual(bob.received.map(numberOf), [1, 3, 2]);
  strictEqual(path(), `[2001:db8::1]:${PORT}`, "not what is authentic but late");
  mesh.network.adversary = (flight) => {
    held.push(flight);
    return [];
  };
  alice.send(bob, numbered(4));
  mesh.network.adversary = undefined;
  mesh.network.inject({ ...held[2]!, from: spoofedEndpoint(2) });
  mesh.clock.advance(10);
  strictEqual(path(), formatEndpoint(spoofedEndpoint(2)), "what is both: there the peer is now");
  alice.send(bob, numbered(5));
  mesh.clock.advance(10);
  strictEqual(path(), `[2001:db8::1]:${PORT}`, "and back");
  await mesh.close();
});

Deno.test("T21: a member cannot speak for another, for us, or for no one, in either family", async () => {
  const mesh = new TestMesh();
  const [alice, bob, mallory] = ["alice", "bob", "mallory"].map((name) => mesh.add(name));
  mesh.introduceAll();
  ok(mallory!.pingInner(alice!) !== undefined);
  ok(bob!.pingInner(alice!) !== undefined);
  const mapped = Uint8Array.from([...new Uint8Array(10), 255, 255, ...mallory!.inner[4]]);
  const sources = [
    bob!.inner[4],
    bob!.inner[6],
    alice!.inner[4],
    alice!.inner[6],
    mapped,
    ...["255.255.255.255", "0.0.0.0", "127.0.0.1", "224.0.0.1", "10.0.0.1", "100.64.0.99"]
      .map(parseIpAddress),
    ...["::", "::1", "ff02::1", "fe80::1", "fd77::99"].map(parseIpAddress),
  ];
  for (const source of sources) {
    const destination = source.length === 4 ? alice!.inner[4] : alice!.inner[6];
    mallory!.sealAnything(alice!, udpPacket({ source, destination, payload: numbered(1) }));
  }
  mesh.clock.advance(20);
  deepStrictEqual(alice!.received, []);
  strictEqual(alice!.drops()["source-not-allowed"], sources.length);
  const destinations = [
    bob!.inner[4],
    bob!.inner[6],
    mallory!.inner[4],
    ...["255.255.255.255", "224.0.0.1", "127.0.0.1", "ff02::1", "::1"].map(parseIpAddress),
  ];
  for (const destination of destinations) {
    const source = destination.length === 4 ? mallory!.inner[4] : mallory!.inner[6];
    mallory!.sealAnything(alice!, udpPacket({ source, destination, payload: numbered(2) }));
  }
  mesh.clock.advance(20);
  deepStrictEqual(alice!.received, []);
  strictEqual(alice!.drops()["destination-not-ours"], destinations.length);
  strictEqual(alice!.statusOf(mallory!).rxPackets, 1, "the ping alone was counted");
  mallory!.send(alice!, numbered(3), 6);
  mesh.clock.advance(20);
  deepStrictEqual(alice!.received.map(numberOf), [3], "as itself it may speak");
  await mesh.close();
});
