/**
 * What arrives: a part of the data plane contract.
 *
 * @module
 */

import { deepStrictEqual, strictEqual } from "node:assert/strict";
import { concatBytes } from "../../lib/base/bytes.ts";
import { parseIpAddress } from "../../lib/net/ip_address.ts";
import type { DropReason } from "../../lib/session/actions.ts";
import { ipPacket } from "../fakes/packets.ts";
import {
  type Case,
  FAMILIES,
  mapped,
  NOBODY,
  numbered,
  OTHER,
  OTHER_ID,
  OWN,
  packetIn,
  partial,
  PEER,
  PEER_ID,
  prefixes,
  type Scene,
  withDestination,
  withSource,
} from "./contract_scene.ts";

/** The cases, by title. */
export const ARRIVALS: readonly Case[] = [
  ["opens datagrams and delivers their packets, in both families", opensIn],
  [
    "delivers nothing that claims another inner source, v4, v6, mapped, broadcast (T21)",
    refusesSpoofed,
  ],
  [
    "delivers each datagram exactly once, and none from behind the window (T22, T23)",
    refusesReplays,
  ],
  ["changes nothing for a forged datagram, whatever its counter (T24, T31)", ignoresForgeries],
  ["drops data from another path before the AEAD, and says so if it is new (T19)", refusesStrays],
  ["tells plaintexts apart: keepalive, control, packet, and what is none", tellsPlaintexts],
  ["finishes partial checksums, and only where they may be (T32)", finishesChecksums],
  ["hands on types 1 to 4 and 6, and drops every other (T27)", handsOn],
  ["survives every length of every type (T27)", survivesGarbage],
];

async function opensIn(scene: Scene): Promise<void> {
  const far = scene.session();
  let bytes = 0;
  for (const family of FAMILIES) {
    for (const length of [0, 1, 700, 1380]) {
      const packet = packetIn(family, new Uint8Array(length).fill(length));
      deepStrictEqual(await scene.arrive(far.seal(packet)), [packet]);
      bytes += packet.length;
    }
  }
  const { rxBytes, rxPackets } = scene.plane.traffic(PEER_ID);
  deepStrictEqual([rxBytes, rxPackets], [bytes, 8]);
  strictEqual(far.keypair.activity.receiveCounter, 7);
  deepStrictEqual(scene.drops(), {});
}

async function refusesSpoofed(scene: Scene): Promise<void> {
  const far = scene.session();
  const [v4, v6] = [packetIn(4), packetIn(6)];
  const rows: [packet: Uint8Array, reason: DropReason | undefined, why: string][] = [
    [v4, undefined, "its own"],
    [v6, undefined, "its own"],
    [withSource(v4, parseIpAddress("10.2.3.4")), undefined, "in a prefix of its"],
    [withSource(v4, OTHER[4]), "source-not-allowed", "another peer's"],
    [withSource(v6, OTHER[6]), "source-not-allowed", "another peer's"],
    [withSource(v4, OWN[4]), "source-not-allowed", "ours"],
    [withSource(v6, OWN[6]), "source-not-allowed", "ours"],
    [withSource(v4, NOBODY[4]), "source-not-allowed", "nobody's"],
    [withSource(v6, mapped(PEER[4])), "source-not-allowed", "IPv4-mapped, its own inside"],
    [withSource(v6, mapped(OTHER[4])), "source-not-allowed", "IPv4-mapped"],
    [withSource(v4, parseIpAddress("255.255.255.255")), "source-not-allowed", "broadcast"],
    [withSource(v4, parseIpAddress("224.0.0.1")), "source-not-allowed", "multicast"],
    [withSource(v6, parseIpAddress("ff02::1")), "source-not-allowed", "multicast"],
    [withSource(v4, parseIpAddress("0.0.0.0")), "source-not-allowed", "unspecified"],
    [withSource(v6, parseIpAddress("::")), "source-not-allowed", "unspecified"],
    [withSource(v4, parseIpAddress("127.0.0.1")), "source-not-allowed", "loopback"],
    [withSource(v6, parseIpAddress("::1")), "source-not-allowed", "loopback"],
    [withDestination(v4, OTHER[4]), "destination-not-ours", "for another peer"],
    [withDestination(v6, OTHER[6]), "destination-not-ours", "for another peer"],
    [withDestination(v4, PEER[4]), "destination-not-ours", "for itself"],
    [withDestination(v4, parseIpAddress("255.255.255.255")), "destination-not-ours", "broadcast"],
    [withDestination(v4, parseIpAddress("224.0.0.1")), "destination-not-ours", "multicast"],
    [withDestination(v6, parseIpAddress("ff02::1")), "destination-not-ours", "multicast"],
    [withDestination(v6, mapped(OWN[4])), "destination-not-ours", "IPv4-mapped, ours inside"],
  ];
  for (const [packet, reason, why] of rows) {
    const before = reason === undefined ? 0 : scene.plane.drops[reason];
    const delivered = await scene.arrive(far.seal(packet));
    deepStrictEqual(delivered, reason === undefined ? [packet] : [], why);
    if (reason !== undefined) strictEqual(scene.plane.drops[reason], before + 1, why);
  }
  scene.plane.removePeer(OTHER_ID);
  scene.plane.setPeer(PEER_ID, prefixes("0.0.0.0/0", "::/0"));
  deepStrictEqual(await scene.arrive(far.seal(withSource(v6, mapped(PEER[4])))), []);
  deepStrictEqual(await scene.arrive(far.seal(withSource(v4, parseIpAddress("0.0.0.0")))), []);
}

