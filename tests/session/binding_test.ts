/**
 * A session and the path it belongs to: confirming, straying, healing.
 *
 * @module
 */

import { deepStrictEqual, ok, strictEqual } from "node:assert/strict";
import { isData } from "../../lib/wire/datagram.ts";
import { INITIATION, session } from "./handshake_scene.ts";
import { type Flight, type Node, World } from "./world.ts";

/** Where a node's session is bound to. */
function boundTo(node: Node, peer: Node): string | undefined {
  return node.peer(peer).current?.path?.remote;
}

/** What went out since, by type, as `from>to`. */
function since(world: World, from: number, type: number): string[] {
  return world.log.slice(from).filter((flight) => flight.datagram[0] === type)
    .map((flight) => `${flight.from}>${flight.to}`);
}

Deno.test("T19: data with a spoofed source costs 0 AEAD calls and changes nothing", () => {
  const [world, a, b] = session();
  const recorded = world.log.filter((flight) => flight.to === "b" && isData(flight.datagram));
  b.aead.opens = 0;
  for (const { datagram } of recorded) {
    for (let i = 0; i < 100; i++) b.receive(datagram, `x${i}`);
  }
  strictEqual(b.aead.opens, 0);
  strictEqual(b.dropped("wrong-path"), 100 * recorded.length);
  strictEqual(boundTo(b, a), "a");
  strictEqual(world.logged(INITIATION).length, 1, "replays prompt nothing: not above the highest");
});

Deno.test("T19: data from another own address is another path, too", () => {
  const [world, a, b] = session();
  a.send(b, 3);
  const { datagram } = world.log.at(-1)!;
  b.aead.opens = 0;
  b.endpoint = "b2";
  b.receive(datagram, "a");
  b.endpoint = "b";
  deepStrictEqual([b.aead.opens, b.dropped("wrong-path")], [0, 1]);
});

Deno.test("A rebound NAT heals by a handshake in about one round trip", () => {
  const [world, a, b] = session();
  // What a sends comes from elsewhere now, and nothing for the old place reaches it.
  world.wire = (flight) => {
    if (flight.from === "a") return [{ ...flight, from: "a2" }];
    return flight.to === "a2" ? [{ ...flight, to: "a" }] : [];
  };
  const before = world.log.length;
  a.send(b, 3); // lost to the binding; it is what prompts the handshake
  world.run(10);
  deepStrictEqual(since(world, before, INITIATION), ["b>a2", "b>a"], "both ends alike");
  strictEqual(boundTo(b, a), "a", "the bound path stays until the new keypair is confirmed");
  world.run(20);
  strictEqual(boundTo(b, a), "a2");
  b.send(a, 4);
  world.run(10);
  a.send(b, 5);
  world.run(10);
  deepStrictEqual([a.delivered, b.delivered], [[2, 4], [1, 5]]);
  strictEqual(b.peer(a).handshakes, 2);
});

Deno.test("Straying data prompts three initiations per peer in 5 s, a quarter of a second apart", () => {
  const [world, a, b] = session();
  world.wire = () => [];
  const before = world.log.length;
  a.send(b, 3);
  const { datagram } = world.log.at(-1)!;
  const strayed = () =>
    since(world, before, INITIATION).filter((way) => way.includes("x")).map((way) => way.slice(3));
  for (let i = 0; i < 1_000; i++) b.receive(datagram, `x${i}`);
  deepStrictEqual(strayed(), ["0"]);
  deepStrictEqual(since(world, before, INITIATION), ["b>x0", "b>a"]);
  strictEqual(b.dropped("rate-limited"), 999);
  const rows: [waitMs: number, source: string, isAnswered: boolean, why: string][] = [
    [249, "too soon", false, "the first one may still be answered"],
    [1, "second", true, "it was lost"],
    [249, "too soon again", false, "as before"],
    [1, "third", true, "it was lost again"],
    [4_499, "fourth", false, "no more in these five seconds"],
    [1, "new", true, "but in the next"],
    [10, "newer", false, "where it begins with one"],
  ];
  for (const [waitMs, source, isAnswered, why] of rows) {
    world.clock.advance(waitMs);
    b.receive(datagram, `x ${source}`);
    strictEqual(strayed().includes(` ${source}`), isAnswered, `${source}: ${why}`);
  }
  strictEqual(strayed().length, 4);
});

Deno.test("A healing initiation that was lost is repeated by what strays next", () => {
  const [world, a, b] = session();
  let lost = 0;
  world.wire = (flight) => {
    if (flight.from === "a") return [{ ...flight, from: "a2" }];
    if (flight.to !== "a2") return [];
    const isLost = flight.datagram[0] === INITIATION && lost++ < 2;
    return isLost ? [] : [{ ...flight, to: "a" }];
  };
  const startedAt = world.clock.now();
  for (let i = 0; i < 100 && boundTo(b, a) !== "a2"; i++) {
    a.send(b, 3);
    world.run(10);
  }
  const took = world.clock.now() - startedAt;
  ok(took >= 500 && took < 600, `${took} ms`);
});

