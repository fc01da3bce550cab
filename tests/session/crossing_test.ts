/**
 * Two handshakes at once, lost and late messages, and that no packet is lost by any of it (T33).
 *
 * @module
 */

import { deepStrictEqual, ok, strictEqual } from "node:assert/strict";
import fc from "fast-check";
import { lowerLimits } from "../../lib/session/limits.ts";
import { dataReceiverIndex, isData } from "../../lib/wire/datagram.ts";
import { seededRandom } from "../fakes/random.ts";
import { INITIATION, RESPONSE } from "./handshake_scene.ts";
import { type Flight, Node, type Wire, World } from "./world.ts";

/** Who wrote message 1 of the keypair that each end sends with. */
function initiators(a: Node, b: Node): (string | undefined)[] {
  const of = (node: Node, peer: Node) => {
    const current = node.peer(peer).current;
    return current && (current.isInitiator ? node.name : peer.name);
  };
  return [of(a, b), of(b, a)];
}

/** Both ends start at the same moment, each with a packet. */
function cross(a: Node, b: Node): void {
  a.send(b, 1);
  b.send(a, 2);
}

Deno.test("T33: handshakes that cross end in the one of the smaller static key, without a retry", () => {
  const world = new World();
  const [a, b] = world.pair();
  cross(a, b);
  world.run(30);
  deepStrictEqual([a.delivered, b.delivered], [[2], [1]], "in one round trip and a half");
  world.run(500);
  deepStrictEqual(initiators(a, b), ["a", "a"]);
  world.run(20_000);
  strictEqual(world.logged(INITIATION).length, 2, "nobody waited for a retry timer");
  deepStrictEqual(initiators(a, b), ["a", "a"]);
});

Deno.test("T33: the loser of a crossing is used until the winner is confirmed", () => {
  const world = new World();
  const [a, b] = world.pair();
  // b's response to a, and so the winner, takes longer.
  world.wire = (flight) =>
    flight.datagram[0] === RESPONSE && flight.from === "b"
      ? [{ ...flight, delayMs: 300 }]
      : [flight];
  cross(a, b);
  world.run(50);
  deepStrictEqual(initiators(a, b), ["b", "b"]);
  deepStrictEqual([a.delivered, b.delivered], [[2], [1]]);
  world.run(400);
  deepStrictEqual(initiators(a, b), ["a", "a"], "the winner takes over");
  a.send(b, 3);
  b.send(a, 4);
  world.run(50);
  deepStrictEqual([a.delivered, b.delivered], [[2, 4], [1, 3]]);
});

/** Which response of a crossing gets lost, and whose handshake serves both then. */
const LOST: [from: string, serving: string][] = [["a", "a"], ["b", "b"]];

Deno.test("T33: a crossing that loses one response needs no retry", () => {
  for (const [from, serving] of LOST) {
    const world = new World();
    const [a, b] = world.pair();
    world.wire = (flight) =>
      flight.datagram[0] === RESPONSE && flight.from === from ? [] : [flight];
    cross(a, b);
    world.run(10_000);
    deepStrictEqual([a.delivered, b.delivered], [[2], [1]], `${from}'s response lost`);
    deepStrictEqual(initiators(a, b), [serving, serving]);
    strictEqual(world.logged(INITIATION).length, 2);
  }
});

Deno.test("T33: a crossing over punched holes, where only repeated initiations get through", () => {
  const world = new World();
  const [a, b] = world.pair();
  // Each end's NAT lets in only what comes from where something went out to before.
  const opened = new Set<string>();
  world.wire = (flight) => {
    opened.add(`${flight.from}>${flight.to}`);
    return opened.has(`${flight.to}>${flight.from}`) ? [flight] : [];
  };
  a.send(b, 1);
  world.run(20);
  b.send(a, 2);
  world.run(100);
  deepStrictEqual([a.delivered, b.delivered], [[2], [1]]);
  world.run(5_000);
  deepStrictEqual(initiators(a, b), ["b", "b"], "a never got an answer to its own");
  strictEqual(world.logged(INITIATION).length, 2);
});