async function refusesReplays(scene: Scene): Promise<void> {
  const far = scene.session();
  const datagrams = Array.from({ length: 20 }, (_, i) => far.seal(packetIn(4, numbered(i)), i));
  const order = [3, 1, 0, 2, 19, 7, 4, 18, 5, 6];
  for (const i of order) {
    strictEqual((await scene.arrive(datagrams[i]!)).length, 1, `${i} comes first`);
    strictEqual((await scene.arrive(datagrams[i]!)).length, 0, `${i} comes again`);
  }
  strictEqual(scene.drops().replayed, order.length);
  strictEqual((await scene.arrive(far.seal(packetIn(4), 30_000))).length, 1);
  const edge = 30_000 - 8191;
  strictEqual((await scene.arrive(far.seal(packetIn(4), edge))).length, 1, "the window's edge");
  strictEqual((await scene.arrive(far.seal(packetIn(4), edge - 1))).length, 0, "behind it");
  strictEqual(scene.drops().replayed, order.length + 1);
}

async function ignoresForgeries(scene: Scene): Promise<void> {
  const far = scene.session();
  const genuine = far.seal(packetIn(4, numbered(1)), 5);
  await scene.arrive(far.seal(packetIn(4), 4));
  const before = { ...far.keypair.activity };
  for (let bit = 0; bit < genuine.length * 8; bit += 5) {
    const forged = genuine.slice();
    forged[bit >> 3]! ^= 1 << (bit & 7);
    deepStrictEqual(await scene.arrive(forged), [], `bit ${bit}`);
  }
  for (const counter of [6, 100_000, 2 ** 32, 2 ** 49]) {
    const forged = far.seal(packetIn(4), counter);
    forged[forged.length - 1]! ^= 1;
    deepStrictEqual(await scene.arrive(forged), [], `counter ${counter}`);
  }
  deepStrictEqual(far.keypair.activity, before);
  deepStrictEqual(scene.told.filter((line) => !line.startsWith("datagram")), []);
  strictEqual((await scene.arrive(genuine)).length, 1, "the genuine one still comes in");
  strictEqual((await scene.arrive(far.seal(packetIn(4), 6))).length, 1, "and the one after it");
}

async function refusesStrays(scene: Scene): Promise<void> {
  const [bound, elsewhere] = scene.bench.paths;
  const far = scene.session();
  await scene.arrive(far.seal(packetIn(4), 5), bound);
  const stray = far.seal(packetIn(4), 6);
  deepStrictEqual(await scene.arrive(stray, elsewhere), []);
  deepStrictEqual(scene.told, [`strayed aa ${elsewhere.remote}`]);
  deepStrictEqual(await scene.arrive(far.seal(packetIn(4), 4), elsewhere), []);
  const forged = stray.slice();
  forged[40]! ^= 1;
  deepStrictEqual(await scene.arrive(forged, elsewhere), []);
  deepStrictEqual(scene.drops(), { "wrong-path": 3 }, "a bad tag is not even looked at");
  strictEqual(scene.told.length, 2, "an old counter is not told of, a forged one cannot be seen");
  strictEqual((await scene.arrive(stray, bound)).length, 1, "the window did not move");
  const previous = far;
  scene.session();
  scene.told.length = 0;
  deepStrictEqual(await scene.arrive(previous.seal(packetIn(4), 9), elsewhere), []);
  deepStrictEqual(scene.told, [], "a keypair that is not current prompts nothing");
}

