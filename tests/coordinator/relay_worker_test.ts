/**
 * The relay of a whole coordinator: tickets by the control channel, members as the registry has
 * them, and none of its traffic on the registry's thread. And what it sees: ciphertext.
 *
 * @module
 */

import { deepStrictEqual, match, ok, strictEqual } from "node:assert/strict";
import { toHex } from "../../lib/base/bytes.ts";
import { SYSTEM_CLOCK } from "../../lib/base/clock.ts";
import { Coordinator } from "../../lib/coordinator/coordinator.ts";
import { sha256 } from "../../lib/crypto/hash.ts";
import { generateKeyPair } from "../../lib/crypto/x25519.ts";
import { Device } from "../../lib/mesh/device.ts";
import { parseIpAddress } from "../../lib/net/ip_address.ts";
import { hostPrefix } from "../../lib/net/ip_prefix.ts";
import { DEFAULT_LIMITS } from "../../lib/session/limits.ts";
import { PskRing } from "../../lib/session/psk_ring.ts";
import { TimestampSource } from "../../lib/session/timestamp.ts";
import { RelayTransport } from "../../lib/transport/relay.ts";
import type { DatagramSocket, UdpPath } from "../../lib/transport/transport.ts";
import { udpPacket, udpPayload } from "../fakes/packets.ts";
import { FakeTun } from "../fakes/tun.ts";
import { TestRelay, until } from "../transport/relay_mesh.ts";
import { connect } from "./connect.ts";
import { helloOf, SimulatedAgent } from "./simulated_agent.ts";
import { dialRelay } from "../../lib/transport/relay_dialing.ts";

/** Counts what workers post to this thread. */
class CountingWorker extends Worker {
  static posts = 0;
  constructor(...args: ConstructorParameters<typeof Worker>) {
    super(...args);
    this.addEventListener("message", () => CountingWorker.posts++);
  }
}

async function withCoordinator(
  run: (coordinator: Coordinator, member: (name: string) => Promise<Member>) => Promise<void>,
): Promise<void> {
  const folder = await Deno.makeTempDir();
  const quiet = { debug() {}, info() {}, warning() {}, error() {} };
  const original = globalThis.Worker;
  globalThis.Worker = CountingWorker;
  const coordinator = await Coordinator.start({
    stateFolder: folder,
    listen: [{ hostname: "127.0.0.1", port: 0 }],
    tls: { kind: "self-signed", names: [] },
    udpPorts: [],
    software: "test",
    clock: SYSTEM_CLOCK,
    log: quiet,
    verifyStatement: () => true,
    onFailed: (error) => {
      throw error;
    },
  });
  globalThis.Worker = original;
  const url = `https://127.0.0.1:${coordinator.listening[0]!.port}`;
  const members: Member[] = [];
  try {
    await run(coordinator, async (name) => {
      const member = await joinWithRelay(url, coordinator.token(), name);
      members.push(member);
      return member;
    });
  } finally {
    for (const { agent, relay } of members) {
      await relay.close();
      agent.hangUp();
    }
    await coordinator.stop();
    await Deno.remove(folder, { recursive: true });
  }
}

interface Member {
  readonly agent: SimulatedAgent;
  readonly nodeId: string;
  readonly relay: RelayTransport;
  readonly failures: string[];
}

async function joinWithRelay(url: string, token: string, name: string): Promise<Member> {
  const agent = connect(new SimulatedAgent({ token, hello: helloOf(name) }), url);
  await agent.until(() => agent.said("presence") !== undefined);
  const failures: string[] = [];
  const target = { url: `${url.replace("http", "ws")}/relay`, tlsVerify: false };
  const relay: RelayTransport = new RelayTransport({
    clock: SYSTEM_CLOCK,
    dial: (events) => dialRelay(target, events),
    askTicket: () => {
      const before = agent.heard.length;
      agent.say({ kind: "relay-ticket" });
      const ticket = () =>
        agent.heard.slice(before).find((message) => message.kind === "relay-ticket");
      agent.until(() => ticket() !== undefined).then(() => relay.takeTicket(ticket()!.ticket));
      return true;
    },
    isPeer: () => true,
    events: { closed: (reason) => failures.push(reason) },
  });
  relay.connect();
  await until(() => relay.isConnected, "the relay");
  return { agent, nodeId: toHex(sha256(agent.staticKey.publicKey)), relay, failures };
}

