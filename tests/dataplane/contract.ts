/**
 * What every {@linkcode DataPlane} does, whatever moves its packets. Keypairs come without a
 * handshake (tests/fakes/far_end.ts), so that only the data plane is tested.
 *
 * @module
 */

import { deepStrictEqual, ok, strictEqual } from "node:assert/strict";
import { concatBytes } from "../../lib/base/bytes.ts";
import type { DataPlane, DataPlaneEvents } from "../../lib/dataplane/data_plane.ts";
import { parseIpAddress } from "../../lib/net/ip_address.ts";
import { parseIpPrefix } from "../../lib/net/ip_prefix.ts";
import { DROP_REASONS, type DropReason } from "../../lib/session/actions.ts";
import type { Path } from "../../lib/session/path.ts";
import { FarEnd } from "../fakes/far_end.ts";
import { hasRightChecksums, ipPacket, udpPacket } from "../fakes/packets.ts";

/** A data plane between a machine and a network that the test plays. */
export interface PlaneBench {
  readonly plane: DataPlane;
  /** `Clock.now` of the plane. */
  now(): number;
  /** Two paths to two far sockets, as arrivals from there have them. */
  readonly paths: readonly [Path, Path];
  /** The machine sends a packet into the TUN. */
  fromMachine(packet: Uint8Array): void;
  /** A far socket sends a datagram to the plane. */
  fromNetwork(datagram: Uint8Array, path: Path): void;
  /** Lets everything that is under way arrive. */
  settle(): Promise<void>;
  /** Takes what the plane wrote into the TUN. */
  toMachine(): Uint8Array[];
  /** Takes what arrived at the far sockets, with the path it left by. */
  toNetwork(): { readonly datagram: Uint8Array; readonly path: Path }[];
  /** Makes the network carry UDP payloads up to this length only. */
  limitDatagrams(bytes: number): void;
  close(): Promise<void>;
}

/** Makes a bench with these events. */
export type PlaneBenchFactory = (events: DataPlaneEvents) => Promise<PlaneBench>;

const OWN = { 4: parseIpAddress("100.64.0.1"), 6: parseIpAddress("fd00::1") };
const PEER = { 4: parseIpAddress("100.64.0.2"), 6: parseIpAddress("fd00::2") };
const OTHER = { 4: parseIpAddress("100.64.0.3"), 6: parseIpAddress("fd00::3") };
const NOBODY = { 4: parseIpAddress("100.64.0.99"), 6: parseIpAddress("fd00::99") };
const PEER_ID = "aa".repeat(32);
const OTHER_ID = "bb".repeat(32);
const FAMILIES = [4, 6] as const;

/** A bench with two peers, and what the plane told. */
class Scene {
  readonly told: string[] = [];
  /** What `confirmed` does, as the session layer would. */
  onConfirmed: DataPlaneEvents["confirmed"] = (keypair, path) => {
    keypair.path = path;
    keypair.isConfirmed = true;
  };
  bench!: PlaneBench;
  #seed = 1;

  readonly events: DataPlaneEvents = {
    datagram: (datagram, path) => this.told.push(`datagram ${datagram[0]} ${path.remote}`),
    wanted: (peer) => this.told.push(`wanted ${peer.slice(0, 2)}`),
    confirmed: (keypair, path) => {
      this.told.push(`confirmed ${keypair.peer.slice(0, 2)} ${path.remote}`);
      this.onConfirmed(keypair, path);
    },
    strayed: (keypair, path) =>
      this.told.push(`strayed ${keypair.peer.slice(0, 2)} ${path.remote}`),
    control: (_keypair, plaintext) => this.told.push(`control ${plaintext.toHex()}`),
    failed: (error) => this.told.push(`failed ${error.message}`),
  };

  get plane(): DataPlane {
    return this.bench.plane;
  }

