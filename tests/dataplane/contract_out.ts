/**
 * What leaves: a part of the data plane contract.
 *
 * @module
 */

import { deepStrictEqual, ok, strictEqual } from "node:assert/strict";
import { concatBytes } from "../../lib/base/bytes.ts";
import { parseIpAddress } from "../../lib/net/ip_address.ts";
import type { DropReason } from "../../lib/session/actions.ts";
import { hasRightChecksums } from "../fakes/packets.ts";
import {
  type Case,
  FAMILIES,
  icmpOf,
  mapped,
  NOBODY,
  numbered,
  OTHER,
  OTHER_ID,
  OWN,
  packetOut,
  PEER,
  PEER_ID,
  type Scene,
  withSource,
} from "./contract_scene.ts";

/** The cases, by title. */
export const DEPARTURES: readonly Case[] = [
  ["seals packets of the machine for the peer whose address it is, in both families", sealsOut],
  ["lets packets wait for a keypair, and asks for one once per want", waits],
  ["bounds what waits, the oldest going first, and dropQueue() counts the rest", boundsQueue],
  ["answers a packet for nobody with ICMP unreachable, in both families", answersUnreachable],
  ["answers a packet too large for the path with ICMP, in both families", answersTooBig],
  ["seals no packet from an address that is not ours (T21)", refusesForeignSource],
  ["seal() seals control with exactly the keypair asked for", sealsControl],
];

async function sealsOut(scene: Scene): Promise<void> {
  const far = scene.session();
  const sent: Uint8Array[] = [];
  for (const family of FAMILIES) {
    for (let i = 0; i < 3; i++) {
      sent.push(packetOut(family, PEER, Uint8Array.of(i, family)));
      const left = await scene.depart(sent.at(-1)!);
      strictEqual(left.length, 1);
      strictEqual(left[0]!.path.remote, scene.bench.paths[0].remote);
      deepStrictEqual(far.open(left[0]!.datagram), {
        counter: sent.length - 1,
        plaintext: sent.at(-1)!,
      });
    }
  }
  const bytes = sent.reduce((sum, packet) => sum + packet.length, 0);
  const { txBytes, txPackets } = scene.plane.traffic(PEER_ID);
  deepStrictEqual([txBytes, txPackets], [bytes, 6]);
  strictEqual(far.keypair.activity.sendCounter, 6);
  deepStrictEqual(scene.drops(), {});
  deepStrictEqual(scene.told, []);
}

async function waits(scene: Scene): Promise<void> {
  const packets = [0, 1, 2].map((i) => packetOut(4, PEER, Uint8Array.of(i)));
  for (const packet of packets) deepStrictEqual(await scene.depart(packet), []);
  deepStrictEqual(scene.told, ["wanted aa"]);
  strictEqual(scene.plane.queued(PEER_ID), 3);
  const far = scene.session();
  await scene.bench.settle();
  const left = scene.bench.toNetwork().map(({ datagram }) => far.open(datagram)?.plaintext);
  deepStrictEqual(left, packets, "in order");
  strictEqual(scene.plane.queued(PEER_ID), 0);
  scene.plane.retire(far.keypair);
  await scene.depart(packets[0]!);
  await scene.depart(packetOut(6, OTHER));
  deepStrictEqual(scene.told, ["wanted aa", "wanted aa", "wanted bb"]);
}

async function boundsQueue(scene: Scene): Promise<void> {
  const count = 300;
  for (let i = 0; i < count; i++) scene.bench.fromMachine(packetOut(4, PEER, numbered(i)));
  await scene.bench.settle();
  const kept = scene.plane.queued(PEER_ID);
  ok(kept > 0 && kept < count);
  strictEqual(scene.drops()["queue-full"], count - kept);
  const far = scene.session();
  await scene.bench.settle();
  const first = far.open(scene.bench.toNetwork()[0]!.datagram)!.plaintext;
  deepStrictEqual(first, packetOut(4, PEER, numbered(count - kept)), "the oldest were dropped");
  for (let i = 0; i < 3; i++) scene.bench.fromMachine(packetOut(4, OTHER));
  await scene.bench.settle();
  scene.plane.dropQueue(OTHER_ID);
  await scene.bench.settle();
  strictEqual(scene.plane.queued(OTHER_ID), 0);
  strictEqual(scene.drops()["no-keypair"], 3);
  scene.bench.fromMachine(packetOut(4, OTHER));
  await scene.bench.settle();
  deepStrictEqual(scene.told, ["wanted aa", "wanted bb", "wanted bb"], "wanted again");
}

