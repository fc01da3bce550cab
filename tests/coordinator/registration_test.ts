/**
 * Registrations as agents see them: names, addresses, take-over, removal, a full disk, restarts.
 *
 * @module
 */

import { deepStrictEqual, ok, strictEqual, throws } from "node:assert/strict";
import { nodeIdOf } from "../../lib/coordinator/registry.ts";
import { MeshMismatchError } from "../../lib/coordinator/mesh_identity.ts";
import { generateKeyPair } from "../../lib/crypto/x25519.ts";
import { MemoryMesh, refusedFor } from "./memory_mesh.ts";
import { MemoryStore } from "./memory_store.ts";
import { helloOf, SimulatedAgent } from "./simulated_agent.ts";

/** The SSH key that stands in a statement, as bytes. */
function sshKey(name: string) {
  return {
    sshPublicKey: new TextEncoder().encode(name),
    signature: new TextEncoder().encode("signature"),
    signedAt: 1_800_000_000,
  };
}

function ipv4(agent: SimulatedAgent): string {
  return agent.said("welcome")!.addresses.ipv4;
}

Deno.test("a node that joins learns who it is, and everybody learns of it", () => {
  const mesh = new MemoryMesh();
  const a = mesh.join("a");
  const b = mesh.join("b");
  strictEqual(refusedFor(a) ?? refusedFor(b), undefined);
  const welcome = b.said("welcome")!;
  deepStrictEqual(
    [welcome.nodeId, welcome.name, welcome.addresses.ipv4],
    [nodeIdOf(b.staticKey.publicKey), "b", "100.64.0.2"],
  );
  ok(welcome.addresses.ipv6.endsWith("::2"), welcome.addresses.ipv6);
  deepStrictEqual(b.heard.map((message) => message.kind).slice(0, 4), [
    "welcome",
    "psks",
    "roster",
    "presence",
  ]);
  deepStrictEqual([...a.roster.keys()].sort(), [...b.roster.keys()].sort());
  deepStrictEqual([...a.online].sort(), [...a.roster.keys()].sort());
  deepStrictEqual(a.peer("b")!.endpoints, [{ endpoint: "192.0.2.1:5000", source: "local" }]);
});

Deno.test("names clash by suffix or refusal, and a refused join leaves nothing behind", () => {
  const mesh = new MemoryMesh();
  mesh.join("laptop");
  strictEqual(
    mesh.join("laptop", { hello: { statement: sshKey("x") } }).said("welcome")!.name,
    "laptop-2",
  );
  const explicit = { nameIsExplicit: true, statement: sshKey("y") };
  const before = mesh.store.load();
  for (
    const [name, reason] of [
      ["laptop", "name-taken"],
      ["localhost", "reserved-name"],
      ["lap top", "bad-name"],
    ] as const
  ) {
    strictEqual(refusedFor(mesh.join(name, { hello: explicit })), reason);
  }
  deepStrictEqual(mesh.store.load(), before);
  strictEqual(ipv4(mesh.join("next", { hello: explicit })), "100.64.0.3", "no number was lost");
});

Deno.test("a join without a good statement is refused", () => {
  const mesh = new MemoryMesh({
    verifyStatement: ({ statement, meshId, staticKey, unixSeconds }) =>
      statement.length > 1 && meshId.length === 16 && staticKey.length === 32 && unixSeconds > 0,
  });
  strictEqual(refusedFor(mesh.join("a")), undefined);
  const bad = { ...sshKey("b"), signature: Uint8Array.of(1) };
  strictEqual(refusedFor(mesh.join("b", { hello: { statement: bad } })), "bad-statement");
  const { statement: _, ...bare } = helloOf("c");
  const none = new SimulatedAgent({ token: mesh.token, hello: bare });
  strictEqual(refusedFor(mesh.connect(none)), "bad-statement", "needed to join");
  strictEqual([...mesh.registry.members()].length, 1);
});

Deno.test("the same node keeps its addresses through rejoin, removal, and a restart", () => {
  let mesh = new MemoryMesh();
  const a = mesh.join("a");
  const b = mesh.join("b");
  const again = mesh.join("a", { staticKey: a.staticKey });
  strictEqual(ipv4(again), ipv4(a), "joined twice");
  b.say({ kind: "leave" });
  mesh.run();
  strictEqual(b.closed?.code, 1000);
  strictEqual(again.roster.has(b.said("welcome")!.nodeId), false, "others forget it");
  strictEqual(refusedFor(mesh.reconnect(b)), "removed");
  strictEqual(ipv4(mesh.join("c")), "100.64.0.3", "its number is not given to another");

  mesh = mesh.restarted();
  strictEqual(ipv4(mesh.reconnect(a)), ipv4(a));
  const back = mesh.join("b", { staticKey: b.staticKey });
  deepStrictEqual(back.said("welcome")!.addresses, b.said("welcome")!.addresses);
  strictEqual(back.said("welcome")!.name, "b");
  strictEqual(ipv4(mesh.join("d")), "100.64.0.4");
});

