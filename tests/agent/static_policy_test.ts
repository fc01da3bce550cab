/**
 * Allow-list mode with whole nodes on a simulated network: revocation in the midst of everything
 * (T15, T16), broken files (T17), strangers and other profiles (T12 to T14). The server's file is
 * written by its administrator; datagrams by anybody.
 *
 * @module
 */

import { deepStrictEqual, match, ok, rejects, strictEqual, throws } from "node:assert/strict";
import { devicePeersOf, StaticPolicy } from "../../lib/agent/static_policy.ts";
import { fromHex, toBase64 } from "../../lib/base/bytes.ts";
import { type AllowedPeersConfig, parseAllowedPeers } from "../../lib/config/allowed_peers.ts";
import { NATIVE_BACKEND } from "../../lib/crypto/backend.ts";
import { keyPairFrom } from "../../lib/crypto/x25519.ts";
import { formatIpAddress } from "../../lib/net/ip_address.ts";
import { DEFAULT_LIMITS } from "../../lib/session/limits.ts";
import { mac1Key, writeMac1 } from "../../lib/session/mac.ts";
import { TimestampSource } from "../../lib/session/timestamp.ts";
import { countingBackend, type CryptoCounts } from "../fakes/crypto_counter.ts";
import { seededBytes } from "../fakes/random.ts";
import {
  numbered,
  numberOf,
  PORT,
  spoofedEndpoint,
  TestMesh,
  TestNode,
} from "../mesh/simulated_mesh.ts";

const MESH_ID = "0f1e2d3c4b5a69788796a5b4c3d2e1f0";

/** A node that counts what others make it do. */
type StaticTestNode = TestNode & { readonly counts: CryptoCounts };

/** A client as the server's file has it. */
interface Entry {
  readonly name: string;
  readonly node: TestNode;
  readonly enabled?: boolean;
  readonly publicKey?: string;
}

/** A node whose sessions follow the profile of allow-list mode. */
function addNode(mesh: TestMesh, name: string, meshId = MESH_ID): StaticTestNode {
  const staticKey = keyPairFrom(seededBytes(5000 + mesh.nodes.length)(32));
  const { clock } = mesh;
  const crypto = countingBackend();
  const node = mesh.add(name, {
    staticKey,
    device: {
      session: {
        profile: "allowed-peers",
        meshId: fromHex(meshId),
        staticKey,
        limits: DEFAULT_LIMITS,
        timestamps: new TimestampSource({ unixNow: () => clock.unixNow() }),
        random: seededBytes(6000 + mesh.nodes.length),
        crypto: crypto.backend,
      },
    },
  });
  return Object.assign(node, { counts: crypto.counts });
}

function fileOf(node: TestNode, entries: readonly Entry[], more = {}): string {
  return JSON.stringify({
    profile: "allowed-peers",
    meshId: MESH_ID,
    privateKeyFile: "key",
    addresses: [`${formatIpAddress(node.inner[4])}/10`],
    allowedPeers: entries.map(({ name, node: peer, enabled = true, publicKey }) => ({
      name,
      publicKey: publicKey ?? toBase64(peer.staticKey.publicKey),
      enabled,
      allowedIps: [`${formatIpAddress(peer.inner[4])}/32`, `${formatIpAddress(peer.inner[6])}/128`],
      ...more,
    })),
  });
}

