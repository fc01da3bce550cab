/**
 * Two nodes behind one NAT, in a network that keeps its hosts from each other: they meet by their
 * public endpoints if the NAT hairpins, by the relay if not.
 *
 * ```
 *     pub1 (coordinator, relay)
 *       │
 *      gwa   203.0.113.1
 *      ╱ ╲
 *  hosta ╳ hosta2
 * ```
 *
 * @module
 */

import { deepStrictEqual, match, notStrictEqual, ok } from "node:assert/strict";
import { pings } from "../lab/namespaces.ts";
import { NatLab } from "../lab/nat.ts";
import { eventually } from "../lab/processes.ts";
import { installPackages } from "../packages.ts";
import { figure, IS_SOAK, Node } from "./mesh.ts";
import { startNatHub } from "./nat_hub.ts";

const NEEDS_LAB = {
  ignore: await installPackages(["ip", "nsenter", "nft", "conntrack", "ping"]) !== undefined,
};
/** How soon the direct path is there; beside other tests on two cores nobody can promise it. */
const DIRECT_WITHIN_MS = IS_SOAK ? 3_000 : 30_000;
const PLANES = IS_SOAK ? ["linux", "portable"] : ["linux"];

/** Two agents that see each other, and a ping between them that runs until the lab ends. */
interface Pair {
  readonly one: Node;
  readonly two: Node;
  /** When both had joined. */
  readonly joinedAt: number;
}

/** Starts a coordinator outside and two agents behind the NAT. */
async function joinPair(lab: NatLab, plane = "linux"): Promise<Pair> {
  const { join } = await startNatHub(lab);
  const hosts = [lab.host("hosta"), await lab.addHost("hosta2", "a")] as const;
  const inside = hosts[0].run(["ping", "-c1", "-W1", hosts[1].ipv4]);
  const [one, two] = await Promise.all(
    hosts.map((host) =>
      new Node(host, `${lab.folder}/${host.name}`, [
        ...join,
        ...["--name", host.name, "--data-plane", plane],
      ]).start()
    ),
  ) as [Node, Node];
  const joinedAt = performance.now();
  notStrictEqual((await inside).code, 0, "they can meet inside");
  await eventually("both see each other", async () => {
    return (await one.peer("hosta2")).online && (await two.peer("hosta")).online;
  });
  const { ipv4 } = (await one.peer("hosta2")).addresses;
  one.host.start(["ping", "-n", "-q", "-i", "0.2", ipv4]);
  return { one, two, joinedAt };
}

/** Waits until both nodes have a path of this kind; where it leads, from `one` and from `two`. */
function paths({ one, two }: Pair, kind: string): Promise<[string?, string?]> {
  return eventually(`both ends have a path by ${kind}`, async () => {
    const ends = [(await one.peer("hosta2")).path, (await two.peer("hosta")).path];
    if (ends.some((path) => path.kind !== kind)) return undefined;
    return ends.map(({ remote }) => remote) as [string?, string?];
  });
}

/** Pings both ways through the mesh, in both families. */
async function pingBothWays({ one, two }: Pair): Promise<void> {
  const { addresses: ofTwo } = await one.peer("hosta2");
  const { addresses: ofOne } = await two.peer("hosta");
  for (const family of ["ipv4", "ipv6"] as const) {
    await pings(one.host, ofTwo[family]);
    await pings(two.host, ofOne[family]);
  }
}

for (const plane of PLANES) {
  Deno.test(
    `two nodes meet by the public endpoints of a NAT that hairpins, ${plane}`,
    NEEDS_LAB,
    async () => {
      await using lab = await NatLab.create();
      await lab.isolate("a", true);
      await lab.hairpin("a", true);
      const pair = await joinPair(lab, plane);
      const remotes = await paths(pair, "udp");
      const directMs = performance.now() - pair.joinedAt;
      figure(`joined to direct by hairpin, ${plane}`, directMs, "ms");
      ok(directMs < DIRECT_WITHIN_MS, `${directMs} ms`);
      // Each is where the coordinator saw it.
      const seen = await Promise.all([pair.two, pair.one].map(async (node) => {
        return (await node.status()).endpoints.find((text) => text.startsWith("203.0.113.1:"));
      }));
      deepStrictEqual(remotes, seen);
      await pingBothWays(pair);
    },
  );
}

Deno.test(
  "two nodes behind a NAT that does not hairpin are relayed, and say why",
  NEEDS_LAB,
  async () => {
    await using lab = await NatLab.create();
    await lab.isolate("a", true);
    const pair = await joinPair(lab);
    await paths(pair, "relay");
    await pingBothWays(pair);
    for (const [node, peer] of [[pair.one, "hosta2"], [pair.two, "hosta"]] as const) {
      await eventually("the search was in vain", async () => {
        const { path } = await node.peer(peer);
        return path.why?.startsWith("no answer on 2 UDP candidates for ");
      });
      const { stdout } = await node.ask("peers");
      match(stdout, new RegExp(`^${peer} has no direct path: no answer on 2 UDP candidates`, "m"));
    }
  },
);
