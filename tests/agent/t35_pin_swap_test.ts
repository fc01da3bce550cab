/**
 * T35: a coordinator, or a thief who got past it, presents another key under the name or the address
 * of a peer that a person verified. Whole nodes on the simulated network; the roster is a script.
 *
 * @module
 */

import { deepStrictEqual, ok, strictEqual } from "node:assert/strict";
import { readCachedRoster } from "../../lib/agent/membership.ts";
import { PeerBook } from "../../lib/agent/peer_book.ts";
import { PeerTrust, refusalText, type TrustMode } from "../../lib/agent/peer_trust.ts";
import { PinStore } from "../../lib/agent/pins.ts";
import { RosterCopy } from "../../lib/agent/roster_copy.ts";
import { StateFolder } from "../../lib/agent/state_folder.ts";
import { trustMethods } from "../../lib/agent/trust_methods.ts";
import { formatEndpoint } from "../../lib/net/endpoint.ts";
import { formatIpAddress, parseIpAddress } from "../../lib/net/ip_address.ts";
import { hostPrefix } from "../../lib/net/ip_prefix.ts";
import type { NodeRecord } from "../../lib/wire/server_message.ts";
import { udpPacket } from "../fakes/packets.ts";
import { numbered, recordedOf, TestMesh, type TestNode } from "../mesh/simulated_mesh.ts";
import { inTempFolder } from "./temp_folder.ts";

/** What a coordinator says of a node; `changes` is where it lies. */
function record(node: TestNode, changes: Partial<NodeRecord> = {}): NodeRecord {
  return {
    nodeId: node.nodeId,
    name: node.name,
    staticKey: node.staticKey.publicKey,
    addresses: { ipv4: formatIpAddress(node.inner[4]), ipv6: formatIpAddress(node.inner[6]) },
    statement: { sshPublicKey: Uint8Array.of(1), signature: Uint8Array.of(2), signedAt: 3 },
    endpoints: node.candidates().map((at) => ({ endpoint: formatEndpoint(at), source: "local" })),
    ...changes,
  };
}

/** Alice, who has pins and a roster; bob, thief and carol, who take her for a peer. */
class Scene {
  readonly mesh = new TestMesh();
  readonly alice: TestNode = this.mesh.add("alice");
  readonly bob: TestNode = this.mesh.add("bob");
  readonly thief: TestNode = this.mesh.add("thief");
  readonly carol: TestNode = this.mesh.add("carol");
  readonly folder: StateFolder;
  trust!: PeerTrust;
  book!: PeerBook;
  #copy!: RosterCopy;
  #version = 0;

  constructor(path: string, mode: TrustMode = "all") {
    this.folder = StateFolder.open(path);
    for (const node of [this.bob, this.thief, this.carol]) {
      node.device.setPeers([this.alice.asPeer()]);
    }
    this.startAlice(mode);
  }