async function answersUnreachable(scene: Scene): Promise<void> {
  for (const family of FAMILIES) {
    const packet = packetOut(family, NOBODY);
    deepStrictEqual(await scene.depart(packet), []);
    const [answer, ...more] = scene.bench.toMachine();
    strictEqual(more.length, 0);
    deepStrictEqual(icmpOf(answer!), {
      family,
      type: family === 4 ? 3 : 1,
      code: family === 4 ? 1 : 3,
      mtu: 0,
      source: NOBODY[family],
      destination: OWN[family],
      quoted: packet,
    });
    ok(hasRightChecksums(answer!));
    await scene.depart(answer!);
    strictEqual(scene.bench.toMachine().length, 0, "no answer to an answer");
  }
  await scene.depart(packetOut(4, { 4: parseIpAddress("224.0.0.251"), 6: NOBODY[6] }));
  strictEqual(scene.bench.toMachine().length, 0, "no answer to a packet for a group");
  for (let i = 0; i < 1000; i++) scene.bench.fromMachine(packetOut(4, NOBODY));
  await scene.bench.settle();
  const answers = scene.bench.toMachine().length;
  ok(answers > 0 && answers < 500, `${answers} answers to 1000 packets at once`);
}

async function answersTooBig(scene: Scene): Promise<void> {
  scene.session();
  scene.bench.limitDatagrams(1400);
  for (const family of FAMILIES) {
    const headers = family === 4 ? 28 : 48;
    const fits = packetOut(family, PEER, new Uint8Array(1368 - headers));
    strictEqual((await scene.depart(fits)).length, 1);
    const packet = packetOut(family, PEER, new Uint8Array(1369 - headers));
    strictEqual((await scene.depart(packet)).length, 0);
    const [answer, ...more] = scene.bench.toMachine();
    strictEqual(more.length, 0);
    const { type, code, mtu } = icmpOf(answer!);
    deepStrictEqual([type, code, mtu], family === 4 ? [3, 4, 1368] : [2, 0, 1368]);
    ok(hasRightChecksums(answer!));
  }
  strictEqual(scene.drops()["send-failed"], 2);
}

async function refusesForeignSource(scene: Scene): Promise<void> {
  scene.session();
  const [v4, v6] = [packetOut(4, PEER), packetOut(6, PEER)];
  const rows: [packet: Uint8Array, reason: DropReason, why: string][] = [
    [withSource(v4, OTHER[4]), "source-not-allowed", "another node's"],
    [withSource(v6, OTHER[6]), "source-not-allowed", "another node's"],
    [withSource(v4, parseIpAddress("0.0.0.0")), "source-not-allowed", "none yet"],
    [withSource(v6, parseIpAddress("fe80::1")), "source-not-allowed", "link-local"],
    [withSource(v6, mapped(OWN[4])), "source-not-allowed", "IPv4-mapped"],
    [v4.subarray(0, 19), "bad-plaintext", "no whole header"],
    [concatBytes(v4, Uint8Array.of(0)), "bad-plaintext", "longer than it says"],
    [Uint8Array.of(0), "bad-plaintext", "no packet"],
    [new Uint8Array(0), "bad-plaintext", "empty"],
  ];
  for (const [packet, reason, why] of rows) {
    const before = scene.plane.drops[reason];
    deepStrictEqual(await scene.depart(packet), [], why);
    strictEqual(scene.plane.drops[reason], before + 1, why);
  }
  deepStrictEqual(scene.told, []);
}

async function sealsControl(scene: Scene): Promise<void> {
  const current = scene.session();
  const previous = scene.session({ use: false });
  const plaintexts = [new Uint8Array(0), Uint8Array.of(0, 1, 7)];
  for (const plaintext of plaintexts) {
    strictEqual(scene.plane.seal(previous.keypair, plaintext), true);
    await scene.bench.settle();
    const [left] = scene.bench.toNetwork();
    deepStrictEqual(previous.open(left!.datagram)?.plaintext, plaintext);
  }
  strictEqual(current.keypair.activity.sendCounter, 0);
  strictEqual(previous.keypair.activity.payloadSentAt, -Infinity);
  strictEqual(scene.plane.traffic(PEER_ID).txPackets, 0, "not a packet of the machine");
  const whole = Uint8Array.of(1, 2, 3);
  strictEqual(scene.plane.send(whole, scene.bench.paths[1]), true);
  await scene.bench.settle();
  const [left] = scene.bench.toNetwork();
  deepStrictEqual([left!.datagram, left!.path.remote], [whole, scene.bench.paths[1].remote]);
}