Deno.test("a coordinator relays between members, and its registry's thread sees none of it", async () => {
  await withCoordinator(async (coordinator, member) => {
    const [a, b] = [await member("a"), await member("b")];
    let received = 0;
    b.relay.start((datagram, path) => {
      strictEqual(path.nodeId, a.nodeId);
      received += datagram.length;
    });
    const postsBefore = CountingWorker.posts;
    const startedAt = performance.now();
    // A relay keeps nothing for long, so that more has to be sent where this thread is not run.
    const deadline = startedAt + 30_000;
    while (received < 2_000_000 && performance.now() < deadline) {
      const path = a.relay.pathTo(b.nodeId)!;
      for (let i = 0; i < 50 && a.relay.send(new Uint8Array(1_000), path); i++);
      await new Promise((resolve) => setImmediate(resolve));
    }
    ok(received >= 2_000_000, `${received} bytes`);
    const seconds = (performance.now() - startedAt) / 1_000;
    ok(CountingWorker.posts - postsBefore <= seconds + 2, "but for the counters, once a second");
    await until(() => coordinator.status().relay!.forwardedDatagrams >= 1_990, "the counters");
    strictEqual(coordinator.status().relay!.connections, 2);
  });
});

Deno.test("a member that is disabled is off the relay at once, and gets no ticket", async () => {
  await withCoordinator(async (coordinator, member) => {
    const [a, b] = [await member("a"), await member("b")];
    let received = 0;
    b.relay.start(() => received++);
    coordinator.setState(a.nodeId, "disabled");
    await until(() => a.failures.length > 0, "the end of the connection");
    match(a.failures[0]!, /disabled/);
    strictEqual(a.relay.send(Uint8Array.of(1), { key: `relay ${b.nodeId}` }), false);
    strictEqual(received, 0);
    strictEqual(b.relay.isConnected, true);
  });
});

Deno.test("a member that leaves is off the relay at once", async () => {
  await withCoordinator(async (_, member) => {
    const a = await member("a");
    a.agent.say({ kind: "leave" });
    await until(() => a.failures.length > 0, "the end of the connection");
    match(a.failures[0]!, /removed/);
  });
});

Deno.test("the relay sees ciphertext only", async () => {
  const secret = new TextEncoder().encode("a secret that nobody may read on the way ".repeat(10));
  const keys = [generateKeyPair(), generateKeyPair()] as const;
  const ids = keys.map(({ publicKey }) => toHex(sha256(publicKey)));
  const inner = ["100.64.0.1", "100.64.0.2"].map(parseIpAddress);
  const relay = await TestRelay.open(ids);
  const seen: Uint8Array[] = [];
  const { relay: hub } = relay.listener;
  const open = hub.open.bind(hub);
  hub.open = (socket) => {
    const { receive, closed } = open(socket);
    return {
      receive: (message) => {
        seen.push(message.slice());
        receive(message);
      },
      closed,
    };
  };
  const nodes = [0, 1].map((i) => {
    const tun = new FakeTun();
    const transport = relay.transport(ids[i]!);
    const device = new Device({
      clock: SYSTEM_CLOCK,
      tun,
      socket: new DeadSocket(),
      carriers: { relay: transport },
      session: {
        profile: "mesh",
        meshId: new Uint8Array(16).fill(1),
        staticKey: keys[i]!,
        psks: new PskRing({ current: { epoch: 1, psk: new Uint8Array(32).fill(2) } }),
        limits: DEFAULT_LIMITS,
        timestamps: new TimestampSource({
          unixNow: () => Date.now(),
          mark: 0,
          persist: () => {},
        }),
      },
      ownAddresses: [inner[i]!],
      meshRanges: [],
    });
    return { tun, device, transport };
  });
  try {
    await until(() => nodes.every(({ transport }) => transport.isConnected));
    nodes.forEach(({ device }, i) =>
      device.upsertPeer({
        nodeId: ids[1 - i]!,
        staticKey: keys[1 - i]!.publicKey,
        allowedIps: [hostPrefix(inner[1 - i]!)],
        candidates: [],
      })
    );
    const [source, destination] = [inner[0]!, inner[1]!];
    for (let i = 0; i < 20; i++) {
      nodes[0]!.tun.send(udpPacket({ source, destination, payload: secret }));
    }
    const { delivered } = nodes[1]!.tun;
    await until(() => delivered.length === 20, "the packets");
    deepStrictEqual(udpPayload(delivered[0]!), secret);
    strictEqual(nodes[0]!.device.peerStatus(ids[1]!)?.path?.kind, "relay");
    const latin1 = new TextDecoder("latin1");
    const [all, plain] = [
      seen.map((bytes) => latin1.decode(bytes)).join(""),
      latin1.decode(secret),
    ];
    ok(all.length > 20 * secret.length, "it all went this way");
    for (let at = 0; at + 8 <= 48; at++) {
      ok(!all.includes(plain.slice(at, at + 8)), plain.slice(at));
    }
  } finally {
    for (const { device } of nodes) await device.close();
    await relay.close();
  }
});

/** A UDP socket by which nothing gets anywhere. */
class DeadSocket implements DatagramSocket {
  readonly port = 9;
  readonly families = { ipv4: true, ipv6: true };
  start(): void {}
  path(endpoint: UdpPath["endpoint"]): UdpPath {
    return { kind: "udp", key: "udp nowhere", remote: "nowhere", endpoint, local: undefined };
  }
  send(): boolean {
    return false;
  }
  close(): Promise<void> {
    return Promise.resolve();
  }
}