/** A server under a policy that a test rewrites, and two clients that dial it. */
function scene() {
  const mesh = new TestMesh();
  const server = addNode(mesh, "server");
  const one = addNode(mesh, "one");
  const two = addNode(mesh, "two");
  const both: Entry[] = [{ name: "one", node: one }, { name: "two", node: two }];
  let file = fileOf(server, both);
  const policy = new StaticPolicy({
    first: parseAllowedPeers(file, "server.yaml"),
    ownPublicKey: server.staticKey.publicKey,
    load: () => Promise.resolve().then(() => parseAllowedPeers(file, "server.yaml")),
    apply: (config) => server.device.setPeers(devicePeersOf(config)),
    unixNow: () => mesh.clock.unixNow(),
  });
  server.device.setPeers(devicePeersOf(policy.config));
  const [host] = server.host.addresses;
  for (const client of [one, two]) {
    const dial = { endpoint: `${formatIpAddress(host!)}:${PORT}` };
    const config = parseAllowedPeers(fileOf(client, [{ name: "server", node: server }], dial), "c");
    client.device.setPeers(devicePeersOf(config));
  }
  return {
    ...{ mesh, clock: mesh.clock, network: mesh.network, server, one, two, both, policy },
    write: (text: string) => void (file = text),
    /** Rewrites the file and waits until it is read; no time passes. */
    set(entries: readonly Entry[]) {
      file = fileOf(server, entries);
      return policy.reload();
    },
    /** Datagrams that a node sent, to one peer if that is named. */
    sentBy: (node: TestNode, peer?: TestNode) =>
      mesh.network.recorded.filter(({ from, to }) =>
        node.host.has(from.address) && (peer?.host.has(to.address) ?? true)
      ).length,
  };
}

for (const [how, without] of [["disabled", false], ["removed", true]] as const) {
  Deno.test(`T15: a peer that is ${how} mid-session is cut off at once, both ways`, async () => {
    const { mesh, clock, server, one, two, both, set, sentBy } = scene();
    for (const client of [one, two]) ok(client.pingInner(server) !== undefined);
    ok(server.pingInner(one) !== undefined);

    one.send(server, numbered(1)); // under way when the file changes
    const before = sentBy(server, one);
    await set(without ? [both[1]!] : [{ ...both[0]!, enabled: false }, both[1]!]);
    strictEqual(server.liveKeypairs(one).length, 0, "no keypair outlives the reading");
    server.send(one, numbered(2));
    one.send(server, numbered(3));
    clock.advance(60_000);
    deepStrictEqual([...server.received, ...one.received].map(numberOf), []);
    strictEqual(one.pingInner(server), undefined, "its handshakes are refused");
    strictEqual(sentBy(server, one) - before, 0, "in silence");
    ok(two.pingInner(server) !== undefined, "the other one notices nothing");
    strictEqual(two.statusOf(server).handshakes, 1);

    await set(both);
    one.send(server, numbered(4)); // by the old keypair: lost
    clock.advance(6_000); // the longest wait between two initiations
    ok(one.pingInner(server) !== undefined, "and back again");
    await mesh.close();
  });
}

Deno.test("T1: a recorded message 1, a thousand times: the live session passes data as ever", async () => {
  const { mesh, clock, network, server, one } = scene();
  ok(one.pingInner(server) !== undefined);
  const recorded = network.recorded.find(({ datagram }) => datagram[0] === 1)!;
  const mark = network.recorded.length;
  const keypairs = server.liveKeypairs(one);
  for (let i = 0; i < 1000; i++) {
    const from = i % 3 === 0 ? recorded.from : spoofedEndpoint(i % 3);
    network.inject({ ...recorded, from });
    clock.advance(i < 500 ? 1 : 20);
  }
  const answers = network.recorded.slice(mark).filter(({ from, datagram }) =>
    server.host.has(from.address) && datagram[0] === 2
  );
  strictEqual(answers.length, 0, "not even the same response again: it would repeat an ephemeral");
  deepStrictEqual(server.liveKeypairs(one), keypairs, "nothing is evicted, nothing is new");
  ok(one.pingInner(server) !== undefined);
  strictEqual(one.statusOf(server).handshakes, 1);
  await mesh.close();
});

Deno.test("T16: revocation at each moment of a handshake never leaves a session", async () => {
  let cutOff = 0;
  for (let at = 0; at <= 30; at++) {
    const { mesh, clock, server, one, both, set } = scene();
    one.send(server, numbered(1));
    clock.advance(at);
    const delivered = server.received.length;
    if (delivered === 0) cutOff++;
    await set([{ ...both[0]!, enabled: false }, both[1]!]);
    server.send(one, numbered(2));
    one.send(server, numbered(3));
    clock.advance(20_000);
    strictEqual(server.liveKeypairs(one).length, 0, `after ${at} ms`);
    strictEqual(server.received.length, delivered, `nothing comes in after ${at} ms`);
    strictEqual(one.received.length, 0, `nothing goes out after ${at} ms`);
    await mesh.close();
  }
  ok(cutOff > 10 && cutOff < 30, "before, within and after the handshake");
});