  /** A far end of the first peer, installed and, unless told otherwise, in use. */
  session(options: { peer?: string; use?: boolean; createdAt?: number } = {}): FarEnd {
    const { peer = PEER_ID, use = true, createdAt = this.bench.now() } = options;
    const far = new FarEnd({ peer, seed: this.#seed++, createdAt, path: this.bench.paths[0] });
    this.plane.install(far.keypair);
    if (use) this.plane.use(far.keypair);
    return far;
  }

  /** A far end that was not confirmed, by any of these paths. */
  unconfirmed(paths: readonly Path[]): FarEnd {
    const createdAt = this.bench.now();
    const far = new FarEnd({
      peer: PEER_ID,
      seed: this.#seed++,
      createdAt,
      unconfirmedPaths: paths,
    });
    this.plane.install(far.keypair);
    return far;
  }

  /** A datagram arrives; returns what was delivered for it. */
  async arrive(datagram: Uint8Array, path: Path = this.bench.paths[0]): Promise<Uint8Array[]> {
    this.bench.fromNetwork(datagram, path);
    await this.bench.settle();
    return this.bench.toMachine();
  }

  /** The machine sends a packet; returns what left for it. */
  async depart(packet: Uint8Array) {
    this.bench.fromMachine(packet);
    await this.bench.settle();
    return this.bench.toNetwork();
  }

  /** Drop counters that are not zero. */
  drops(): Partial<Record<DropReason, number>> {
    const seen: Partial<Record<DropReason, number>> = {};
    for (const reason of DROP_REASONS) {
      if (this.plane.drops[reason] !== 0) seen[reason] = this.plane.drops[reason];
    }
    return seen;
  }
}

/**
 * Registers the contract as tests.
 *
 * @param name What is tested, as it stands in the names of the tests.
 * @param options Passed to `Deno.test`.
 */
export function testDataPlane(
  name: string,
  setUp: PlaneBenchFactory,
  options: { ignore?: boolean } = {},
): void {
  for (const [title, run] of CASES) {
    Deno.test({ ...options, name: `${name} ${title}` }, async () => {
      const scene = new Scene();
      scene.bench = await setUp(scene.events);
      try {
        const { plane } = scene;
        plane.setOwnAddresses([OWN[4], OWN[6]]);
        plane.setPeer(PEER_ID, prefixes("100.64.0.2/32", "fd00::2/128", "10.2.0.0/16"));
        plane.setPeer(OTHER_ID, prefixes("100.64.0.3/32", "fd00::3/128"));
        await run(scene);
      } finally {
        await scene.bench.close();
      }
    });
  }
}

const CASES: readonly [title: string, run: (scene: Scene) => Promise<void>][] = [
  ["seals packets of the machine for the peer whose address it is, in both families", sealsOut],
  ["opens datagrams and delivers their packets, in both families", opensIn],
  ["lets packets wait for a keypair, and asks for one once per want", waits],
  ["bounds what waits, the oldest going first, and dropQueue() counts the rest", boundsQueue],
  ["answers a packet for nobody with ICMP unreachable, in both families", answersUnreachable],
  ["answers a packet too large for the path with ICMP, in both families", answersTooBig],
  ["seals no packet from an address that is not ours (T21)", refusesForeignSource],
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
  ["confirms by the first datagram that opens, on the paths of the initiation only", confirms],
  ["delivers nothing on a keypair that the session layer does not confirm", obeysRefusal],
  ["neither seals nor opens with an old keypair or past its messages (T25, T26)", obeysLimits],
  ["retire() ends a keypair at once, and wipes it", retires],
  ["removePeer() ends all keypairs, routes and waiting packets of a peer (T15)", removesPeer],
  ["use() changes keypairs while the one before still opens", changesKeypairs],
  ["tells plaintexts apart: keepalive, control, packet, and what is none", tellsPlaintexts],
  ["finishes partial checksums, and only where they may be (T32)", finishesChecksums],
  ["hands on types 1 to 4 and 6, and drops every other (T27)", handsOn],
  ["survives every length of every type (T27)", survivesGarbage],
  ["seal() seals control with exactly the keypair asked for", sealsControl],
  ["setPeer() refuses overlapping AllowedIPs and leaves things as they were (T18)", refusesOverlap],
  ["close() ends everything and can be called twice", closes],
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
  const worn = scene.session();
  worn.keypair.activity.sendCounter = 2 ** 50 - 1;
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
    }
    await scene.bench.settle();
  }
  deepStrictEqual(scene.bench.toMachine(), []);
  deepStrictEqual(scene.bench.toNetwork(), []);
  strictEqual(scene.told.filter((line) => !line.startsWith("datagram")).length, 0);
  strictEqual(scene.drops()["bad-tag"], 2000 - 31);
  strictEqual((await scene.arrive(far.seal(packetIn(4)))).length, 1, "and it lives");
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

type ByFamily = { readonly 4: Uint8Array; readonly 6: Uint8Array };

function packetOut(
  family: 4 | 6,
  to: ByFamily,
  payload: Uint8Array = Uint8Array.of(1),
): Uint8Array {
  return udpPacket({ source: OWN[family], destination: to[family], payload });
}

function packetIn(family: 4 | 6, payload: Uint8Array = Uint8Array.of(1)): Uint8Array {
  return udpPacket({ source: PEER[family], destination: OWN[family], payload });
}

function withSource(packet: Uint8Array, source: Uint8Array): Uint8Array {
  const changed = packet.slice();
  changed.set(source, source.length === 4 ? 12 : 8);
  return changed;
}

function withDestination(packet: Uint8Array, destination: Uint8Array): Uint8Array {
  const changed = packet.slice();
  changed.set(destination, destination.length === 4 ? 16 : 24);
  return changed;
}

/** The packet as a sender with a partial checksum sends it: top bit set, field meaningless. */
function partial(packet: Uint8Array): Uint8Array {
  const changed = packet.slice();
  const checksumAt = (packet[0]! >> 4 === 4 ? 20 : 40) + 6;
  if (packet[packet[0]! >> 4 === 4 ? 9 : 6] === 17) changed.set([0xab, 0xcd], checksumAt);
  changed[0]! |= 0x80;
  return changed;
}

function mapped(ipv4: Uint8Array): Uint8Array {
  return Uint8Array.from([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, ...ipv4]);
}

function numbered(i: number): Uint8Array {
  return Uint8Array.of(i >> 8, i & 255);
}

function prefixes(...texts: string[]) {
  return texts.map((text) => parseIpPrefix(text));
}

function icmpOf(packet: Uint8Array) {
  const family = packet[0]! >> 4 as 4 | 6;
  const start = family === 4 ? 20 : 40;
  const view = new DataView(packet.buffer, packet.byteOffset, packet.length);
  return {
    family,
    type: packet[start],
    code: packet[start + 1],
    mtu: view.getUint32(start + 4),
    source: family === 4 ? packet.slice(12, 16) : packet.slice(8, 24),
    destination: family === 4 ? packet.slice(16, 20) : packet.slice(24, 40),
    quoted: packet.slice(start + 8),
  };
}