  /** Alice starts with what is on her disk. */
  startAlice(mode: TrustMode = "all"): void {
    const { folder, mesh: { clock }, alice } = this;
    this.#copy = new RosterCopy({
      ...{ folder, clock, cached: readCachedRoster(folder) },
      writeFailed: (error) => {
        throw error;
      },
    });
    this.#copy.setPsks({ kind: "psks", current: { epoch: 1, psk: new Uint8Array(32).fill(1) } });
    this.trust = new PeerTrust({ pins: PinStore.load(folder), clock, mode });
    this.book = new PeerBook(
      this.#copy,
      {
        upsertPeer: ({ nodeId, staticKey, addresses }, candidates) => {
          const inner = [addresses.ipv4, addresses.ipv6].map(parseIpAddress);
          const allowedIps = inner.map(hostPrefix);
          alice.device.upsertPeer({ nodeId, staticKey, allowedIps, candidates });
        },
        removePeer: ({ nodeId }) => alice.device.removePeer(nodeId),
      },
      this.trust,
      alice.nodeId,
    );
    this.book.handOver();
  }

  /** Alice's process ends and another one starts: peers are what disk and pins say. */
  restartAlice(mode?: TrustMode): void {
    this.trust.close();
    this.#copy.close();
    this.alice.device.setPeers([]);
    this.startAlice(mode);
  }

  /** The coordinator names everybody anew. */
  roster(...nodes: NodeRecord[]): void {
    const upserts = [record(this.alice), ...nodes];
    const version = ++this.#version;
    this.book.applyRoster({
      ...{ kind: "roster", version, lineage: "l", full: true, upserts, removes: [] },
    });
    this.mesh.clock.advance(1_000);
  }

  /** A person at alice's verifies by the control socket's method. */
  async verify(node: TestNode, name = node.name): Promise<void> {
    await this.#methods()["peer-verify"]!({ name, nodeId: node.nodeId });
  }

  /** A person at alice's forgets what is pinned under a name. */
  async forget(name: string): Promise<void> {
    const nodeId = this.trust.pin(name)!.nodeId;
    await this.#methods()["peer-forget"]!({ name, nodeId });
  }

  /** Asserts that alice and a node have nothing to do with each other, whoever starts. */
  refuses(node: TestNode, why: string): void {
    const { alice, bob, mesh } = this;
    const initiations = () => recordedOf(mesh, 1, alice).length;
    const responses = () =>
      recordedOf(mesh, 2, alice).filter(({ to }) => node.host.has(to.address)).length;
    const before = [initiations(), responses(), alice.received.length, node.received.length];
    const tries = recordedOf(mesh, 1, node).length;
    for (const family of [4, 6] as const) {
      for (const { inner: { [family]: destination } } of [bob, node]) {
        const source = alice.inner[family];
        alice.tun.send(udpPacket({ source, destination, payload: numbered(1) }));
      }
    }
    node.send(alice, numbered(2));
    mesh.clock.advance(20_000);
    ok(recordedOf(mesh, 1, node).length > tries, `${why}: the other one does try`);
    deepStrictEqual(
      [initiations(), responses(), alice.received.length, node.received.length],
      before,
      `${why}: no initiation, no response, nothing delivered`,
    );
    deepStrictEqual(alice.liveKeypairs(node), [], `${why}: no session`);
    strictEqual(alice.device.peerStatus(node.nodeId), undefined, `${why}: no peer`);
    ok(!this.book.admitted.has(node.nodeId), `${why}: no way by SSH or relay`);
  }

  /** Closes everything. */
  async close(): Promise<void> {
    this.trust.close();
    this.#copy.close();
    await this.mesh.close();
    this.folder.close();
  }

  #methods() {
    const { book, trust, alice } = this;
    return trustMethods({ book, trust, self: () => ({ name: "alice", nodeId: alice.nodeId }) });
  }
}

/** Runs a test in a scene where alice has a session with bob. */
function withScene(body: (scene: Scene) => void | Promise<void>, mode?: TrustMode): Promise<void> {
  return inTempFolder(async (path) => {
    const scene = new Scene(path, mode);
    scene.roster(record(scene.bob));
    if (mode === undefined) ok(scene.alice.pingInner(scene.bob) !== undefined);
    try {
      await body(scene);
    } finally {
      await scene.close();
    }
  });
}

/** Bob's name and addresses for another key: all that a thief wants. */
function asBob({ thief, bob }: Scene): NodeRecord {
  const { name, addresses } = record(bob);
  return record(thief, { name, addresses });
}

/** What alarms say, without when. */
function alarmsOf({ trust }: Scene) {
  return trust.alarms.map(({ kind, name, pinnedName, address }) => ({
    ...{ kind, name, pinnedName },
    ...(address !== undefined && { address }),
  }));
}

const KEY_CHANGED = [{ kind: "key-changed", name: "bob", pinnedName: "bob" }];

