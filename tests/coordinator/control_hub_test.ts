/**
 * Threat T37 (control channel: replays, invites, rotated tokens, clones) and the manners of the hub:
 * deltas, presence, heartbeats, PSK epochs.
 *
 * @module
 */

import { deepStrictEqual, notDeepStrictEqual, ok, strictEqual } from "node:assert/strict";
import { newKeyId } from "../../lib/session/discovery.ts";
import { encodeClientMessage } from "../../lib/wire/client_message.ts";
import type { Psks } from "../../lib/wire/server_message.ts";
import { MemoryMesh, refusedFor } from "./memory_mesh.ts";
import { credentialOf, helloOf, SimulatedAgent } from "./simulated_agent.ts";

/** An agent that plays recorded messages. */
class Recording extends SimulatedAgent {
  readonly #messages: Uint8Array[];

  constructor(token: string, messages: Uint8Array[]) {
    super({ token, hello: helloOf("nobody") });
    this.#messages = messages;
  }

  override opened(wire: Parameters<SimulatedAgent["opened"]>[0]): void {
    for (const message of this.#messages) wire.send(message);
  }

  override received(): void {}
}

Deno.test("T37: a replayed message 1 spends, stores and displaces nothing", () => {
  const mesh = new MemoryMesh();
  const invite = mesh.invite();
  const late = new SimulatedAgent({ token: invite, hello: helloOf("late") });
  late.opened({ send() {}, close() {} }); // message 1 is recorded, and never arrives
  const before = mesh.store.load();
  for (let i = 0; i < 50; i++) mesh.connect(new Recording(invite, late.sent));
  deepStrictEqual(mesh.store.load(), before, "the invite is not spent, nobody is registered");

  const member = mesh.join("member", { token: invite });
  strictEqual(refusedFor(member), undefined, "the invite was still good");
  for (let i = 0; i < 50; i++) {
    strictEqual(refusedFor(mesh.connect(new Recording(mesh.token, member.sent))), "bad-handshake");
  }
  const back = mesh.reconnect(member);
  const after = mesh.store.load();
  for (let i = 0; i < 50; i++) mesh.connect(new Recording(mesh.token, back.sent.slice(0, 1)));
  strictEqual(back.closed, undefined, "the live connection is not displaced");
  deepStrictEqual(mesh.store.load(), after);
});

Deno.test("T37: a spent invite serves its own key until that key's first connection as a member", () => {
  const mesh = new MemoryMesh();
  const invite = mesh.invite();
  const a = mesh.join("a", { token: invite });
  strictEqual(refusedFor(mesh.join("b", { token: invite })), "token-spent");
  const other = mesh.join("c");
  strictEqual(
    refusedFor(mesh.join("c", { token: invite, staticKey: other.staticKey })),
    "token-spent",
    "another node that has not come back as a member either",
  );
  const again = mesh.join("a", { token: invite, staticKey: a.staticKey });
  strictEqual(refusedFor(again), undefined, "its welcome may have been lost");
  deepStrictEqual(again.said("welcome")!.addresses, a.said("welcome")!.addresses);
  const member = mesh.reconnect(a);
  strictEqual(refusedFor(member), undefined);
  strictEqual(refusedFor(mesh.join("a", { token: invite, staticKey: a.staticKey })), "token-spent");
  strictEqual(member.closed, undefined, "and the member is not disturbed");
});

Deno.test("T37: an expired invite and a rotated token say so; members stay", () => {
  const mesh = new MemoryMesh();
  const token = mesh.token;
  const invite = mesh.invite();
  const a = mesh.join("a");
  mesh.clock.stepUnix(3_600_000);
  strictEqual(refusedFor(mesh.join("b", { token: invite })), "token-expired");
  mesh.tokens.rotate(mesh.clock.unixNow());
  notDeepStrictEqual(mesh.token, token);
  strictEqual(refusedFor(mesh.join("b", { token })), "token-rotated");
  strictEqual(refusedFor(mesh.join("b")), undefined, "the new token admits");
  strictEqual(a.closed, undefined);
  a.hangUp();
  mesh.run();
  strictEqual(refusedFor(mesh.reconnect(a)), undefined, "a rotation stops no member");
  const restarted = mesh.restarted();
  strictEqual(refusedFor(restarted.join("c", { token })), "token-rotated", "for good");
});

Deno.test("T37: wrong secrets and strangers are refused, each with its reason", () => {
  const mesh = new MemoryMesh();
  const other = new MemoryMesh({ staticKey: mesh.staticKey });
  strictEqual(refusedFor(mesh.join("a", { token: other.token })), "bad-handshake", "another mesh");
  strictEqual(refusedFor(mesh.join("a", { token: new MemoryMesh().token })), "bad-handshake");
  const { credential } = credentialOf(other.token);
  const stranger = () => new SimulatedAgent({ token: mesh.token, hello: helloOf("a"), credential });
  strictEqual(refusedFor(mesh.connect(stranger())), "unknown-token");

  const a = mesh.join("a");
  a.hangUp();
  mesh.run();
  const notMember = new SimulatedAgent({
    token: mesh.token,
    hello: helloOf("x"),
    credential: { kind: "member", psk: a.said("welcome")!.memberPsk },
  });
  strictEqual(refusedFor(mesh.connect(notMember)), "not-a-member", "the PSK is of another key");
  let failure: unknown;
  try {
    mesh.reconnect(a, {}, new Uint8Array(32).fill(1));
  } catch (error) {
    failure = error;
  }
  ok(String(failure).includes("could not prove"), "the client sees that the PSK differs");
  strictEqual(mesh.hub.onlineCount, 0);
});

Deno.test("T37: the newest connection of a key wins; a clone shows as flapping and stops both", () => {
  const mesh = new MemoryMesh();
  const a = mesh.join("a");
  const observer = mesh.join("observer");
  const second = mesh.reconnect(a);
  strictEqual(refusedFor(a), "newer-connection");
  strictEqual(second.closed, undefined);
  const third = mesh.reconnect(a);
  strictEqual(refusedFor(second), "newer-connection");
  const fourth = mesh.reconnect(a);
  strictEqual(refusedFor(third), "cloned", "three times in a minute");
  strictEqual(refusedFor(fourth), "cloned", "both");
  ok(
    mesh.logged.some(([level, message]) => level === "warning" && message.startsWith("cloned")),
    "the log says so",
  );
  strictEqual(observer.online.size, 1);
  strictEqual(refusedFor(mesh.reconnect(a)), "cloned", "for the rest of the minute");
  mesh.clock.advance(60_000);
  observer.say({ kind: "heartbeat" });
  strictEqual(refusedFor(mesh.reconnect(a)), undefined);
});

Deno.test("slow displacements are no clone", () => {
  const mesh = new MemoryMesh();
  let a = mesh.join("a");
  for (let i = 0; i < 6; i++) {
    mesh.clock.advance(31_000);
    a = mesh.reconnect(a);
    strictEqual(refusedFor(a), undefined);
  }
});

Deno.test("a reconnecting member gets the delta since its version, or everything", () => {
  const mesh = new MemoryMesh();
  const a = mesh.join("a");
  const b = mesh.join("b");
  const { version, lineage } = a.lastSaid("roster")!;
  a.hangUp();
  mesh.run();
  mesh.join("c");
  b.say({ kind: "leave" });
  mesh.run();

  const delta = mesh.reconnect(a, { rosterVersion: version, rosterLineage: lineage });
  const [told] = delta.heard.filter((message) => message.kind === "roster");
  deepStrictEqual(
    [told!.full, told!.upserts.map((node) => node.name), told!.removes],
    [false, ["c"], [b.said("welcome")!.nodeId]],
  );
  delta.hangUp();
  mesh.run();
  for (
    const [rosterVersion, rosterLineage, why] of [
      [0, lineage, "holds nothing"],
      [version, "another", "another history"],
      [999, lineage, "has seen more than the coordinator: a restored registry"],
    ] as const
  ) {
    const full = mesh.reconnect(a, { rosterVersion, rosterLineage });
    strictEqual(full.said("roster")!.full, true, why);
    deepStrictEqual([...full.roster.values()].map((node) => node.name).sort(), ["a", "c"], why);
    full.hangUp();
    mesh.run();
  }
  const after = mesh.reconnect(a, { rosterVersion: version, rosterLineage: lineage });
  strictEqual(after.said("roster")!.full, true, "the history starts anew for everybody");
});

Deno.test("a change costs each agent the same bytes, however large the mesh", () => {
  const cost = (size: number): number => {
    const mesh = new MemoryMesh();
    const agents = Array.from({ length: size }, (_, i) => mesh.join(`n${i}`));
    mesh.run();
    const before = agents[0]!.receivedBytes;
    mesh.join("newcomer");
    return agents[0]!.receivedBytes - before;
  };
  const [few, many] = [cost(2), cost(40)];
  ok(few > 0 && Math.abs(many - few) < 16, `${few} bytes with 2, ${many} with 40`);
});

Deno.test("many changes at a time are told together", () => {
  const mesh = new MemoryMesh();
  const watcher = mesh.join("watcher");
  const { nodeId } = mesh.join("other").said("welcome")!;
  mesh.hub.setState(nodeId, "disabled");
  mesh.run();
  const bodies = watcher.heard.length;
  for (const state of ["active", "disabled", "active", "disabled", "active"] as const) {
    mesh.hub.setState(nodeId, state);
  }
  mesh.run();
  strictEqual(watcher.heard.length - bodies, 1);
  strictEqual(watcher.lastSaid("roster")!.version, mesh.registry.version);
});

Deno.test("changes that follow each other closely wait for company", () => {
  const mesh = new MemoryMesh();
  const watcher = mesh.join("watcher");
  const mover = mesh.join("mover");
  mesh.run();
  const bodies = watcher.heard.length;
  for (let i = 1; i <= 20; i++) {
    const endpoints = [{ endpoint: `192.0.2.1:${i}`, source: "local" }];
    mover.say({ kind: "endpoints", endpoints });
    mesh.run(1);
  }
  mesh.run();
  strictEqual(watcher.heard.length - bodies, 2, "the first at once, the others together");
  strictEqual(watcher.lastSaid("presence")!.online[0]!.endpoints[0]!.endpoint, "192.0.2.1:20");
});

Deno.test("a member that seeks another one is named to it at once, with where it is", () => {
  const mesh = new MemoryMesh();
  const endpoints = [{ endpoint: "198.51.100.7:41000", source: "discovered" }];
  const a = mesh.join("a");
  const b = mesh.join("b");
  const c = mesh.join("c");
  a.say({ kind: "endpoints", endpoints });
  const { nodeId } = a.said("welcome")!;
  a.say({ kind: "connect", peer: b.said("welcome")!.nodeId });
  mesh.run();
  deepStrictEqual(b.lastSaid("peer-wants"), { kind: "peer-wants", nodeId, endpoints });
  strictEqual(c.lastSaid("peer-wants"), undefined, "nobody else hears of it");
  const heard = a.heard.length;
  a.say({ kind: "connect", peer: "ef".repeat(32) });
  mesh.run();
  strictEqual(a.heard.length, heard, "who is not there is not told, and nor is who asks");
  strictEqual(a.closed, undefined);
});

Deno.test("endpoints travel as presence, and are kept for who is not there", () => {
  const mesh = new MemoryMesh();
  const a = mesh.join("a");
  const b = mesh.join("b");
  const version = b.rosterVersion;
  const endpoints = [{ endpoint: "198.51.100.7:41000", source: "discovered" }];
  a.say({ kind: "endpoints", endpoints });
  mesh.run();
  deepStrictEqual(b.lastSaid("presence")!.online, [
    { nodeId: a.said("welcome")!.nodeId, endpoints },
  ]);
  strictEqual(b.rosterVersion, version, "no roster change");
  a.hangUp();
  mesh.run(31_000);
  deepStrictEqual(mesh.restarted().join("c").peer("a")!.endpoints, endpoints);
});

Deno.test("heartbeats are answered, and three missed ones mean offline", () => {
  const mesh = new MemoryMesh();
  const a = mesh.join("a");
  const b = mesh.join("b");
  for (let i = 0; i < 4; i++) {
    mesh.run(25_000);
    a.say({ kind: "heartbeat" });
  }
  mesh.run();
  strictEqual(a.heard.filter((message) => message.kind === "heartbeat").length, 4);
  strictEqual(refusedFor(b), "timeout");
  strictEqual(refusedFor(a), undefined);
  deepStrictEqual([...a.online], [a.said("welcome")!.nodeId]);
  strictEqual(a.roster.size, 2, "offline is not gone");
});

Deno.test("unknown kinds are counted; a second hello or nonsense ends the connection", () => {
  const mesh = new MemoryMesh();
  const a = mesh.join("a");
  a.sayBody(new TextEncoder().encode('{"kind":"sing"}'));
  mesh.run();
  strictEqual(mesh.hub.counts.unknownKinds, 1);
  strictEqual(refusedFor(a), undefined);
  const rows: [body: Uint8Array, why: string][] = [
    [encodeClientMessage(helloOf("a")), "a second hello"],
    [new TextEncoder().encode('{"kind":"endpoints"}'), "a field is missing"],
    [Uint8Array.of(0xff), "no JSON"],
    [new Uint8Array(0), "empty"],
  ];
  for (const [body, why] of rows) {
    const b = mesh.join("b");
    b.sayBody(body);
    mesh.run();
    strictEqual(refusedFor(b), "bad-message", why);
  }
});

Deno.test("a member that talks without end is refused", () => {
  const mesh = new MemoryMesh();
  const a = mesh.join("a");
  for (let i = 0; i < 700; i++) a.say({ kind: "heartbeat" });
  mesh.run();
  strictEqual(refusedFor(a), "busy");
});

function epochsOf({ previous, current, next }: Psks): (number | undefined)[] {
  return [previous?.epoch, current.epoch, next?.epoch];
}

Deno.test("the next PSK becomes current when all connected members have it, or after 10 minutes", () => {
  const mesh = new MemoryMesh();
  const a = mesh.join("a");
  const b = mesh.join("b");
  const last = () => epochsOf(b.lastSaid("psks")!);
  deepStrictEqual(last(), [undefined, 1, undefined]);
  mesh.epochs.rotate(mesh.clock.unixNow());
  mesh.hub.tellPsks();
  mesh.run();
  deepStrictEqual(last(), [undefined, 1, 2]);
  strictEqual(mesh.epochs.rotate(mesh.clock.unixNow()), false, "one at a time");
  a.say({ kind: "psk-ack", epoch: 2 });
  mesh.run();
  deepStrictEqual(last(), [undefined, 1, 2], "b has not said so yet");
  b.say({ kind: "psk-ack", epoch: 2 });
  mesh.run();
  deepStrictEqual(last(), [1, 2, undefined]);
  const { previous, current } = b.lastSaid("psks")!;
  notDeepStrictEqual(previous!.psk, current.psk);

  mesh.epochs.rotate(mesh.clock.unixNow());
  mesh.hub.tellPsks();
  for (let minute = 0; minute < 10; minute++) {
    for (const agent of [a, b]) agent.say({ kind: "heartbeat" });
    mesh.run(60_000);
  }
  mesh.run(5_000);
  deepStrictEqual(last(), [2, 3, undefined], "unacknowledged, but ten minutes are over");
  const restarted = mesh.restarted();
  deepStrictEqual(
    epochsOf(restarted.epochs.psks()),
    [2, 3, undefined],
    "a restart changes nothing",
  );
  deepStrictEqual(restarted.epochs.psks(), mesh.epochs.psks());
  strictEqual(restarted.epochs.advance(mesh.clock.unixNow() + 86_400_000, false), true);
  deepStrictEqual(epochsOf(restarted.epochs.psks()), [undefined, 3, undefined], "after 24 h");
});

Deno.test("every agent has its own discovery key, and gets a new one each day", () => {
  const mesh = new MemoryMesh();
  const a = mesh.join("a");
  const b = mesh.join("b");
  const first = a.said("welcome")!.discovery;
  notDeepStrictEqual(first, b.said("welcome")!.discovery);
  deepStrictEqual(first.id.slice(0, 4), newKeyId(mesh.clock.unixNow()).slice(0, 4));
  for (let i = 0; i < 24 * 60 * 2 && a.said("discovery-key") === undefined; i++) {
    a.say({ kind: "heartbeat" });
    mesh.run(30_000);
  }
  const fresh = a.said("discovery-key")!.discovery;
  deepStrictEqual(fresh.id.slice(0, 4), newKeyId(mesh.clock.unixNow()).slice(0, 4));
  notDeepStrictEqual(fresh.key, first.key);
});