Deno.test("Straying data repeats the initiation that is outstanding", () => {
  const [world, a, b] = session();
  world.wire = () => [];
  b.act(b.sessions.renew(a.nodeId, world.clock.now()));
  const outstanding = world.log.at(-1)!.datagram;
  a.send(b, 3);
  b.receive(world.log.at(-1)!.datagram, "x");
  const [toStray, toBound] = world.log.slice(-2);
  deepStrictEqual([toStray!.to, toBound!.to], ["x", "a"]);
  deepStrictEqual(toStray!.datagram, outstanding);
  deepStrictEqual(toBound!.datagram, outstanding);
});

Deno.test("Straying data of all peers prompts ten initiations per second", () => {
  const world = new World();
  const hub = world.node("hub");
  const peers = Array.from({ length: 25 }, (_, i) => world.node(`peer${i}`));
  for (const peer of peers) {
    peer.knows(hub);
    hub.knows(peer);
    peer.send(hub, 1);
  }
  world.run(50);
  const before = world.log.length;
  world.wire = () => [];
  for (const peer of peers) {
    peer.send(hub, 2);
    hub.receive(world.log.at(-1)!.datagram, "x");
  }
  const healed = () => since(world, before, INITIATION).filter((way) => way === "hub>x").length;
  strictEqual(healed(), 10);
  world.clock.advance(999);
  hub.receive(world.log.filter((flight) => flight.from === "peer24").at(-1)!.datagram, "x");
  strictEqual(healed(), 10);
});

Deno.test("Straying data of an old keypair, or behind its counter, prompts nothing", () => {
  const [world, a, b] = session();
  a.send(b, 3);
  const old = world.log.at(-1)!.datagram;
  world.run(50);
  const before = world.logged(INITIATION).length;
  b.receive(old, "x");
  strictEqual(world.logged(INITIATION).length, before, "behind its counter");
  a.send(b, 4);
  const ahead = world.log.at(-1)!.datagram;
  b.act(b.sessions.renew(a.nodeId, world.clock.now()));
  world.wire = (flight) => flight.datagram === ahead ? [] : [flight];
  world.run(5);
  world.clock.advance(100);
  const then = world.logged(INITIATION).length;
  b.receive(ahead, "x");
  strictEqual(world.logged(INITIATION).length, then, "its keypair is not current any more");
  // Nor if a data plane says so that has not heard of it yet.
  const outdated = b.peer(a).keypairs[0]!;
  deepStrictEqual(b.sessions.strayed(outdated, b.pathTo("x"), world.clock.now()), []);
});

Deno.test("Straying data never prompts an initiation to where it may not go", () => {
  const [world, a, b] = session({ mayHealTo: (path) => !path.remote.startsWith("127.") });
  a.send(b, 3);
  const { datagram } = world.log.at(-1)!;
  const before = world.logged(INITIATION).length;
  b.receive(datagram, "127.0.0.1");
  strictEqual(world.logged(INITIATION).length, before);
  b.receive(datagram, "192.0.2.1");
  strictEqual(world.logged(INITIATION).length, before + 2, "the ban took nothing of the limit");
});

Deno.test("Under roam nothing strays: the session follows the newest authentic data", () => {
  const [world, a, b] = session({ binding: "roam" });
  a.endpoint = "a2";
  a.send(b, 3);
  world.run(50);
  strictEqual(boundTo(b, a), "a2");
  deepStrictEqual(b.delivered, [1, 3]);
  strictEqual(world.logged(INITIATION).length, 1);
});

Deno.test("The initiator is bound to the path that the first response came by", () => {
  const world = new World();
  const [a, b] = world.pair();
  a.candidates.set(b.nodeId, ["slow", "fast"]);
  // Both reach b; what b answers comes back from where it was asked.
  world.wire = (flight) =>
    flight.to === "slow" || flight.to === "fast"
      ? [{ ...flight, from: `via-${flight.to}`, to: "b", delayMs: flight.to === "slow" ? 40 : 5 }]
      : flight.to.startsWith("via-")
      ? [{ ...flight, from: flight.to.slice(4), to: "a", delayMs: 5 }]
      : [flight];
  a.send(b, 1);
  world.run(200);
  strictEqual(boundTo(a, b), "fast");
  strictEqual(boundTo(b, a), "via-fast");
  deepStrictEqual(b.delivered, [1]);
  strictEqual(b.crypto.counts.dh, 4, "the second copy cost none");
});

Deno.test("The responder is bound by the first data, among the paths the initiation came by", () => {
  const world = new World();
  const [a, b] = world.pair();
  const held: Flight[] = [];
  world.wire = (flight) => isData(flight.datagram) ? (held.push(flight), []) : [flight];
  a.send(b, 1);
  world.deliver({ ...world.logged(INITIATION)[0]!, from: "a2" });
  world.run(50);
  const [data] = held;
  b.receive(data!.datagram, "a3");
  strictEqual(b.peer(a).current, undefined, "a3 never sent the initiation");
  strictEqual(b.dropped("wrong-path"), 1);
  b.receive(data!.datagram, "a2");
  strictEqual(boundTo(b, a), "a2");
  deepStrictEqual(b.delivered, [1]);
  // "after confirmation they no longer change the binding"
  world.deliver({ ...world.logged(INITIATION)[0]!, from: "a4" });
  world.run(50);
  strictEqual(boundTo(b, a), "a2");
  deepStrictEqual(b.peer(a).current!.unconfirmedPaths, []);
});

