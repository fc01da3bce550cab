/**
 * The NAT lab is what it says: each mode maps, filters and can be punched as its table states,
 * measured by programs inside it. Needs root.
 *
 * @module
 */

import { deepStrictEqual, notStrictEqual, ok, strictEqual } from "node:assert/strict";
import { installPackages } from "../packages.ts";
import { NatLab } from "./nat.ts";
import { type NatMode } from "./nat_rules.ts";
import { type Host, pings } from "./namespaces.ts";
import { eventually } from "./processes.ts";

const NEEDS_LAB = {
  ignore: await installPackages(["ip", "nsenter", "nft", "conntrack", "ping"]) !== undefined,
};
const NEEDS_WIRE = { ignore: NEEDS_LAB.ignore || await installPackages(["gcc"]) !== undefined };
const PROBE = decodeURIComponent(new URL("programs/nat_probe.ts", import.meta.url).pathname);
const FIRST = "203.0.113.10";
const SECOND = "203.0.113.11";

function probeWords(...args: (string | number)[]): string[] {
  return [Deno.execPath(), "run", "-A", "--no-check", PROBE, ...args.map(String)];
}

async function probe<T>(host: Host, ...args: (string | number)[]): Promise<T> {
  return JSON.parse(await host.must(probeWords(...args))) as T;
}

async function startServers(lab: NatLab): Promise<void> {
  const first = lab.host("pub1").start(probeWords("serve", FIRST, SECOND));
  const second = lab.host("pub2").start(probeWords("serve", SECOND, FIRST));
  await first.shows(/ready/);
  await second.shows(/ready/);
}

/** How long to try where it cannot work, and where it must, however slow the machine. */
const PUNCH_MS = { hopeless: 2_000, possible: 30_000 } as const;

/** Punches towards a peer by the name that it registers, from a port. */
function punch(host: Host, name: string, peer: string, port: number, isPossible: boolean) {
  const giveUpMs = isPossible ? PUNCH_MS.possible : PUNCH_MS.hopeless;
  const args = ["punch", name, peer, FIRST, port, giveUpMs];
  return probe<{ isDirect: boolean; from?: string }>(host, ...args);
}

const CLASSES: [mode: NatMode, mapping: string, filtering: string, isPortKept: boolean][] = [
  ["none", "independent", "independent", true],
  ["fullcone", "independent", "independent", true],
  ["addrcone", "independent", "address", true],
  ["cone", "independent", "port", true],
  ["random", "port", "port", false],
];

/** Whether two modes can be punched through by plain UDP. */
const PUNCHES: [a: NatMode, b: NatMode, isDirect: boolean][] = [
  ["cone", "cone", true],
  ["random", "addrcone", true],
  ["random", "fullcone", true],
  ["random", "cone", false],
  ["random", "random", false],
];

/** Two hosts behind one NAT that cannot meet inside. */
const HAIRPINS: [what: string, isOn: boolean, firstPort: number, secondPort: number][] = [
  ["dropped", false, 41_000, 41_001],
  ["both ports kept", true, 41_002, 41_003],
  ["one port not kept", true, 41_004, 41_004],
];

Deno.test("NatLab translates and filters as its modes say", NEEDS_LAB, async () => {
  await using lab = await NatLab.create();
  await startServers(lab);
  const host = lab.host("hosta");
  for (const [mode, ...expected] of CLASSES) {
    await lab.nat("a", mode);
    const found = await probe<
      { mapping: string; filtering: string; isPortKept: boolean; seen: string[] }
    >(host, "classify", 40_000, FIRST, SECOND);
    deepStrictEqual([found.mapping, found.filtering, found.isPortKept], expected, mode);
    const outside = mode === "none" ? "10.1.0.2:" : "203.0.113.1:";
    ok(found.seen.every((text) => text.startsWith(outside)), `${mode}: ${found.seen}`);
    if (mode === "none") await pings(lab.host("pub2"), host.ipv4);
    else {
      const inward = await lab.host("pub2").run(["ping", "-n", "-c1", "-W0.3", host.ipv4]);
      notStrictEqual(inward.code, 0, `${mode}: private addresses are routed inward`);
    }
  }
  await lab.firewall("a", "noudp");
  deepStrictEqual(await probe(host, "classify", 40_000, FIRST, SECOND), { udp: "blocked" });
  await pings(host, FIRST); // only UDP is dropped
  await lab.firewall("a", "tcp443only");
  notStrictEqual((await host.run(["ping", "-c1", "-W1", FIRST])).code, 0);
});

Deno.test("NatLab can be punched exactly where such NATs can", NEEDS_LAB, async () => {
  await using lab = await NatLab.create();
  await startServers(lab);
  for (const [a, b, isDirect] of PUNCHES) {
    await lab.nat("a", a);
    await lab.nat("b", b);
    const names = [`a-${a}-${b}`, `b-${a}-${b}`] as const; // an old registration is a dead mapping
    const [atA, atB] = await Promise.all([
      punch(lab.host("hosta"), names[0], names[1], 41_000, isDirect),
      punch(lab.host("hostb"), names[1], names[0], 41_000, isDirect),
    ]);
    deepStrictEqual([atA.isDirect, atB.isDirect], [isDirect, isDirect], `${a} and ${b}`);
  }
});

