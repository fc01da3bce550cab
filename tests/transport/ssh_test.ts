/**
 * Two ends of the SSH transport on loopback: the contract of carriers, and who is let in as whom.
 *
 * @module
 */

import { deepStrictEqual, ok, strictEqual } from "node:assert/strict";
import { connect } from "node:net";
import ssh2 from "ssh2";
import type { SshTransport } from "../../lib/transport/ssh.ts";
import { SshClientConnection, SshConnectionError } from "../../lib/crypto/ssh_transport.ts";
import { FakeClock } from "../fakes/clock.ts";
import { testPeerCarrier } from "./carrier_contract.ts";
import { addressOf, openTransport, testKey, testNode, TestRoster, until } from "./ssh_mesh.ts";

testPeerCarrier("SshTransport", async () => {
  const [nodeA, nodeB] = [testNode("a"), testNode("b")];
  const roster = new TestRoster(nodeA, nodeB);
  const a = await openTransport(nodeA, roster, { listen: undefined });
  const b = await openTransport(nodeB, roster);
  a.setPeer(nodeB.nodeId, [addressOf(b)]);
  a.want(nodeB.nodeId);
  await until(() => a.pathTo(nodeB.nodeId) !== undefined && b.pathTo(nodeA.nodeId) !== undefined);
  return {
    a,
    b,
    idA: nodeA.nodeId,
    idB: nodeB.nodeId,
    kind: "ssh",
    until,
    close: async () => {
      await a.close();
      await b.close();
    },
  };
});

/** What a transport told. */
function witness() {
  const said: string[] = [];
  return {
    said,
    events: {
      opened: (nodeId: string) => said.push(`opened ${nodeId[0]}`),
      closed: (nodeId: string) => said.push(`closed ${nodeId[0]}`),
      failed: (nodeId: string, errors: readonly unknown[]) => {
        for (const error of errors) {
          said.push(`${nodeId[0]} ${error instanceof SshConnectionError ? error.fault : error}`);
        }
      },
    },
  };
}

async function closeAll(...transports: SshTransport[]): Promise<void> {
  for (const transport of transports) await transport.close();
}

Deno.test("SshTransport connects only when a way is wanted, and says where it leads", async () => {
  const [nodeA, nodeB] = [testNode("a"), testNode("b")];
  const roster = new TestRoster(nodeA, nodeB);
  const atA = witness();
  const atB = witness();
  const a = await openTransport(nodeA, roster, { events: atA.events });
  const b = await openTransport(nodeB, roster, { events: atB.events });
  try {
    a.setPeer(nodeB.nodeId, [addressOf(b)]);
    strictEqual(a.pathTo(nodeB.nodeId), undefined);
    a.want(nodeB.nodeId);
    await until(() => atA.said.length + atB.said.length === 2);
    const path = a.pathTo(nodeB.nodeId)!;
    deepStrictEqual(path, {
      kind: "ssh",
      key: "ssh 1",
      remote: `ssh 127.0.0.1:${b.port}`,
      nodeId: nodeB.nodeId,
    });
    ok(/^ssh 127\.0\.0\.1:\d+$/.test(b.pathTo(nodeA.nodeId)!.remote));
    a.drop(path);
    await until(() => atB.said.length === 2);
    deepStrictEqual(atA.said, ["opened b", "closed b"]);
    deepStrictEqual(atB.said, ["opened a", "closed a"]);
  } finally {
    await closeAll(a, b);
  }
});

Deno.test("SshTransport makes a connection again that breaks while in use, as another way", async () => {
  const [nodeA, nodeB] = [testNode("a"), testNode("b")];
  const roster = new TestRoster(nodeA, nodeB);
  const a = await openTransport(nodeA, roster, { listen: undefined });
  const b = await openTransport(nodeB, roster);
  try {
    let received = 0;
    a.start(() => received++);
    a.setPeer(nodeB.nodeId, [addressOf(b)]);
    a.want(nodeB.nodeId);
    await until(() => b.pathTo(nodeA.nodeId) !== undefined);
    b.send(Uint8Array.of(1), b.pathTo(nodeA.nodeId)!);
    await until(() => received === 1);
    const first = a.pathTo(nodeB.nodeId)!;
    b.drop(b.pathTo(nodeA.nodeId)!);
    await until(() => ![undefined, first].includes(a.pathTo(nodeB.nodeId)));
    strictEqual(a.pathTo(nodeB.nodeId)!.key, "ssh 2");
    strictEqual(a.send(Uint8Array.of(2), first), false);
  } finally {
    await closeAll(a, b);
  }
});

Deno.test("SshTransport takes the address that answers", async () => {
  const [nodeA, nodeB] = [testNode("a"), testNode("b")];
  const roster = new TestRoster(nodeA, nodeB);
  const a = await openTransport(nodeA, roster, { listen: undefined });
  const b = await openTransport(nodeB, roster);
  try {
    a.setPeer(nodeB.nodeId, [{ ...addressOf(b), port: 1 }, addressOf(b)]);
    a.want(nodeB.nodeId);
    await until(() => a.pathTo(nodeB.nodeId) !== undefined);
  } finally {
    await closeAll(a, b);
  }
});