Deno.test("T17: a broken file changes nothing, and says so until it is right", async () => {
  const { mesh, clock, server, one, both, policy, write, set } = scene();
  ok(one.pingInner(server) !== undefined);
  const broken: [text: string, says: RegExp][] = [
    ["allowedPeers: [", /no valid YAML/],
    [fileOf(server, both).replace("enabled", "enable"), /did you mean "enabled"/],
    [fileOf(server, [both[0]!, { ...both[0]!, name: "twin" }]), /"twin" .* key of "one"/],
    ["", /is missing/],
    [
      fileOf(server, [
        { ...both[0]!, publicKey: toBase64(server.staticKey.publicKey) },
      ]),
      /"one" has this node's own public key/,
    ],
  ];
  for (const [text, says] of broken) {
    write(text);
    await policy.reload();
    match(policy.fault ?? "", says);
    match(policy.notes[0]!, /^the last good policy is in force: /);
    strictEqual(policy.config.peers.length, 2);
    clock.advance(1000);
    ok(one.pingInner(server) !== undefined, "the session goes on");
  }
  strictEqual(one.statusOf(server).handshakes, 1, "the very same one");
  await set([{ ...both[0]!, enabled: false }]);
  strictEqual(policy.fault, undefined);
  deepStrictEqual(policy.notes, []);
  strictEqual(one.pingInner(server), undefined);
  await mesh.close();
});

Deno.test("StaticPolicy.reload() ends with what the file says last, however it is called", async () => {
  const { server, both } = scene();
  const texts = [[], both, [both[1]!]].map((entries) => fileOf(server, entries));
  const applied: number[] = [];
  let reads = 0;
  const gates = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
  const policy = new StaticPolicy({
    first: parseAllowedPeers(texts[0]!, "a"),
    ownPublicKey: server.staticKey.publicKey,
    load: async () => {
      const read = reads++;
      await gates[read]!.promise;
      return parseAllowedPeers(texts[read + 1]!, "a");
    },
    apply: (config) => applied.push(config.peers.length),
    unixNow: () => 0,
  });
  const calls = [policy.reload(), policy.reload(), policy.reload()];
  gates[0]!.resolve();
  gates[1]!.resolve();
  await Promise.all(calls);
  deepStrictEqual(applied, [2, 1], "one reading serves the calls that came meanwhile");
  strictEqual(policy.config.peers[0]!.name, "two");
});

Deno.test("StaticPolicy keeps what was in force if a policy cannot be put in force", async () => {
  const { server, both } = scene();
  const config = (entries: readonly Entry[]): AllowedPeersConfig =>
    parseAllowedPeers(fileOf(server, entries), "a");
  const policy = new StaticPolicy({
    first: config(both),
    ownPublicKey: server.staticKey.publicKey,
    load: () => Promise.resolve(config([])),
    apply: () => {
      throw new Error("nft refuses");
    },
    unixNow: () => 0,
  });
  await policy.reload();
  strictEqual(policy.config.peers.length, 2);
  strictEqual(policy.fault, "nft refuses");
  await rejects(Promise.resolve().then(() => policy.find("three")), /no such peer/);
  for (const text of ["ONE", formatIpAddress(both[0]!.node.inner[4])]) {
    strictEqual(policy.find(text).name, "one");
  }
});

Deno.test("StaticPolicy does not start with a file that allows this node itself", () => {
  const { server } = scene();
  const entry = { name: "me", node: new TestNodeLike(server) } as unknown as Entry;
  throws(
    () =>
      new StaticPolicy({
        first: parseAllowedPeers(fileOf(server, [entry]), "a"),
        ownPublicKey: server.staticKey.publicKey,
        load: () => Promise.reject(new Error()),
        apply: () => {},
        unixNow: () => 0,
      }),
    /a:1:1: peer "me" has this node's own public key/,
  );
});

