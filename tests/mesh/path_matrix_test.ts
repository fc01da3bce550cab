/**
 * Every kind of network against every other: which kind of path two nodes end up with, and how long
 * the first packet and the direct path take. In virtual time, with a relay and SSH in memory.
 *
 * @module
 */

import { deepStrictEqual, ok } from "node:assert/strict";
import type { Path } from "../../lib/session/path.ts";
import { type NatKind, SimulatedNat } from "../fakes/network.ts";
import { FakePeerLinks } from "../fakes/peer_carrier.ts";
import { TestMesh, type TestNode } from "./simulated_mesh.ts";

/** What stands between a node and the world. */
const NETWORKS = [
  "none",
  "full-cone",
  "address-restricted",
  "restricted",
  "symmetric",
  "udp-blocked",
  "tcp-443-only",
] as const;
type Network = typeof NETWORKS[number];

/** Row and column in the order of NETWORKS; u: UDP, s: SSH, r: relay. */
const EXPECTED: Record<Network, string> = {
  "none": "uuuuusr",
  "full-cone": "uuuuurr",
  "address-restricted": "uuuuurr",
  "restricted": "uuuurrr",
  "symmetric": "uuurrrr",
  "udp-blocked": "srrrrrr",
  "tcp-443-only": "rrrrrrr",
};

/** How long a direct path may take, and the first packet by whatever way. */
const DIRECT_MS = 3_000;
const FIRST_MS = 1_000;

interface Cell {
  readonly kind: Path["kind"] | undefined;
  readonly firstMs: number | undefined;
  /** When the path of that kind was in use at both ends. */
  readonly settledMs: number | undefined;
  readonly why: string | undefined;
}

const LINES: readonly [name: string, options: { delayMs: number; loss: number }][] = [
  ["2 × 5 ms", { delayMs: 10, loss: 0 }],
  ["2 × 20 ms and 1 % loss", { delayMs: 40, loss: 0.01 }],
];

for (const [name, line] of LINES) {
  Deno.test(`every network reaches every other, by the best kind of path: ${name}`, async () => {
    const wrong: string[] = [];
    for (const a of NETWORKS) {
      for (const [i, b] of NETWORKS.entries()) {
        const cell = await measure(a, b, line);
        const kind = { u: "udp", s: "ssh", r: "relay" }[EXPECTED[a][i]!];
        const { firstMs = Infinity, settledMs = Infinity } = cell;
        if (cell.kind !== kind || firstMs > FIRST_MS || settledMs > DIRECT_MS) {
          wrong.push(`${a} to ${b}: ${JSON.stringify(cell)}, not ${kind}`);
        }
        if ((cell.kind === "udp") !== (cell.why === undefined)) {
          wrong.push(`${a}, ${b}: ${cell.why}`);
        }
      }
    }
    deepStrictEqual(wrong, []);
  });
}

Deno.test("without relay and SSH, simultaneous initiations open what NATs can be opened", async () => {
  const wrong: string[] = [];
  for (const a of NETWORKS.slice(0, 5)) {
    for (const [i, b] of NETWORKS.slice(0, 5).entries()) {
      const cell = await measure(a, b, { delayMs: 10, loss: 0, isAlone: true });
      const isDirect = EXPECTED[a][i] === "u";
      const isWrong = isDirect
        ? cell.kind !== "udp" || cell.firstMs! > FIRST_MS
        : cell.kind !== undefined;
      if (isWrong) wrong.push(`${a} to ${b}: ${JSON.stringify(cell)}`);
    }
  }
  deepStrictEqual(wrong, []);
});

Deno.test("the relay alone brings both ends to open their NATs, without word of the coordinator", async () => {
  const wrong: string[] = [];
  for (const a of NETWORKS.slice(0, 5)) {
    for (const [i, b] of NETWORKS.slice(0, 5).entries()) {
      if (EXPECTED[a][i] !== "u") continue;
      const cell = await measure(a, b, { delayMs: 10, loss: 0, isMute: true });
      if (cell.kind !== "udp" || cell.settledMs! > FIRST_MS) {
        wrong.push(`${a} to ${b}: ${JSON.stringify(cell)}`);
      }
    }
  }
  deepStrictEqual(wrong, []);
});

async function measure(
  a: Network,
  b: Network,
  options: { delayMs: number; loss: number; isAlone?: boolean; isMute?: boolean },
): Promise<Cell> {
  const { isAlone = false, isMute = false, ...line } = options;
  const kinds = new Map<string, Network>();
  const mesh = new TestMesh({
    ...line,
    seed: 7,
    links: (clock) => {
      const ssh = new FakePeerLinks(clock, "ssh", 1.5 * line.delayMs);
      ssh.dialMs = 8 * line.delayMs;
      ssh.allows = (...ends) => {
        const networks = ends.map((nodeId) => kinds.get(nodeId));
        return networks.includes("none") && !networks.includes("tcp-443-only");
      };
      const relay = new FakePeerLinks(clock, "relay", 2 * line.delayMs);
      return isAlone ? {} : { ssh, relay };
    },
  });
  if (!isMute) mesh.coordinatorMs = 2 * line.delayMs;
  const alice = addTo(mesh, "alice", a, 1);
  const bob = addTo(mesh, "bob", b, 2);
  kinds.set(alice.nodeId, a).set(bob.nodeId, b);
  for (const [node, peer] of [[alice, bob], [bob, alice]] as const) {
    node.device.setPeers([peer.asPeer({ candidates: peer.candidates() })]);
  }
  const startedAt = mesh.clock.now();
  const firstMs = alice.pingInner(bob, 4, 5_000);
  let settledAt = startedAt;
  let seen: string | undefined;
  for (let i = 0; i < 100; i++) {
    alice.pingInner(bob, 4, 500);
    const kinds = `${alice.statusOf(bob).path?.kind} ${bob.statusOf(alice).path?.kind}`;
    if (kinds !== seen) settledAt = mesh.clock.now();
    seen = kinds;
    mesh.clock.advance(50);
  }
  const { path, why } = alice.statusOf(bob);
  ok(isAlone || path?.kind === bob.statusOf(alice).path?.kind, `${a} to ${b}: both ends agree`);
  await mesh.close();
  return { kind: path?.kind, firstMs, settledMs: settledAt - startedAt, why };
}

function addTo(mesh: TestMesh, name: string, network: Network, number: number): TestNode {
  const isBehindNat = network !== "none";
  const kind: NatKind = network === "udp-blocked" || network === "tcp-443-only" || !isBehindNat
    ? "restricted"
    : network;
  const nat = isBehindNat ? new SimulatedNat(`198.51.100.${number}`, kind) : undefined;
  const addresses = isBehindNat ? [`10.0.${number}.2`] : [`192.0.2.${number}`];
  const node = mesh.add(name, { addresses, ...(nat && { nat }) });
  node.host.isUdpBlocked = network === "udp-blocked" || network === "tcp-443-only";
  return node;
}