Deno.test("SshTransport refuses a client key that the roster does not have", async () => {
  const [nodeA, nodeB] = [testNode("a"), testNode("b")];
  const stranger = { ...nodeA, clientKey: testKey() };
  const roster = new TestRoster(nodeA, nodeB);
  const { said, events } = witness();
  const a = await openTransport(stranger, roster, { listen: undefined, events });
  const b = await openTransport(nodeB, roster);
  try {
    a.setPeer(nodeB.nodeId, [addressOf(b)]);
    a.want(nodeB.nodeId);
    await until(() => said.length > 0);
    deepStrictEqual(said, ["b refused"]);
    strictEqual(b.pathTo(nodeA.nodeId), undefined);
  } finally {
    await closeAll(a, b);
  }
});

Deno.test("SshTransport refuses a server with a host key that is not the peer's, a member's even", async () => {
  const [nodeA, nodeB, nodeC] = [testNode("a"), testNode("b"), testNode("c")];
  const roster = new TestRoster(nodeA, nodeB, nodeC);
  const { said, events } = witness();
  const a = await openTransport(nodeA, roster, { listen: undefined, events });
  // C has B's client key too, and answers where B is thought to be.
  const c = await openTransport({ ...nodeC, clientKey: nodeB.clientKey }, roster);
  try {
    a.setPeer(nodeB.nodeId, [addressOf(c)]);
    a.want(nodeB.nodeId);
    await until(() => said.length > 0);
    deepStrictEqual(said, ["b wrong-host-key"]);
    strictEqual(c.pathTo(nodeA.nodeId), undefined, "nor did A prove itself to C");
  } finally {
    await closeAll(a, c);
  }
});

Deno.test("SshTransport gives a connection made with a stolen key to the key's owner, nobody else", async () => {
  const [nodeA, nodeB, nodeC] = [testNode("a"), testNode("b"), testNode("c")];
  const roster = new TestRoster(nodeA, nodeB, nodeC);
  const b = await openTransport(nodeB, roster);
  const thief = await openTransport({ ...nodeC, clientKey: nodeA.clientKey }, roster);
  try {
    thief.setPeer(nodeB.nodeId, [addressOf(b)]);
    thief.want(nodeB.nodeId);
    await until(() => b.pathTo(nodeA.nodeId) !== undefined);
    strictEqual(b.pathTo(nodeC.nodeId), undefined);
    // The owner gets another key: what was made with the old one ends.
    roster.nodes[0] = { ...nodeA, clientKey: testKey() };
    b.recheckKeys();
    strictEqual(b.pathTo(nodeA.nodeId), undefined);
    await until(() => thief.pathTo(nodeB.nodeId) === undefined);
  } finally {
    await closeAll(b, thief);
  }
});

Deno.test("SshTransport.removePeer() ends the connections of a peer, whoever made them", async () => {
  const [nodeA, nodeB] = [testNode("a"), testNode("b")];
  const roster = new TestRoster(nodeA, nodeB);
  const a = await openTransport(nodeA, roster);
  const b = await openTransport(nodeB, roster);
  try {
    a.setPeer(nodeB.nodeId, [addressOf(b)]);
    a.want(nodeB.nodeId);
    await until(() => b.pathTo(nodeA.nodeId) !== undefined);
    b.removePeer(nodeA.nodeId);
    strictEqual(b.pathTo(nodeA.nodeId), undefined);
    await until(() => a.pathTo(nodeB.nodeId) === undefined);
    a.removePeer(nodeB.nodeId);
    a.want(nodeB.nodeId);
    strictEqual(a.pathTo(nodeB.nodeId), undefined);
  } finally {
    await closeAll(a, b);
  }
});

Deno.test("SshTransport bounds what waits for a receiver that does not read, and counts the rest", async () => {
  const [nodeA, nodeB] = [testNode("a"), testNode("b")];
  const roster = new TestRoster(nodeA, nodeB);
  const maxQueuedBytes = 200_000;
  const a = await openTransport(nodeA, roster, { maxQueuedBytes });
  try {
    // B is a client that never takes what the channel's window lets through.
    const socket = connect({ host: "127.0.0.1", port: a.port! });
    const connection = await SshClientConnection.open({
      socket,
      user: "b",
      privateKey: nodeB.clientKey.privateText,
      hostKeys: [nodeA.hostKey.publicKey],
    });
    const stream = await connection.openService();
    socket.pause();
    await until(() => a.pathTo(nodeB.nodeId) !== undefined);
    const path = a.pathTo(nodeB.nodeId)!;
    const datagram = new Uint8Array(1_400);
    let taken = 0;
    for (let turn = 0; turn < 400; turn++) {
      for (let i = 0; i < 64; i++) if (a.send(datagram, path)) taken += datagram.length;
      strictEqual(a.queuedBytes(path)! <= maxQueuedBytes + 2 * 65_536, true);
      await new Promise((resolve) => setImmediate(resolve));
    }
    ok(a.drops.queueFull > 1_000, `${a.drops.queueFull} dropped`);
    ok(taken < 16_000_000, `${taken} bytes taken, of 36 MB, by queue, window and system`);
    strictEqual(a.drops.noConnection, 0);
    stream.close();
    await until(() => a.pathTo(nodeB.nodeId) === undefined);
  } finally {
    await a.close();
  }
});