Deno.test("a used-up range refuses, then reuses what was removed first", () => {
  const mesh = new MemoryMesh({ range: "10.9.9.0/29" });
  const agents = [1, 2, 3, 4, 5, 6].map((i) => mesh.join(`n${i}`));
  deepStrictEqual(agents.map(ipv4), [1, 2, 3, 4, 5, 6].map((i) => `10.9.9.${i}`));
  strictEqual(refusedFor(mesh.join("late")), "roster-full");
  for (const i of [3, 1]) {
    agents[i]!.say({ kind: "leave" });
    mesh.run();
  }
  strictEqual(ipv4(mesh.join("late")), "10.9.9.4", "n4 left first");
  const back = mesh.join("n4", { staticKey: agents[3]!.staticKey });
  strictEqual(ipv4(back), "10.9.9.2", "its own is gone, so the next one");
  strictEqual(refusedFor(mesh.join("later")), "roster-full");
});

Deno.test("an offline node's name and addresses go to the same SSH key only", () => {
  const mesh = new MemoryMesh();
  const old = mesh.join("box", { hello: { statement: sshKey("mine") } });
  const twin = mesh.join("box", { hello: { statement: sshKey("mine") } });
  strictEqual(twin.said("welcome")!.name, "box-2", "the first one is online: two nodes, one key");
  old.hangUp();
  mesh.run();

  const stranger = mesh.join("box", { hello: { statement: sshKey("other") } });
  strictEqual(stranger.said("welcome")!.name, "box-3", "another key: no take-over");
  const reinstalled = mesh.join("box", { hello: { statement: sshKey("mine") } });
  strictEqual(reinstalled.said("welcome")!.name, "box");
  deepStrictEqual(reinstalled.said("welcome")!.addresses, old.said("welcome")!.addresses);
  strictEqual(twin.roster.has(old.said("welcome")!.nodeId), false, "the old node is removed");
  ok(mesh.logged.some(([level, message]) => level === "warning" && message.includes("took over")));
  strictEqual(refusedFor(mesh.reconnect(old)), "removed");
});

Deno.test("after a restart nobody is taken for offline too early", () => {
  let mesh = new MemoryMesh();
  mesh.join("box", { hello: { statement: sshKey("mine") } });
  mesh = mesh.restarted();
  const early = mesh.join("box", { hello: { statement: sshKey("mine") } });
  strictEqual(early.said("welcome")!.name, "box-2", "the first may still be running");
  mesh.clock.advance(80_000);
  const late = mesh.join("box", { hello: { statement: sshKey("mine") } });
  strictEqual(late.said("welcome")!.name, "box");
});

Deno.test("a disabled node is out at once, and a new static key does not get it in as itself", () => {
  const mesh = new MemoryMesh();
  const a = mesh.join("a", { hello: { statement: sshKey("mine") } });
  const b = mesh.join("b");
  const nodeId = a.said("welcome")!.nodeId;
  mesh.hub.setState(nodeId, "disabled");
  mesh.run();
  strictEqual(refusedFor(a), "disabled");
  strictEqual(b.roster.has(nodeId), false);
  strictEqual(refusedFor(mesh.reconnect(a)), "disabled");
  strictEqual(
    refusedFor(mesh.join("a", { staticKey: a.staticKey })),
    "disabled",
    "by token either",
  );
  const again = mesh.join("a", { hello: { statement: sshKey("mine") } });
  strictEqual(again.said("welcome")!.name, "a-2", "no take-over of a disabled node");
  mesh.registry.setState(nodeId, "active");
  strictEqual(refusedFor(mesh.reconnect(a)), undefined);
});

Deno.test("a full disk fails a registration cleanly and disturbs nobody", () => {
  const store = new MemoryStore();
  const mesh = new MemoryMesh({ store });
  const a = mesh.join("a");
  const before = store.load();
  store.isFull = true;
  const invited = mesh.join("b");
  strictEqual(refusedFor(invited), "storage-failure");
  deepStrictEqual(store.load(), before);
  strictEqual([...mesh.registry.members()].length, 1);
  a.say({ kind: "heartbeat" });
  mesh.run(31_000);
  strictEqual(refusedFor(a), undefined, "members stay, unsaved times and all");
  a.say({ kind: "leave" });
  mesh.run();
  strictEqual(refusedFor(a), "storage-failure", "a leave that cannot be kept is not pretended");
  strictEqual(refusedFor(mesh.reconnect(a)), undefined, "members come back");

  store.isFull = false;
  const late = mesh.join("b");
  strictEqual(ipv4(late), "100.64.0.2", "no number was lost");
});

Deno.test("a member may rename itself, under the same rules", () => {
  const mesh = new MemoryMesh();
  const a = mesh.join("a");
  mesh.join("b");
  strictEqual(refusedFor(mesh.reconnect(a, { name: "b", nameIsExplicit: true })), "name-taken");
  const renamed = mesh.reconnect(a, { name: "desk", nameIsExplicit: true });
  strictEqual(renamed.said("welcome")!.name, "desk");
  strictEqual(mesh.join("a").said("welcome")!.name, "a", "the name it had is free");
  strictEqual(
    mesh.reconnect(a, { name: "host" }).said("welcome")!.name,
    "desk",
    "a host name is no wish",
  );
});

Deno.test("openMesh() refuses another static key or range, and founds nothing then", () => {
  const mesh = new MemoryMesh();
  const { store, secretBytes: secret, staticKey } = mesh;
  throws(
    () => new MemoryMesh({ store, secret, staticKey: generateKeyPair() }),
    MeshMismatchError,
  );
  throws(() => new MemoryMesh({ store, secret, staticKey, range: "10.0.0.0/8" }), {
    message: /100\.64\.0\.0\/10.*--range/s,
  });
  throws(
    () => new MemoryMesh({ store, staticKey }),
    /secret does not belong/,
    "another coordinator secret",
  );
});