async function tellsPlaintexts(scene: Scene): Promise<void> {
  const far = scene.session();
  deepStrictEqual(await scene.arrive(far.seal(new Uint8Array(0))), []);
  deepStrictEqual(scene.drops(), {});
  strictEqual(far.keypair.activity.receiveCounter, 0, "a keepalive authenticates");
  deepStrictEqual(await scene.arrive(far.seal(Uint8Array.of(0, 1, 2, 3))), []);
  deepStrictEqual(scene.told, ["control 00010203"]);
  const v4 = packetIn(4);
  const wrong = [
    ...[0x10, 0x20, 0x30, 0x50, 0x70, 0x80, 0xf0, 0x01].map((first) => Uint8Array.of(first, 9)),
    v4.subarray(0, 10),
    concatBytes(v4, Uint8Array.of(0)),
    v4.subarray(0, v4.length - 1),
  ];
  for (const plaintext of wrong) deepStrictEqual(await scene.arrive(far.seal(plaintext)), []);
  deepStrictEqual(scene.drops(), { "bad-plaintext": wrong.length });
}

async function finishesChecksums(scene: Scene): Promise<void> {
  const far = scene.session();
  for (const family of FAMILIES) {
    const packet = packetIn(family, Uint8Array.of(1, 2, 3));
    const [delivered] = await scene.arrive(far.seal(partial(packet)));
    deepStrictEqual(delivered, packet, `IPv${family}, whatever the field held`);
  }
  const v4 = packetIn(4);
  const fragment = v4.slice();
  fragment[6] = 0x20;
  const tcp = { source: PEER[4], destination: OWN[4], protocol: 6, body: new Uint8Array(12) };
  const rows: [packet: Uint8Array, why: string][] = [
    [fragment, "a fragment"],
    [ipPacket(tcp), "half a TCP header"],
    [ipPacket({ ...tcp, protocol: 1 }), "ICMP"],
    [
      ipPacket({ ...tcp, protocol: 44, source: PEER[6], destination: OWN[6] }),
      "an extension header",
    ],
  ];
  for (const [packet, why] of rows) {
    deepStrictEqual(await scene.arrive(far.seal(partial(packet))), [], why);
  }
  deepStrictEqual(scene.drops(), { "bad-partial-checksum": rows.length });
  const spoofed = partial(withSource(v4, OTHER[4]));
  deepStrictEqual(await scene.arrive(far.seal(spoofed)), []);
  strictEqual(scene.drops()["source-not-allowed"], 1, "all checks see the cleared bit");
}

async function handsOn(scene: Scene): Promise<void> {
  const { remote } = scene.bench.paths[1];
  for (const type of [1, 2, 3, 4, 6]) {
    await scene.arrive(Uint8Array.of(type, 9, 9), scene.bench.paths[1]);
    strictEqual(scene.told.pop(), `datagram ${type} ${remote}`);
  }
  for (const type of [0, 7, 69, 255]) await scene.arrive(Uint8Array.of(type, 1, 1, 0));
  await scene.arrive(new Uint8Array(0));
  await scene.arrive(Uint8Array.of(5));
  await scene.arrive(new Uint8Array(40).fill(5));
  deepStrictEqual(scene.told, []);
  deepStrictEqual(scene.drops(), { "unknown-type": 4, malformed: 3 });
}

async function survivesGarbage(scene: Scene): Promise<void> {
  const far = scene.session();
  const header = far.seal(new Uint8Array(0)).subarray(0, 16);
  for (let type = 0; type < 8; type++) {
    for (let length = 1; length <= 2000; length++) {
      const datagram = new Uint8Array(length).fill(length);
      datagram.set(header.subarray(0, length));
      datagram[0] = type;
      scene.bench.fromNetwork(datagram, scene.bench.paths[0]);
      // Fewer than a kernel drops that has no time for them.
      if (length % 250 === 0) await scene.bench.settle();
    }
  }
  deepStrictEqual(scene.bench.toMachine(), []);
  deepStrictEqual(scene.bench.toNetwork(), []);
  strictEqual(scene.told.filter((line) => !line.startsWith("datagram")).length, 0);
  strictEqual(scene.drops()["bad-tag"], 2000 - 31);
  strictEqual((await scene.arrive(far.seal(packetIn(4)))).length, 1, "and it lives");
}