Deno.test("T35: another key under a verified name is refused, with one alarm", () =>
  withScene(async (scene) => {
    const { bob, thief, alice, trust } = scene;
    await scene.verify(bob);
    ok(alice.pingInner(bob) !== undefined);
    scene.roster(asBob(scene));
    scene.refuses(thief, "in bob's place");
    deepStrictEqual(alarmsOf(scene), KEY_CHANGED);
    strictEqual(trust.judge(asBob(scene)).state, "conflict");
    scene.roster(asBob(scene));
    scene.roster(asBob(scene), record(scene.carol));
    const at = ["192.0.2.77:7", "192.0.2.78:7"].map((endpoint) => ({ endpoint, source: "local" }));
    for (const endpoint of at) {
      const online = [{ nodeId: thief.nodeId, endpoints: [endpoint] }];
      scene.book.applyPresence({ kind: "presence", full: false, online, offline: [] });
    }
    strictEqual(trust.conflicts, 1, "more rosters and news, no more alarms");
    strictEqual(alice.device.peerStatus(thief.nodeId), undefined);
    ok(alice.pingInner(scene.carol) !== undefined, "the others have nothing to do with it");

    // Who is verified needs nobody's leave to come back.
    scene.roster(record(bob));
    deepStrictEqual(trust.alarms, []);
    ok(alice.pingInner(bob) !== undefined);
    scene.roster(asBob(scene));
    strictEqual(trust.conflicts, 2, "another event");
  }));

Deno.test("T35: the verified peer keeps its session while another key has its name, too", () =>
  withScene(async (scene) => {
    const { bob, thief, alice } = scene;
    await scene.verify(bob);
    scene.roster(record(bob), record(thief, { name: "printer" }));
    ok(alice.pingInner(thief) !== undefined, "a member like any other");
    scene.roster(record(bob), record(thief, { name: "bob" }));
    ok(alice.pingInner(bob) !== undefined);
    strictEqual(scene.book.find("bob").nodeId, bob.nodeId, "the name is bob's");
    scene.refuses(thief, "beside bob");
    deepStrictEqual(alarmsOf(scene), KEY_CHANGED);

    // Bob by another name is not verified by that one, but it is his key and his address.
    scene.roster(record(bob, { name: "robert" }), record(thief, { name: "BOB" }));
    ok(alice.pingInner(bob) !== undefined);
    strictEqual(scene.trust.judge(scene.book.find("robert")).state, "new");
    scene.refuses(thief, "in upper case");
  }));

Deno.test("T35: the addresses of a verified peer are routed to no other key", () =>
  withScene(async (scene) => {
    const { bob, thief, alice, trust } = scene;
    await scene.verify(bob);
    const { ipv4, ipv6 } = record(bob).addresses;
    const own = record(thief).addresses;
    const rows: [addresses: NodeRecord["addresses"], taken: string, why: string][] = [
      [{ ipv4, ipv6: own.ipv6 }, ipv4, "IPv4"],
      [{ ipv4: own.ipv4, ipv6 }, ipv6, "IPv6"],
      [{ ipv4: own.ipv4, ipv6: ipv6.replace("::", ":0::0") }, ipv6, "IPv6 spelled otherwise"],
    ];
    for (const [addresses, taken, why] of rows) {
      scene.roster(record(thief, { name: "printer", addresses }));
      scene.refuses(thief, why);
      const [alarm] = alarmsOf(scene);
      deepStrictEqual([alarm?.kind, alarm?.pinnedName], ["address-taken", "bob"], why);
      ok(refusalText(trust.judge(scene.book.find("printer")).refusal!).includes("bob"), why);
      strictEqual(formatIpAddress(parseIpAddress(alarm!.address!)), taken, why);
      scene.roster(record(bob));
    }
    // Bob himself may be moved, but leaves nothing behind for others.
    const elsewhere = { ipv4: "100.64.0.77", ipv6: "fd77::77" };
    scene.roster(record(bob, { addresses: elsewhere }));
    ok(trust.noteOf(scene.book.find("bob"))?.includes("other addresses"));
    scene.roster(
      record(bob, { addresses: elsewhere }),
      record(thief, { addresses: { ipv4, ipv6 } }),
    );
    scene.refuses(thief, "what bob had");
    await scene.verify(bob);
    strictEqual(trust.noteOf(scene.book.find("bob")), undefined);
    strictEqual(trust.alarms.length, 0, "a person said that bob moved");
    ok(alice.device.peerStatus(thief.nodeId));
  }));