Deno.test("SshTransport ends a connection whose stream is no sequence of datagrams", async () => {
  const [nodeA, nodeB] = [testNode("a"), testNode("b")];
  const a = await openTransport(nodeA, new TestRoster(nodeA, nodeB));
  try {
    const connection = await SshClientConnection.open({
      socket: connect({ host: "127.0.0.1", port: a.port! }),
      user: "b",
      privateKey: nodeB.clientKey.privateText,
      hostKeys: [nodeA.hostKey.publicKey],
    });
    const stream = await connection.openService();
    let isClosed = false;
    stream.start({ data: () => {}, closed: () => isClosed = true });
    await until(() => a.pathTo(nodeB.nodeId) !== undefined);
    stream.write(Uint8Array.of(1, 0, 7, 0, 0, 1, 0, 8), () => {});
    await until(() => isClosed);
    strictEqual(a.pathTo(nodeB.nodeId), undefined);
  } finally {
    await a.close();
  }
});

Deno.test("SshTransport lets strangers have few sockets, and the latest of them a chance", async () => {
  const [nodeA, nodeB] = [testNode("a"), testNode("b")];
  const roster = new TestRoster(nodeA, nodeB);
  const a = await openTransport(nodeA, roster);
  const b = await openTransport(nodeB, roster, { listen: undefined });
  const strangers = Array.from(
    { length: 80 },
    () => connect({ host: "127.0.0.1", port: a.port! }).on("error", () => {}).resume(),
  );
  try {
    await until(() => strangers.filter((socket) => socket.destroyed).length >= 16);
    b.setPeer(nodeA.nodeId, [addressOf(a)]);
    b.want(nodeA.nodeId);
    await until(() => a.pathTo(nodeB.nodeId) !== undefined);
  } finally {
    for (const socket of strangers) socket.destroy();
    await closeAll(a, b);
  }
});

Deno.test("SshTransport closes what has been idle for long", async () => {
  const [nodeA, nodeB] = [testNode("a"), testNode("b")];
  const roster = new TestRoster(nodeA, nodeB);
  const clock = new FakeClock();
  const b = await openTransport(nodeB, roster);
  const a = await openTransport(nodeA, roster, { listen: undefined, clock });
  try {
    a.setPeer(nodeB.nodeId, [addressOf(b)]);
    a.want(nodeB.nodeId);
    await until(() => a.pathTo(nodeB.nodeId) !== undefined);
    clock.advance(200_000);
    a.send(Uint8Array.of(1), a.pathTo(nodeB.nodeId)!);
    clock.advance(290_000);
    ok(a.pathTo(nodeB.nodeId) !== undefined, "it carried something since");
    clock.advance(30_000);
    strictEqual(a.pathTo(nodeB.nodeId), undefined);
    await until(() => b.pathTo(nodeA.nodeId) === undefined);
  } finally {
    await closeAll(a, b);
  }
});

Deno.test("SshTransport lets nobody in who knows a member's public key and cannot sign with it", async () => {
  const [nodeA, nodeB] = [testNode("a"), testNode("b")];
  const a = await openTransport(nodeA, new TestRoster(nodeA, nodeB));
  const { Client, BaseAgent, utils } = ssh2;
  const parse = (text: string) => utils.parseKey(text);
  let signed = 0;
  class Forger extends BaseAgent {
    getIdentities(done: (error: undefined, keys: unknown[]) => void) {
      done(undefined, [parse(nodeB.clientKey.privateText)]);
    }
    sign(
      _key: unknown,
      data: Uint8Array,
      _options: unknown,
      done: (error: undefined, signature: unknown) => void,
    ) {
      signed++;
      done(undefined, parse(nodeA.clientKey.privateText).sign(data));
    }
  }
  try {
    const outcome = await new Promise<string>((resolve) => {
      const client = new Client();
      client.on("ready", () => resolve("let in")).on("error", ({ level }: { level: string }) => {
        client.destroy();
        resolve(level);
      });
      client.connect({
        host: "127.0.0.1",
        port: a.port,
        username: "b",
        agent: new Forger(),
        authHandler: ["agent"],
      });
    });
    strictEqual(outcome, "client-authentication");
    strictEqual(signed, 1, "the key itself was welcome");
    strictEqual(a.pathTo(nodeB.nodeId), undefined);
  } finally {
    await a.close();
  }
});