/** The server's key under a client's addresses. */
class TestNodeLike {
  readonly staticKey;
  readonly inner = {
    4: Uint8Array.of(100, 64, 0, 99),
    6: Uint8Array.of(0xfd, ...new Array(15).fill(9)),
  };
  constructor(server: TestNode) {
    this.staticKey = server.staticKey;
  }
}

/** Whoever is not in the file under this very key, mesh and profile: what differs, DH allowed. */
Deno.test("T14: strangers and disabled peers get the same silence, for one DH at most", async () => {
  const costs: Record<string, number> = {};
  for (const who of ["stranger", "disabled", "other mesh"] as const) {
    const { mesh, clock, server, both, set, sentBy } = scene();
    const third = addNode(
      mesh,
      "third",
      who === "other mesh" ? MESH_ID.replace("0f", "ff") : MESH_ID,
    );
    const entry = { name: "third", node: third, enabled: who !== "disabled" };
    await set(who === "stranger" ? both : [...both, entry]);
    const [host] = server.host.addresses;
    const dial = { endpoint: `${formatIpAddress(host!)}:${PORT}` };
    const file = fileOf(third, [{ name: "server", node: server }], dial);
    third.device.setPeers(devicePeersOf(parseAllowedPeers(file, "c")));
    let initiations = 0;
    mesh.network.adversary = (flight) => {
      if (server.host.has(flight.to.address)) initiations++;
      return [flight];
    };
    const { dh } = server.counts;
    strictEqual(third.pingInner(server), undefined, who);
    clock.advance(1000);
    strictEqual(sentBy(server), 0, who);
    strictEqual(server.plane.installed.length, 0, who);
    ok(initiations > 2, who);
    ok(server.counts.dh - dh <= initiations, who);
    costs[who] = server.counts.dh - dh;
    await mesh.close();
  }
  ok(costs["stranger"]! > 0, "their initiations were read");
  strictEqual(costs["stranger"], costs["disabled"], "they cannot be told apart by their price");
});

/** Whole datagrams of what this port does not speak: type, version, profile, length, what it is. */
const OTHERS: [type: number, version: number, profile: number, length: number, what: string][] = [
  [1, 1, 1, 152, "message 1 of the mesh profile"],
  [1, 1, 3, 72, "message 1 of XX"],
  [1, 1, 4, 40, "message 1 of XX for others"],
  [3, 1, 3, 108, "message 3 of XX"],
  [1, 0, 2, 148, "version 0"],
  [1, 2, 2, 148, "version 2"],
  [1, 255, 2, 148, "version 255"],
  [1, 1, 5, 148, "no profile"],
  [1, 1, 2, 152, "our profile, the length of another"],
  [2, 1, 1, 96, "a response of the mesh profile"],
];

Deno.test("T12, T13: old patterns, other profiles and versions get silence and no DH", async () => {
  const { mesh, clock, network, server, one, sentBy } = scene();
  const key = mac1Key(NATIVE_BACKEND, server.staticKey.publicKey);
  const [address] = server.host.addresses;
  const [from] = one.host.addresses;
  for (const [type, version, profile, length, what] of OTHERS) {
    const datagram = seededBytes(length)(length);
    datagram.set([type, version, profile, 0]);
    if (profile !== 4) tryWriteMac1(key, datagram);
    const { dh } = server.counts;
    network.inject({
      from: { address: from!, port: PORT },
      to: { address: address!, port: PORT },
      datagram,
    });
    clock.advance(1000);
    strictEqual(sentBy(server), 0, what);
    strictEqual(server.counts.dh, dh, what);
  }
  strictEqual(server.plane.installed.length, 0);
  ok(one.pingInner(server) !== undefined, "who does speak it still gets in");
  ok(server.counts.dh > 0, "and costs something");
  await mesh.close();
});

/** As its maker would have: some lengths have no such field in this version. */
function tryWriteMac1(key: Uint8Array, datagram: Uint8Array): void {
  try {
    writeMac1(NATIVE_BACKEND, key, datagram);
  } catch {
    // Then it cannot have one.
  }
}