Deno.test("A session of allowed-peers has one path: the first", () => {
  const world = new World();
  const [a, b] = world.pair({ profile: "allowed-peers" }, { profile: "allowed-peers" });
  world.wire = (flight) => isData(flight.datagram) ? [] : [flight];
  a.send(b, 1);
  world.deliver({ ...world.logged(INITIATION)[0]!, from: "a2" });
  world.run(50);
  deepStrictEqual(b.peer(a).keypairs[0]!.unconfirmedPaths.map((path) => path.remote), ["a"]);
});

Deno.test("Sessions.renew() over one path tries that path alone, and gives it up quietly", () => {
  const [world, a, b] = session();
  const before = world.log.length;
  a.act(a.sessions.renew(b.nodeId, world.clock.now(), a.pathTo("nowhere")));
  world.run(3_000);
  deepStrictEqual(since(world, before, INITIATION), ["a>nowhere"]);
  strictEqual(a.peer(b).outstanding, undefined);
  strictEqual(a.gaveUp.length, 0);
  a.send(b, 3);
  world.run(50);
  ok(b.delivered.includes(3));
});

Deno.test("A stolen SSH key carries a thief's datagrams, and makes no session in the owner's name", () => {
  const world = new World();
  const [a, b] = world.pair();
  const thief = world.node("thief");
  for (const other of [a, b]) {
    thief.knows(other);
    other.knows(thief);
  }
  world.wire = () => [];
  // For b this is a's connection: it was made with a's key.
  const stolen = { kind: "ssh", key: "ssh 1", remote: "ssh a" } as const;
  thief.send(b, 1);
  const [own] = world.logged(INITIATION);
  const now = world.clock.now();
  const actions = b.sessions.receive(own!.datagram, stolen, now);
  deepStrictEqual(
    actions.map((action) =>
      "peer" in action ? action.peer : "keypair" in action ? action.keypair.peer : action.kind
    ),
    [thief.nodeId, thief.nodeId],
    "whoever handshakes is who their static key says",
  );
  strictEqual(b.peer(a).keypairs.length, 0);
  // What b says to the owner by that connection, the thief can neither answer nor pass off as read.
  b.send(a, 2);
  const toOwner = world.logged(INITIATION).find(({ from }) => from === "b")!;
  const answer = thief.sessions.receive(toOwner.datagram, stolen, now);
  deepStrictEqual(answer, [{ kind: "drop", reason: "bad-mac1" }]);
  strictEqual(b.peer(a).current, undefined);
});

Deno.test("A connection made with one member's SSH key carries no handshake and no data of another's", () => {
  const world = new World();
  const [a, b] = world.pair();
  world.wire = () => [];
  const ofC = { kind: "ssh", key: "ssh 1", remote: "ssh c", nodeId: "c".repeat(64) } as const;
  const wrongPath = [{ kind: "drop", reason: "wrong-path" }];
  // Whoever has C's key reads what A sends elsewhere, and hands it on: all of it is genuine.
  a.send(b, 1);
  const now = world.clock.now();
  const [initiation] = world.logged(INITIATION);
  deepStrictEqual(b.sessions.receive(initiation!.datagram, ofC, now), wrongPath);
  strictEqual(b.peer(a).keypairs.length, 0);
  world.wire = (flight) => [flight];
  world.clock.advance(1_500);
  world.run(50);
  const answered = world.logged(INITIATION).at(-1)!;
  deepStrictEqual(b.sessions.receive(answered.datagram, ofC, world.clock.now()), wrongPath);
  deepStrictEqual(b.delivered, [1], "by the way that is theirs");
  strictEqual(boundTo(b, a), "a");
  const strayed = b.sessions.strayed(b.peer(a).current!, ofC, world.clock.now());
  deepStrictEqual(strayed, [], "nor is anybody sought there");
});

Deno.test("A response by the connection of another member completes no handshake", () => {
  const world = new World();
  const [a, b] = world.pair();
  const ofC = { kind: "ssh", key: "ssh 1", remote: "ssh c", nodeId: "c".repeat(64) } as const;
  world.wire = (flight) => flight.from === "a" ? [flight] : [];
  a.send(b, 1);
  world.run(10);
  const response = world.log.find(({ from }) => from === "b")!;
  const actions = a.sessions.receive(response.datagram, ofC, world.clock.now());
  deepStrictEqual(actions, [{ kind: "drop", reason: "wrong-path" }]);
  strictEqual(a.peer(b).current, undefined);
  a.act(a.sessions.receive(response.datagram, a.pathTo("b"), world.clock.now()));
  strictEqual(boundTo(a, b), "b", "the handshake is as it was");
});