Deno.test("T35: pins hold over a restart, from the first datagram on", () =>
  withScene(async (scene) => {
    const { bob, thief } = scene;
    await scene.verify(bob);
    scene.roster(asBob(scene));
    scene.mesh.clock.advance(10_000);
    scene.restartAlice();
    deepStrictEqual(alarmsOf(scene), KEY_CHANGED, "known before the coordinator said anything");
    scene.refuses(thief, "from the disk's roster");
    scene.roster(record(bob));
    ok(scene.alice.pingInner(bob) !== undefined);
  }));

Deno.test("T35: only a person gives a verified name to another key", () =>
  withScene(async (scene) => {
    const { bob, thief, alice } = scene;
    await scene.verify(bob);
    scene.roster(asBob(scene));
    scene.trust.heard(asBob(scene));
    scene.mesh.clock.advance(1_000);
    scene.refuses(thief, "having been heard pins nothing");
    let refused: unknown;
    await scene.verify(thief, "bob").catch((error) => refused = error);
    ok(/pinned to another key/.test(String(refused)), String(refused));
    await scene.forget("bob");
    deepStrictEqual(scene.trust.alarms, []);
    ok(alice.device.peerStatus(thief.nodeId), "a peer like any other");
    scene.roster(record(bob));
    ok(alice.pingInner(bob) !== undefined, "nothing is pinned any more");
  }));

Deno.test("T35: a name that was only seen may change its key, but not unnoticed", () =>
  withScene((scene) => {
    const { bob, thief, alice, trust } = scene;
    trust.heard(record(bob));
    scene.mesh.clock.advance(1_000);
    strictEqual(trust.judge(record(bob)).state, "seen");
    const changed = record(thief, { name: "bob" });
    scene.roster(changed);
    deepStrictEqual(trust.judge(changed), { state: "new", refusal: undefined });
    strictEqual(trust.keyBefore(changed), bob.nodeId);
    ok(alice.pingInner(thief) !== undefined);
    trust.heard(changed);
    scene.mesh.clock.advance(1_000);
    strictEqual(trust.judge(changed).state, "seen");
    ok(/another key than before, .+ peer verify bob/.test(trust.noteOf(changed)!), "said for good");
    strictEqual(trust.conflicts, 0);
  }));

Deno.test("PeerTrust takes verified peers only, if told so, and both ways", () =>
  withScene(async (scene) => {
    const { bob, alice, trust } = scene;
    scene.refuses(bob, "not verified");
    deepStrictEqual(trust.judge(record(bob)), { state: "new", refusal: { kind: "unverified" } });
    deepStrictEqual([trust.alarms, trust.conflicts], [[], 0], "nothing to be alarmed about");
    await scene.verify(bob);
    ok(alice.pingInner(bob) !== undefined);
    scene.roster(record(bob), record(scene.carol));
    scene.refuses(scene.carol, "another one");
    ok(alice.pingInner(bob) !== undefined);
    await scene.forget("bob");
    strictEqual(alice.device.peerStatus(bob.nodeId), undefined, "at once");
    scene.refuses(bob, "forgotten");
  }, "verified-only"));

Deno.test("PeerTrust holds the addresses of who was verified before they were known", () =>
  withScene(async (scene) => {
    const { thief, carol, alice } = scene;
    const { addresses } = record(carol);
    scene.roster(record(thief, { addresses }));
    ok(alice.device.peerStatus(thief.nodeId), "nobody's so far");
    await scene.verify(carol);
    scene.roster(record(thief, { addresses }), record(carol));
    ok(alice.pingInner(carol) !== undefined, "carol gets what is hers");
    strictEqual(alice.device.peerStatus(thief.nodeId), undefined);
    strictEqual(scene.trust.alarms[0]?.kind, "address-taken");
  }));
