/**
 * What is installed and taken away: a part of the data plane contract.
 *
 * @module
 */

import { deepStrictEqual, ok, strictEqual } from "node:assert/strict";
import { parseIpAddress } from "../../lib/net/ip_address.ts";
import {
  type Case,
  NOBODY,
  OTHER,
  OTHER_ID,
  packetIn,
  packetOut,
  PEER,
  PEER_ID,
  prefixes,
  type Scene,
  withSource,
} from "./contract_scene.ts";

/** The cases, by title. */
export const KEYPAIRS: readonly Case[] = [
  ["confirms by the first datagram that opens, on the paths of the initiation only", confirms],
  ["sends what waited once a keypair is confirmed, by the path that confirmed it", sendsWaiting],
  ["widen() lets one more path confirm, until one has", widens],
  ["delivers nothing on a keypair that the session layer does not confirm", obeysRefusal],
  ["neither seals nor opens with an old keypair or past its messages (T25, T26)", obeysLimits],
  ["retire() ends a keypair at once, and wipes it", retires],
  ["removePeer() ends all keypairs, routes and waiting packets of a peer (T15)", removesPeer],
  ["use() changes keypairs while the one before still opens", changesKeypairs],
  ["setPeer() refuses overlapping AllowedIPs and leaves things as they were (T18)", refusesOverlap],
  ["close() ends everything and can be called twice", closes],
];

async function confirms(scene: Scene): Promise<void> {
  const [first, second] = scene.bench.paths;
  const far = scene.unconfirmed([second]);
  deepStrictEqual(await scene.arrive(far.seal(packetIn(4)), first), []);
  const forged = far.seal(packetIn(4));
  forged[20]! ^= 1;
  deepStrictEqual(await scene.arrive(forged, second), []);
  deepStrictEqual(scene.told, []);
  strictEqual(scene.plane.seal(far.keypair, new Uint8Array(0)), false, "it has no path");
  strictEqual((await scene.arrive(far.seal(packetIn(4)), second)).length, 1);
  strictEqual((await scene.arrive(far.seal(packetIn(4)), second)).length, 1);
  deepStrictEqual(scene.told, [`confirmed aa ${second.remote}`], "once");
  scene.plane.use(far.keypair);
  const [left] = await scene.depart(packetOut(4, PEER));
  strictEqual(left?.path.remote, second.remote);
}

async function sendsWaiting(scene: Scene): Promise<void> {
  const [, second] = scene.bench.paths;
  const control = Uint8Array.of(0, 1, 9, 9, 9, 9, 9, 9, 9, 9);
  for (let i = 0; i < 3; i++) deepStrictEqual(await scene.depart(packetOut(4, PEER)), []);
  scene.onConfirmed = (keypair, path) => {
    keypair.path = path;
    keypair.isConfirmed = true;
    // As the session layer does, at once.
    scene.plane.use(keypair);
    scene.plane.seal(keypair, control);
  };
  const far = scene.unconfirmed([second]);
  strictEqual((await scene.arrive(far.seal(packetIn(4)), second)).length, 1);
  const left = scene.bench.toNetwork();
  deepStrictEqual(left.map(({ path }) => path.remote), Array(4).fill(second.remote));
  deepStrictEqual(
    left.map(({ datagram }) => far.open(datagram)!.plaintext.length),
    [...Array(3).fill(packetOut(4, PEER).length), control.length],
  );
  strictEqual(scene.plane.queued(PEER_ID), 0);
}

async function widens(scene: Scene): Promise<void> {
  const [first, second] = scene.bench.paths;
  const far = scene.unconfirmed([second]);
  deepStrictEqual(await scene.arrive(far.seal(packetIn(4)), first), []);
  far.keypair.unconfirmedPaths = [second, first];
  scene.plane.widen(far.keypair);
  strictEqual((await scene.arrive(far.seal(packetIn(4)), first)).length, 1);
  deepStrictEqual(scene.told, [`confirmed aa ${first.remote}`]);
  scene.plane.widen(far.keypair);
  deepStrictEqual(await scene.arrive(far.seal(packetIn(4)), second), [], "it is bound by now");
}

async function obeysRefusal(scene: Scene): Promise<void> {
  scene.onConfirmed = () => {};
  const far = scene.unconfirmed(scene.bench.paths);
  deepStrictEqual(await scene.arrive(far.seal(packetIn(4))), []);
  scene.onConfirmed = (keypair, path) => {
    keypair.isConfirmed = true;
    keypair.path = path;
    scene.plane.retire(keypair);
  };
  deepStrictEqual(await scene.arrive(far.seal(packetIn(4))), []);
  deepStrictEqual(await scene.arrive(far.seal(packetIn(4))), []);
  strictEqual(scene.told.length, 2);
  strictEqual(scene.plane.traffic(PEER_ID).rxPackets, 0);
}

