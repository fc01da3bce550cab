/**
 * What happens to traffic while paths come, go and move: 100 packets per second both ways, and what
 * each event costs. The network loses what is under way on a path that dies; the switch itself must
 * lose nothing.
 *
 * @module
 */

import { deepStrictEqual, ok, strictEqual } from "node:assert/strict";
import { type NatKind, SimulatedNat } from "../fakes/network.ts";
import { FakePeerLinks } from "../fakes/peer_carrier.ts";
import { numbered, numberOf, TestMesh, type TestNode } from "./simulated_mesh.ts";

/** Time between two packets of one direction. */
const EVERY_MS = 10;
const DELAY_MS = 10;
const RELAY_DELAY_MS = 25;
/** How long word of a wanted peer takes from one node to the other. */
const COORDINATOR_MS = 20;

/** Two nodes behind NATs, a relay, and SSH if it is wanted. */
class Scene {
  readonly mesh: TestMesh;
  readonly alice: TestNode;
  readonly bob: TestNode;
  #sent = 0;
  /** When each packet reached either node, by number. */
  readonly #arrivals = new Map<TestNode, Map<number, number>>();

  constructor(
    options: { nats?: readonly (NatKind | undefined)[]; ssh?: boolean; jitterMs?: number } = {},
  ) {
    const { nats = ["restricted", "restricted"], ssh = false, jitterMs = 0 } = options;
    this.mesh = new TestMesh({
      delayMs: DELAY_MS,
      jitterMs,
      seed: 5,
      links: (clock) => {
        const relay = new FakePeerLinks(clock, "relay", RELAY_DELAY_MS);
        if (!ssh) return { relay };
        const links = new FakePeerLinks(clock, "ssh", 15);
        links.dialMs = 100;
        return { relay, ssh: links };
      },
    });
    this.mesh.coordinatorMs = COORDINATOR_MS;
    [this.alice, this.bob] = [this.#add("alice", 1, nats[0]), this.#add("bob", 2, nats[1])];
    this.introduce();
  }

  get relay(): FakePeerLinks {
    return this.mesh.links!.relay!;
  }

  /** Tells both where the other one is now. */
  introduce(): void {
    const { alice, bob } = this;
    for (const [node, peer] of [[alice, bob], [bob, alice]] as const) {
      node.device.upsertPeer(peer.asPeer({ candidates: peer.candidates() }));
    }
  }

  /** Traffic both ways for a while. */
  run(ms: number): void {
    const { clock } = this.mesh;
    const until = clock.now() + ms;
    while (clock.now() < until) {
      const number = numbered(this.#sent++);
      this.alice.send(this.bob, number);
      this.bob.send(this.alice, number);
      clock.advance(EVERY_MS);
    }
  }

  /**
   * Runs traffic for a while from an event on.
   *
   * @returns Packets of that time lost, both directions together, and the longest gap in ms.
   */
  after(event: () => void, ms = 8_000): { lost: number; gapMs: number } {
    const from = this.#sent;
    const startedAt = this.mesh.clock.now();
    event();
    this.run(ms);
    const to = this.#sent;
    this.run(2_000);
    let [lost, gapMs] = [0, 0];
    for (const node of [this.alice, this.bob]) {
      const arrivals = this.#arrivals.get(node)!;
      const moments = [startedAt];
      for (let number = from; number < to; number++) {
        const at = arrivals.get(number);
        if (at === undefined) lost++;
        else moments.push(at);
      }
      moments.sort((x, y) => x - y);
      const gaps = moments.slice(1).map((at, i) => at - moments[i]!);
      gapMs = Math.max(gapMs, ...gaps);
    }
    return { lost, gapMs };
  }

  /** Which kinds of path the two use. */
  get kinds(): string {
    const kindOf = (node: TestNode, peer: TestNode) => node.statusOf(peer).path?.kind;
    return `${kindOf(this.alice, this.bob)} ${kindOf(this.bob, this.alice)}`;
  }

  setUdpBlocked(isBlocked: boolean): void {
    this.alice.host.isUdpBlocked = isBlocked;
  }

  #add(name: string, number: number, kind: NatKind | undefined): TestNode {
    const nat = kind && new SimulatedNat(`198.51.100.${number}`, kind);
    const addresses = nat ? [`10.0.${number}.2`] : [`192.0.2.${number}`];
    const node = this.mesh.add(name, { addresses, ...(nat && { nat }) });
    const arrivals = new Map<number, number>();
    this.#arrivals.set(node, arrivals);
    const push = node.received.push.bind(node.received);
    node.received.push = (...payloads) => {
      for (const payload of payloads) arrivals.set(numberOf(payload), this.mesh.clock.now());
      return push(...payloads);
    };
    return node;
  }
}

Deno.test("a session begins by the relay and moves to UDP without losing a packet", async () => {
  for (const jitterMs of [0, 30]) {
    const scene = new Scene({ jitterMs });
    scene.mesh.coordinatorMs = 100;
    scene.relay.delayMs = 2;
    const { lost } = scene.after(() => {}, 3_000);
    strictEqual(scene.kinds, "udp udp");
    strictEqual(lost, 0);
    ok(scene.relay.carried > 0, "the first packets did not wait for UDP");
    const { promotions, demotions } = scene.alice.statusOf(scene.bob).switches;
    deepStrictEqual([promotions, demotions], [1, 0]);
    await scene.mesh.close();
  }
});

Deno.test("a dead UDP path is left within 2 s of traffic, for SSH or the relay", async () => {
  for (const ssh of [false, true]) {
    const scene = new Scene({ ssh });
    scene.run(3_000);
    strictEqual(scene.kinds, "udp udp");
    const { lost, gapMs } = scene.after(() => scene.setUdpBlocked(true));
    ok(gapMs <= 2_000, `${gapMs} ms`);
    ok(lost <= 2 * 2_000 / EVERY_MS, `${lost} lost`);
    strictEqual(scene.kinds, ssh ? "ssh ssh" : "relay relay");
    strictEqual(scene.alice.statusOf(scene.bob).switches.demotions, 1);
    await scene.mesh.close();
  }
});

Deno.test("UDP that works again is promoted to, and nothing is lost by that", async () => {
  for (const jitterMs of [0, 30]) {
    const scene = new Scene({ jitterMs });
    scene.run(2_000);
    scene.setUdpBlocked(true);
    scene.run(10_000);
    strictEqual(scene.kinds, "relay relay");
    scene.mesh.coordinatorMs = undefined; // the two arrange it by their session
    const { lost } = scene.after(() => scene.setUdpBlocked(false), 20_000);
    strictEqual(scene.kinds, "udp udp");
    strictEqual(lost, 0);
    await scene.mesh.close();
  }
});

Deno.test("a NAT that rebinds costs little more than a round trip", async () => {
  for (const nats of [["restricted", undefined], ["restricted", "full-cone"]] as const) {
    const scene = new Scene({ nats });
    scene.run(3_000);
    strictEqual(scene.kinds, "udp udp");
    const { lost, gapMs } = scene.after(() => scene.alice.host.nat!.rebind());
    ok(gapMs <= 4 * DELAY_MS + 2 * EVERY_MS, `${gapMs} ms`);
    ok(lost <= 2 * gapMs / EVERY_MS, `${lost} lost`);
    strictEqual(scene.kinds, "udp udp");
    await scene.mesh.close();
  }
});

Deno.test("a NAT that rebinds behind two strict NATs heals by the relay and back", async () => {
  const scene = new Scene();
  scene.run(3_000);
  const { lost, gapMs } = scene.after(() => {
    scene.alice.host.nat!.rebind();
    scene.mesh.clock.schedule(scene.mesh.clock.now() + 3_000, () => scene.introduce());
  });
  ok(gapMs <= 2_000, `${gapMs} ms`);
  ok(lost <= 2 * gapMs / EVERY_MS, `${lost} lost`);
  strictEqual(scene.kinds, "udp udp");
  await scene.mesh.close();
});

Deno.test("a node that moves to another network is back in two round trips", async () => {
  const scene = new Scene();
  scene.run(3_000);
  const { lost, gapMs } = scene.after(() => {
    scene.alice.host.move(["10.9.0.2"], new SimulatedNat("203.0.113.9", "restricted"));
    scene.alice.device.renewSessions();
    scene.mesh.clock.schedule(scene.mesh.clock.now() + 50, () => scene.introduce());
  });
  // Initiation, response and the datagram that confirms it; then the other side's first one.
  ok(gapMs <= 4 * RELAY_DELAY_MS + EVERY_MS, `${gapMs} ms`);
  ok(lost <= 2 * gapMs / EVERY_MS, `${lost} lost`);
  strictEqual(scene.kinds, "udp udp");
  await scene.mesh.close();
});

Deno.test("a restart of the coordinator costs direct paths nothing, relayed ones no more than itself", async () => {
  const direct = new Scene();
  direct.run(3_000);
  strictEqual(direct.kinds, "udp udp");
  const restart = (scene: Scene) => () => {
    const { clock } = scene.mesh;
    scene.mesh.coordinatorMs = undefined;
    for (const node of scene.mesh.nodes) scene.relay.setConnected(node.nodeId, false);
    clock.schedule(clock.now() + 3_000, () => {
      scene.mesh.coordinatorMs = COORDINATOR_MS;
      for (const node of scene.mesh.nodes) scene.relay.setConnected(node.nodeId, true);
    });
  };
  const cost = direct.after(restart(direct));
  strictEqual(cost.lost, 0);
  strictEqual(direct.kinds, "udp udp");
  await direct.mesh.close();

  const relayed = new Scene({ nats: ["symmetric", "symmetric"] });
  relayed.run(3_000);
  strictEqual(relayed.kinds, "relay relay");
  const { lost, gapMs } = relayed.after(restart(relayed));
  ok(gapMs <= 3_000 + 500, `${gapMs} ms`);
  ok(lost <= 2 * gapMs / EVERY_MS, `${lost} lost`);
  strictEqual(relayed.kinds, "relay relay");
  await relayed.mesh.close();
});