Deno.test("Without a crossing the later handshake wins, whoever started it", () => {
  const world = new World();
  const [a, b] = world.pair();
  a.send(b, 1);
  world.run(100);
  for (const [node, peer] of [[b, a], [a, b], [b, a]] as const) {
    node.act(node.sessions.renew(peer.nodeId, world.clock.now()));
    world.run(100);
    deepStrictEqual(initiators(a, b), [node.name, node.name]);
  }
});

Deno.test("A confirmation that comes late does not bring an older keypair back", () => {
  const world = new World();
  const [a, b] = world.pair();
  let late: Flight | undefined;
  world.wire = (flight) => isData(flight.datagram) ? (late ??= flight, []) : [flight];
  a.act(a.sessions.initiate(b.nodeId, world.clock.now()));
  world.run(50);
  world.wire = (flight) => [flight];
  b.act(b.sessions.renew(a.nodeId, world.clock.now()));
  world.run(50);
  deepStrictEqual(initiators(a, b), ["b", "b"]);
  world.deliver(late!);
  world.run(50);
  deepStrictEqual(initiators(a, b), ["b", "b"]);
  a.send(b, 1);
  b.send(a, 2);
  world.run(50);
  deepStrictEqual([a.delivered, b.delivered], [[2], [1]]);
});

Deno.test("T33: rekeys that lose or reorder any one message lose no packet", () => {
  // The n-th handshake datagram after the start is lost, or comes 150 ms late.
  for (const fate of ["lost", "late"]) {
    for (let nth = 0; nth < 8; nth++) {
      const world = new World(nth);
      const limits = lowerLimits({ rekeyAfterMs: 2_000 });
      const [a, b] = world.pair({ limits }, { limits });
      let count = 0;
      world.wire = (flight) => {
        if (isData(flight.datagram) || count++ !== nth) return [flight];
        return fate === "lost" ? [] : [{ ...flight, delayMs: 150 }];
      };
      const sent: number[] = [];
      for (let i = 0; i < 150; i++) {
        sent.push(i);
        a.send(b, i);
        b.send(a, i);
        world.run(100);
      }
      world.run(1_000);
      deepStrictEqual(a.delivered.toSorted((x, y) => x - y), sent, `${fate} ${nth}`);
      deepStrictEqual(b.delivered.toSorted((x, y) => x - y), sent, `${fate} ${nth}`);
      ok(a.peer(b).handshakes + b.peer(a).handshakes >= 10);
    }
  }
});

// The model: whatever the wire does, what arrives is delivered once, and both ends end up talking.

type Step =
  | { readonly kind: "talk"; readonly from: "a" | "b"; readonly ms: number }
  | { readonly kind: "renew"; readonly from: "a" | "b"; readonly ms: number }
  | { readonly kind: "both-renew"; readonly ms: number }
  | { readonly kind: "outage"; readonly from: "a" | "b" | "both"; readonly ms: number };

const end = fc.constantFrom("a" as const, "b" as const);
/**
 * After a handshake asked for by hand: five within the time that a datagram may be under way would
 * push out the keypair that sealed it, as at most four are kept.
 */
const pause = fc.integer({ min: 500, max: 700 });
const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 8, arbitrary: fc.record({ kind: fc.constant("talk"), from: end, ms: fc.nat(60) }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant("renew"), from: end, ms: pause }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant("both-renew"), ms: pause }) },
  {
    weight: 1,
    arbitrary: fc.record({
      kind: fc.constant("outage"),
      from: fc.constantFrom("a" as const, "b" as const, "both" as const),
      ms: fc.nat(3_500),
    }),
  },
) as fc.Arbitrary<Step>;

const scenario = fc.record({
  seed: fc.nat(1_000_000),
  /** Chances per datagram, in percent. */
  lossPercent: fc.constantFrom(0, 0, 5, 30),
  doublePercent: fc.constantFrom(0, 10, 50),
  /** Up to this much is added to 10 ms, so that datagrams overtake each other. */
  jitterMs: fc.constantFrom(0, 5, 40, 250),
  steps: fc.array(step, { minLength: 10, maxLength: 120 }),
});

/** How bad a wire is. */
interface Roughness {
  readonly lossPercent: number;
  readonly doublePercent: number;
  readonly jitterMs: number;
}

/** A wire with a will of its own, and the bookkeeping of what arrives. */
class RoughWire {
  readonly #random: () => number;
  readonly #scenario: Roughness;
  down: "a" | "b" | "both" | undefined;