async function obeysLimits(scene: Scene): Promise<void> {
  const old = scene.session({ createdAt: scene.bench.now() - 180_000 });
  deepStrictEqual(await scene.depart(packetOut(4, PEER)), []);
  deepStrictEqual(scene.told, ["wanted aa"]);
  deepStrictEqual(await scene.arrive(old.seal(packetIn(4))), []);
  strictEqual(scene.drops()["expired-keypair"], 1);
  scene.plane.dropQueue(PEER_ID);
  scene.told.length = 0;
  const worn = scene.session({ sent: 2 ** 50 - 1 });
  const [last] = await scene.depart(packetOut(4, PEER));
  strictEqual(worn.open(last!.datagram)?.counter, 2 ** 50 - 1);
  deepStrictEqual(await scene.depart(packetOut(4, PEER)), []);
  deepStrictEqual(scene.told, ["wanted aa"]);
  strictEqual(scene.plane.seal(worn.keypair, new Uint8Array(0)), false);
  deepStrictEqual(await scene.arrive(worn.seal(packetIn(4), 2 ** 50)), []);
  strictEqual((await scene.arrive(worn.seal(packetIn(4), 2 ** 50 - 1))).length, 1);
}

async function retires(scene: Scene): Promise<void> {
  const far = scene.session();
  const datagram = far.seal(packetIn(4));
  scene.plane.retire(far.keypair);
  deepStrictEqual(await scene.arrive(datagram), []);
  deepStrictEqual(await scene.depart(packetOut(4, PEER)), []);
  strictEqual(scene.plane.seal(far.keypair, new Uint8Array(0)), false);
  const { isRetired, sendKey, receiveKey } = far.keypair;
  deepStrictEqual([isRetired, sendKey, receiveKey], [true, new Uint8Array(32), new Uint8Array(32)]);
  scene.plane.retire(far.keypair);
  scene.plane.use(far.keypair);
  await scene.bench.settle();
  deepStrictEqual(scene.bench.toNetwork(), [], "not by use() either");
}

async function removesPeer(scene: Scene): Promise<void> {
  const far = scene.session();
  const older = scene.session({ use: false });
  const other = scene.session({ peer: OTHER_ID });
  const datagrams = [far.seal(packetIn(4)), older.seal(packetIn(4))];
  scene.plane.removePeer(PEER_ID);
  for (const datagram of datagrams) deepStrictEqual(await scene.arrive(datagram), []);
  deepStrictEqual(await scene.depart(packetOut(4, PEER)), []);
  ok(far.keypair.isRetired && older.keypair.isRetired);
  strictEqual(scene.drops()["no-route"], 1);
  strictEqual(scene.plane.traffic(PEER_ID).txPackets, 0);
  scene.bench.toMachine();
  const fromOther = withSource(packetIn(4), OTHER[4]);
  deepStrictEqual(await scene.arrive(other.seal(fromOther)), [fromOther], "the other one stays");
  scene.plane.removePeer(PEER_ID);
  scene.plane.setPeer(OTHER_ID, prefixes("100.64.0.2/32"));
  strictEqual((await scene.depart(packetOut(4, PEER))).length, 1, "its addresses are free");
}

async function changesKeypairs(scene: Scene): Promise<void> {
  const first = scene.session();
  await scene.depart(packetOut(4, PEER));
  const second = scene.session({ use: false });
  strictEqual((await scene.arrive(second.seal(packetIn(4)))).length, 1, "opens before it is used");
  const [before] = await scene.depart(packetOut(4, PEER));
  strictEqual(first.open(before!.datagram)?.counter, 1);
  scene.plane.use(second.keypair);
  const [after] = await scene.depart(packetOut(4, PEER));
  strictEqual(second.open(after!.datagram)?.counter, 0);
  strictEqual((await scene.arrive(first.seal(packetIn(4)))).length, 1, "in flight at the change");
}

async function refusesOverlap(scene: Scene): Promise<void> {
  const far = scene.session();
  let message = "";
  try {
    scene.plane.setPeer(OTHER_ID, prefixes("100.64.0.3/32", "10.2.7.0/24"));
  } catch (error) {
    message = String(error);
  }
  ok(message.includes(PEER_ID) && message.includes(OTHER_ID), `names both: ${message}`);
  const packet = withSource(packetIn(4), parseIpAddress("10.2.7.1"));
  strictEqual((await scene.arrive(far.seal(packet))).length, 1);
  const other = scene.session({ peer: OTHER_ID });
  const fromOther = withSource(packetIn(6), OTHER[6]);
  strictEqual((await scene.arrive(other.seal(fromOther))).length, 1);
}

async function closes(scene: Scene): Promise<void> {
  const far = scene.session();
  const datagram = far.seal(packetIn(4));
  await scene.plane.close();
  await scene.plane.close();
  ok(far.keypair.isRetired);
  strictEqual(scene.plane.send(Uint8Array.of(1), scene.bench.paths[0]), false);
  strictEqual(scene.plane.seal(far.keypair, new Uint8Array(0)), false);
  deepStrictEqual(await scene.arrive(datagram), []);
  deepStrictEqual(await scene.depart(packetOut(4, NOBODY)), []);
  deepStrictEqual(scene.told, []);
}