Deno.test("NatLab hairpins where it was told, from the sender's mapping", NEEDS_LAB, async () => {
  await using lab = await NatLab.create();
  await startServers(lab);
  const hosts = [lab.host("hosta"), await lab.addHost("hosta2", "a")] as const;
  await lab.isolate("a", true);
  // Whoever is refused by ICMP hears of it with the next packet.
  const twice = "exec 3<>/dev/udp/203.0.113.1/9; echo 1 >&3; sleep 0.2; echo 2 >&3";
  strictEqual((await hosts[0].run(["bash", "-c", twice])).code, 0, "not refused");
  for (const [what, isOn, ...ports] of HAIRPINS) {
    await lab.hairpin("a", isOn);
    const names = [`one, ${what}`, `two, ${what}`] as const;
    const found = await Promise.all([
      punch(hosts[0], names[0], names[1], ports[0], isOn),
      punch(hosts[1], names[1], names[0], ports[1], isOn),
    ]);
    deepStrictEqual(found.map(({ isDirect }) => isDirect), [isOn, isOn], what);
    if (!isOn) continue;
    const from = found.map((one) => one.from!);
    ok(from.every((text) => text.startsWith("203.0.113.1:")), `${what}: ${from}`);
    // Of two that want the same port outside, one gets another.
    notStrictEqual(from[0], from[1], what);
    if (ports[0] === ports[1]) ok(from.includes(`203.0.113.1:${ports[0]}`), `${what}: ${from}`);
    else deepStrictEqual(from, [...ports].reverse().map((port) => `203.0.113.1:${port}`), what);
  }
  notStrictEqual((await hosts[0].run(["ping", "-c1", "-W1", hosts[1].ipv4])).code, 0, "isolated");
  await pings(hosts[0], "10.1.0.1");
  await lab.isolate("a", false);
  await pings(hosts[0], hosts[1].ipv4);
});

Deno.test("NatLab forgets mappings in time, and all when renumbered", NEEDS_LAB, async () => {
  await using lab = await NatLab.create();
  await startServers(lab);
  const host = lab.host("hosta");
  await lab.nat("a", "random");
  await lab.udpTimeout("a", 1);
  const kept = (idleMs: number) =>
    probe<{ before: string; after: string }>(host, "keep", 40_000, FIRST, idleMs);
  // Whoever is not run for a second meanwhile is forgotten.
  await eventually("a mapping in use is kept", async () => {
    const quick = await kept(100);
    return quick.after === quick.before;
  });
  const slow = await kept(3_000);
  notStrictEqual(slow.after, slow.before);
  strictEqual(await lab.renumber("a"), "203.0.113.101");
  ok((await kept(0)).after.startsWith("203.0.113.101:"));
  await pings(lab.host("hostb"), "203.0.113.10");
  strictEqual(await lab.renumber("a"), "203.0.113.1");
  ok((await kept(0)).after.startsWith("203.0.113.1:"));
});

Deno.test("NatLab moves hosts, adds neighbours and carries IPv6", NEEDS_LAB, async () => {
  await using lab = await NatLab.create({ families: "dual" });
  const host = lab.host("hosta");
  const neighbour = await lab.addHost("hosta2", "a");
  await pings(host, neighbour.ipv4);
  await pings(host, neighbour.ipv6);
  await pings(host, "2001:db8:1::11");
  notStrictEqual((await lab.host("hostb").run(["ping", "-c1", "-W1", host.ipv6])).code, 0);
  await lab.statefulIpv6("a", false);
  await pings(lab.host("hostb"), host.ipv6);
  await lab.move("hosta", "b");
  await pings(host, lab.host("hostb").ipv4);
  const shown = await host.must(["ip", "-4", "-br", "address", "show", "eth0"]);
  ok(shown.includes("10.2.0.3/24"), shown);
});

Deno.test("NatLab delays by its wires, and loses at its gateways", NEEDS_WIRE, async () => {
  await using lab = await NatLab.create({ wire: "delay=20" });
  const host = lab.host("hosta");
  await pings(host, FIRST);
  // The quickest: what is above it is the machine's.
  const roundTripMs = async () => {
    const text = await host.must(["ping", "-n", "-q", "-c10", "-i0.05", FIRST]);
    return Number(/= ([\d.]+)\//.exec(text)?.[1]);
  };
  const slow = await roundTripMs();
  ok(slow >= 40 && slow < 60, `${slow} ms`);
  await lab.wire("a", "delay=2");
  const quick = await roundTripMs();
  ok(quick >= 4 && quick < 20, `${quick} ms`);
  await lab.loss("a", 100);
  notStrictEqual((await host.run(["ping", "-c1", "-W1", FIRST])).code, 0);
});