  constructor(seed: number, scenario: Roughness) {
    this.#random = seededRandom(seed);
    this.#scenario = scenario;
  }

  readonly wire: Wire = (flight) => {
    if (this.down === "both" || this.down === flight.from) return [];
    if (this.#random() * 100 < this.#scenario.lossPercent) return [];
    const late = () => ({ ...flight, delayMs: 10 + this.#random() * this.#scenario.jitterMs });
    return this.#random() * 100 < this.#scenario.doublePercent ? [late(), late()] : [late()];
  };
}

/** Watches a pair of nodes: what was sealed by what, and what became of it. */
class Watch {
  /**
   * Receiver indices of keypairs that went before their time, as the specification has it: nobody
   * had confirmed it when a newer initiation replaced it, or it was one of five.
   */
  readonly displaced = new Set<number>();
  readonly arrived = new Map<Node, Set<number>>();
  readonly problems: string[] = [];

  constructor(a: Node, b: Node) {
    for (const [node, peer] of [[a, b], [b, a]] as const) {
      this.arrived.set(node, new Set());
      const act = node.act.bind(node);
      node.act = (actions) => {
        for (const action of actions) {
          if (action.kind !== "retire") continue;
          const isSurplus = node.peer(peer).keypairs.length === 4;
          if (action.keypair.isConfirmed && !isSurplus) continue;
          this.displaced.add(action.keypair.localIndex);
        }
        act(actions);
      };
      const receive = node.receive.bind(node);
      node.receive = (datagram, from) => {
        const unknownBefore = node.dropped("unknown-index") + node.dropped("expired-keypair");
        receive(datagram, from);
        if (!isData(datagram)) return;
        const unknown = node.dropped("unknown-index") + node.dropped("expired-keypair");
        if (unknown === unknownBefore || this.displaced.has(dataReceiverIndex(datagram))) return;
        this.problems.push(`${node.name} cannot open what ${peer.name} sealed`);
      };
    }
  }
}

// Who can do this: any network, and anybody who can hold, drop and repeat datagrams.
Deno.test("T33: whatever is lost, late or doubled, what arrives is opened, once, and both recover", () => {
  fc.assert(
    fc.property(scenario, (scenario) => {
      const world = new World(scenario.seed);
      const limits = lowerLimits({ rekeyAfterMs: 1_500, rekeyAfterMessages: 24 });
      const [a, b] = world.pair({ limits }, { limits });
      const rough = new RoughWire(scenario.seed, scenario);
      const watch = new Watch(a, b);
      world.wire = rough.wire;
      let number = 0;
      for (const step of scenario.steps) {
        const now = world.clock.now();
        const [from, to] = "from" in step && step.from === "b" ? [b, a] : [a, b];
        if (step.kind === "talk") from.send(to, number++);
        else if (step.kind === "renew") from.act(from.sessions.renew(to.nodeId, now));
        else if (step.kind === "both-renew") {
          a.act(a.sessions.renew(b.nodeId, now));
          b.act(b.sessions.renew(a.nodeId, now));
        } else rough.down = step.from;
        world.run(step.ms);
        rough.down = undefined;
      }
      // Calm: whatever came before, both can talk within the retry and silence times.
      world.wire = (flight) => [flight];
      a.send(b, number++);
      b.send(a, number++);
      world.run(15_000);
      const [lastOfA, lastOfB] = [number, number + 1];
      a.send(b, lastOfA);
      b.send(a, lastOfB);
      world.run(100);
      ok(b.delivered.includes(lastOfA), "a to b");
      ok(a.delivered.includes(lastOfB), "b to a");
      for (const node of [a, b]) {
        strictEqual(new Set(node.delivered).size, node.delivered.length, "delivered once");
      }
      deepStrictEqual(watch.problems, []);
      ok(a.peer(b).keypairs.length <= 4 && b.peer(a).keypairs.length <= 4);
      const [ofA, ofB] = [a.peer(b).current!, b.peer(a).current!];
      ok(b.keys.has(ofA.remoteIndex) && a.keys.has(ofB.remoteIndex), "each opens the other's");
    }),
    { numRuns: 100 },
  );
});
