/**
 * Two ends of the SSH transport on loopback: the contract of carriers, and who is let in as whom.
 *
 * @module
 */

import { deepStrictEqual, ok, strictEqual } from "node:assert/strict";
import type { SshTransport } from "../../lib/transport/ssh.ts";
import { SshConnectionError } from "../../lib/crypto/ssh_transport.ts";
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
