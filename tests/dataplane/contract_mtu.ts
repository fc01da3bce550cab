/**
 * What becomes of packets that do not fit a path: a part of the data plane contract.
 *
 * @module
 */

import { deepStrictEqual, ok, strictEqual } from "node:assert/strict";
import { pathLimit } from "../../lib/dataplane/path_limit.ts";
import { encodeEcho } from "../../lib/wire/inner_control.ts";
import { hasRightChecksums, tcpPacket } from "../fakes/packets.ts";
import { type Case, FAMILIES, icmpOf, OWN, packetOut, PEER, type Scene } from "./contract_scene.ts";

/** The cases, by title. */
export const MTUS: readonly Case[] = [
  ["setPathLimit() keeps packets to what fits, and tells their senders", keepsToLimit],
  ["sends an IPv4 packet that may be fragmented although it does not fit", sendsUnlessDf],
  ["lets a SYN ask for segments that fit, in both families", clampsSyn],
  ["sends what fits no narrow path in fragments, and a probe() in one piece", sendsInFragments],
  ["tells once that the system refuses a size", tellsTooLarge],
];

/** A packet of this length in all. */
function packetOf(family: 4 | 6, length: number): Uint8Array {
  return packetOut(family, PEER, new Uint8Array(length - (family === 4 ? 28 : 48)));
}

async function keepsToLimit(scene: Scene): Promise<void> {
  const far = scene.session();
  await scene.bench.settle();
  scene.plane.setPathLimit(far.keypair, pathLimit(1340));
  for (const family of FAMILIES) {
    strictEqual((await scene.depart(packetOf(family, 1340))).length, 1);
    strictEqual((await scene.depart(packetOf(family, 1341))).length, 0);
    const [answer, ...more] = scene.bench.toMachine();
    strictEqual(more.length, 0);
    const { type, code, mtu } = icmpOf(answer!);
    deepStrictEqual([type, code, mtu], family === 4 ? [3, 4, 1340] : [2, 0, 1340]);
    ok(hasRightChecksums(answer!));
  }
  strictEqual(scene.drops()["send-failed"], 2);
  scene.plane.setPathLimit(far.keypair, pathLimit(1400));
  strictEqual((await scene.depart(packetOf(4, 1400))).length, 1, "it can be raised");
  const next = scene.session();
  await scene.bench.settle();
  strictEqual((await scene.depart(packetOf(4, 1408))).length, 1, "another keypair, another path");
  scene.plane.retire(next.keypair);
}

async function sendsUnlessDf(scene: Scene): Promise<void> {
  const far = scene.session();
  await scene.bench.settle();
  scene.plane.setPathLimit(far.keypair, pathLimit(1340));
  const packet = packetOf(4, 1400);
  packet[6] = 0;
  const [left, ...more] = await scene.depart(packet);
  strictEqual(more.length, 0);
  deepStrictEqual(far.open(left!.datagram)?.plaintext, packet);
  deepStrictEqual(scene.bench.toMachine(), []);
}

async function clampsSyn(scene: Scene): Promise<void> {
  const far = scene.session();
  await scene.bench.settle();
  for (const family of FAMILIES) {
    const [source, destination] = [OWN[family], PEER[family]];
    const syn = (mss: number) =>
      tcpPacket({ source, destination, flags: 2, options: [2, 4, mss >> 8, mss & 255] });
    scene.plane.setPathLimit(far.keypair, pathLimit(1408));
    const [untouched] = await scene.depart(syn(1340));
    deepStrictEqual(far.open(untouched!.datagram)?.plaintext, syn(1340));
    scene.plane.setPathLimit(far.keypair, pathLimit(1300));
    const [left] = await scene.depart(syn(1340));
    deepStrictEqual(far.open(left!.datagram)?.plaintext, syn(family === 4 ? 1260 : 1240));
  }
}

async function sendsInFragments(scene: Scene): Promise<void> {
  const far = scene.session();
  await scene.bench.settle();
  scene.bench.limitDatagrams(1000);
  scene.plane.setPathLimit(far.keypair, pathLimit(968));
  for (const length of [968, 969, 1280]) {
    const [left] = await scene.depart(packetOf(4, length));
    deepStrictEqual(far.open(left!.datagram)?.plaintext, packetOf(4, length));
  }
  strictEqual((await scene.depart(packetOf(4, 1281))).length, 0);
  strictEqual(icmpOf(scene.bench.toMachine()[0]!).mtu, 1280);

  const drops = scene.drops()["send-failed"] ?? 0;
  const echo = encodeEcho(new Uint8Array(8), 1200);
  scene.plane.probe(far.keypair, echo);
  await scene.bench.settle();
  deepStrictEqual(scene.bench.toNetwork(), [], "whether it fits was the question");
  strictEqual(scene.drops()["send-failed"], drops + 1);
  ok(scene.plane.seal(far.keypair, echo));
  await scene.bench.settle();
  const [left] = scene.bench.toNetwork();
  deepStrictEqual(far.open(left!.datagram)?.plaintext, echo);
  const [again] = await scene.depart(packetOf(4, 1280));
  ok(again !== undefined, "a probe that was refused changed nothing");
}

async function tellsTooLarge(scene: Scene): Promise<void> {
  scene.session();
  await scene.bench.settle();
  scene.bench.limitDatagrams(1372);
  for (let i = 0; i < 3; i++) strictEqual((await scene.depart(packetOf(4, 1400))).length, 0);
  const answers = scene.bench.toMachine();
  deepStrictEqual(answers.map((answer) => icmpOf(answer).mtu), [1340, 1340, 1340]);
  deepStrictEqual(scene.told, ["too-large aa"]);
  strictEqual((await scene.depart(packetOf(4, 1340))).length, 1);
}
