/**
 * A link in the middle gets narrower under load, and wide again: with routers that say so, and with
 * routers that say nothing.
 *
 * ```
 *   hosta ── gwa ═══ 1500, then 1400, then 1500 ═══ gwb ── hostb        pub1: the coordinator
 *     ╚══════ TCP over the mesh, both ways at once ══════╝
 * ```
 *
 * @module
 */

import { ok, strictEqual } from "node:assert/strict";
import type { Host } from "../lab/namespaces.ts";
import { NatLab, type Side } from "../lab/nat.ts";
import { eventually } from "../lab/processes.ts";
import { installPackages } from "../packages.ts";
import { figure, IS_SOAK, Node, testProgram } from "./mesh.ts";

const NEEDS_LAB = {
  ignore: await installPackages(["ip", "nsenter", "nft", "conntrack", "ping", "tc"]) !== undefined,
};
/** Each way. */
const BYTES = IS_SOAK ? 20_000_000 : 10_000_000;
/** Of each access link: so the link narrows in the middle of the transfer. */
const RATE = "40mbit";
const NARROW = 1400;
/** After so long of use a narrow path is tried again; ten minutes unless told otherwise. */
const RAISE_SECONDS = 2;
/** What a datagram adds to an inner packet. */
const OVERHEAD = { ipv4: 60, ipv6: 80 } as const;

const SILENT = `table inet silent {
  chain out { type filter hook output priority 0;
    icmp type destination-unreachable icmp code 4 drop
    icmpv6 type packet-too-big drop
  }
}`;

interface Row {
  readonly family: "ipv4" | "ipv6";
  /** Whether routers say what they drop. */
  readonly hasIcmp: boolean;
  readonly plane: "linux" | "portable";
}

/** The compiled program has its files where the source has them: one row is enough there. */
const IS_COMPILED = Deno.env.get("TUNNELMESH_DENO_DIR") !== undefined;

/** The short form has each family, each kind of router and each data plane once. */
const ROWS: readonly Row[] = [
  { family: "ipv4", hasIcmp: false, plane: "linux" },
  ...IS_COMPILED ? [] : [{ family: "ipv6", hasIcmp: true, plane: "portable" }] as const,
  ...!IS_SOAK ? [] : [
    { family: "ipv4", hasIcmp: true, plane: "linux" },
    { family: "ipv6", hasIcmp: false, plane: "linux" },
    { family: "ipv4", hasIcmp: true, plane: "portable" },
    { family: "ipv4", hasIcmp: false, plane: "portable" },
    { family: "ipv6", hasIcmp: true, plane: "linux" },
    { family: "ipv6", hasIcmp: false, plane: "portable" },
  ] as const,
];

for (const row of ROWS) {
  const { family, hasIcmp, plane } = row;
  const name = `${family}, ${hasIcmp ? "ICMP" : "black hole"}, ${plane} data plane`;
  Deno.test(`a transfer outlives a link that gets narrow: ${name}`, NEEDS_LAB, async () => {
    await using lab = await NatLab.create({ families: family });
    const [a, b] = await start(lab, row);
    if (!hasIcmp) await silence(lab);
    const address = (await a.peer("hostb")).addresses.ipv4;
    await eventually(
      "everything fits",
      async () =>
        (await ping(a.host, address, 1408)).code === 0 &&
        (await a.peer("hostb")).path.mtu === undefined,
    );

    for (const side of ["a", "b"] as const) await lab.rate(side, RATE);
    const listener = b.host.start(testProgram("tcp_transfer", "listen", "5000", String(BYTES)));
    await listener.shows(/^ready$/m);
    const connect = testProgram("tcp_transfer", "connect", address, "5000", String(BYTES));
    const startedAt = performance.now();
    const connector = a.host.start(connect);
    const before = (await a.peer("hostb")).rxBytes;
    await eventually("the transfer is under way, both ways", async () => {
      const { rxBytes, txBytes } = await a.peer("hostb");
      return rxBytes - before > 1e6 && txBytes > 1e6;
    });
    const narrowedAt = performance.now();
    await setMtu(lab, NARROW);
    const fits = NARROW - OVERHEAD[family];
    const found = [[a, "hostb"], [b, "hosta"]] as const;
    await eventually("both know what fits", async () => {
      // On a machine that is busy the transfer may have been over before.
      if (connector.code !== undefined) await pingBothWays(a, b, 1408);
      for (const [node, peer] of found) if ((await node.peer(peer)).path.mtu !== fits) return false;
      return true;
    });
    figure(`narrow link found, ${name}`, performance.now() - narrowedAt, "ms");
    strictEqual(await a.survives(b.survives(connector.ended)), 0, connector.stderr);
    strictEqual(await listener.ended, 0, listener.stderr);
    const ways = [[listener, connector], [connector, listener]] as const;
    for (const [from, to] of ways) {
      strictEqual(received(to.stdout), `${sent(from.stdout)} ${BYTES}`);
    }
    const seconds = (performance.now() - startedAt) / 1000;
    figure(`${BYTES / 1e6} MB both ways, narrow after 1 MB, ${name}`, seconds, "s");
    await areDirect(found);

    // Whoever sends too much is told how much fits, and that does pass.
    const told = new RegExp(`mtu ?= ?${fits}\\b`);
    const refused = await eventually("the sender is told", async () => {
      const sent = await ping(a.host, address, 1408);
      return (sent.code === 0 || told.test(sent.stdout + sent.stderr)) && sent;
    });
    ok(refused.code !== 0, refused.stdout);
    await eventually("what fits", async () => (await ping(a.host, address, fits)).code === 0);
    strictEqual((await ping(a.host, address, fits + 1)).code !== 0, true);

    await setMtu(lab, 1500);
    // The systems forget what routers told them after ten minutes; here at once.
    for (const { host } of [a, b]) await forgetRoutes(host);
    await eventually("the whole size is used again", async () => {
      await ping(a.host, address, 100);
      for (const [node, peer] of found) {
        if ((await node.peer(peer)).path.mtu !== undefined) return false;
      }
      return true;
    }, 60_000);
    for (const { host } of [a, b]) await forgetRoutes(host);
    await eventually(
      "everything fits again",
      async () => (await ping(a.host, address, 1408)).code === 0,
    );
    await areDirect(found);
  });
}

/** Nobody makes fragments on the way of IPv6: these hold for what the nodes do themselves. */
const LEAST_ROWS: readonly Row[] = [
  { family: "ipv4", hasIcmp: false, plane: "linux" },
  ...IS_COMPILED ? [] : [{ family: "ipv6", hasIcmp: false, plane: "linux" }] as const,
  ...!IS_SOAK ? [] : [
    { family: "ipv6", hasIcmp: true, plane: "portable" },
    { family: "ipv6", hasIcmp: false, plane: "portable" },
  ] as const,
];

for (const row of LEAST_ROWS) {
  const { family, hasIcmp, plane } = row;
  const name = `${family}, ${hasIcmp ? "ICMP" : "black hole"}, ${plane} data plane`;
  Deno.test(`a link of 1280 carries packets of 1280: ${name}`, NEEDS_LAB, async () => {
    await using lab = await NatLab.create({ families: family });
    if (!hasIcmp) await silence(lab);
    const [a, b] = await start(lab, row);
    await narrowTo1280(lab, a, b);
    // No IPv6 link may be narrower inside: datagrams of such packets travel in fragments.
    const { addresses } = await a.peer("hostb");
    for (const address of [addresses.ipv4, addresses.ipv6]) {
      const headers = address === addresses.ipv4 ? 28 : 48;
      const args = ["ping", "-n", "-c", "3", "-i", "0.2", "-W", "3", "-M", "do"];
      await eventually(`1280 bytes to ${address}`, async () => {
        const { code } = await a.host.run([...args, "-s", String(1280 - headers), address]);
        return code === 0;
      });
      const { code } = await a.host.run([...args, "-s", String(1281 - headers), address]);
      ok(code !== 0, "more does not pass");
    }
  });
}

/** Narrows the link, and waits until both ends state its MTU as theirs. */
async function narrowTo1280(lab: NatLab, a: Node, b: Node): Promise<void> {
  await setMtu(lab, 1280);
  const ends = [[a, "hostb"], [b, "hosta"]] as const;
  await eventually("both state 1280", async () => {
    const mtus = await Promise.all(ends.map(async ([node, name]) => {
      const { addresses, path } = await node.peer(name);
      await ping(node.host, addresses.ipv4, 1408);
      await ping(node.host, addresses.ipv4, 1200);
      return path.mtu;
    }));
    return mtus.every((mtu) => mtu === 1280);
  }, 60_000);
  await areDirect(ends);
}

/** Waits until nodes have a direct path, which one that was not run in time may leave for a while. */
async function areDirect(ends: readonly (readonly [node: Node, peer: string])[]): Promise<void> {
  for (const [node, peer] of ends) {
    const what = `${node.host.name} has a direct path`;
    await eventually(what, async () => (await node.peer(peer)).path.kind === "udp");
  }
}

/** One ping of so many bytes each way, whatever becomes of it. */
async function pingBothWays(a: Node, b: Node, bytes: number): Promise<void> {
  for (const [node, peer] of [[a, "hostb"], [b, "hosta"]] as const) {
    await ping(node.host, (await node.peer(peer)).addresses.ipv4, bytes);
  }
}

/** Routers drop what is too large, and do not say so. */
async function silence(lab: NatLab): Promise<void> {
  for (const gateway of ["gwa", "gwb"]) {
    await lab.host(gateway).must(["nft", "-f", "-"], { input: SILENT });
  }
}

/** A coordinator and two agents with a direct path. */
async function start(lab: NatLab, { family, plane }: Omit<Row, "hasIcmp">): Promise<[Node, Node]> {
  const hub = lab.host("pub1");
  // Its TCP is not what is tested.
  await hub.must(["ip", "link", "set", "eth0", "mtu", String(NARROW)]);
  const config = `${lab.folder}/hub.yaml`;
  await Deno.writeTextFile(config, `session: { raiseMtuAfterSeconds: ${RAISE_SECONDS} }\n`);
  const at = family === "ipv4" ? `${hub.ipv4}:8443` : `[${hub.ipv6}]:8443`;
  const coordinator = await new Node(hub, `${lab.folder}/hub`, [
    ...["coordinator", "--no-member", "--listen", at, "--config", config],
  ]).start();
  const { token } = await coordinator.askJson<{ token: string }>("token", "show");
  const file = `${lab.folder}/token`;
  await Deno.writeTextFile(file, `${token}\n`, { mode: 0o600 });
  const join = (name: string) =>
    new Node(lab.host(name), `${lab.folder}/${name}`, [
      ...["join", "--coordinator", `https://${at}`, "--token-file", file],
      ...["--name", name, "--data-plane", plane],
    ]).start();
  const [a, b] = await Promise.all([join("hosta"), join("hostb")]);
  await eventually("both see each other", async () => (await a.peer("hostb")).online);
  const { ipv4 } = (await a.peer("hostb")).addresses;
  await eventually("a direct path", async () => {
    await ping(a.host, ipv4, 100);
    return (await a.peer("hostb")).path.kind === "udp";
  });
  return [a, b];
}

/** The link between the gateways: both ends of it, so that neither swallows what the other sends. */
async function setMtu(lab: NatLab, mtu: number): Promise<void> {
  for (const side of ["a", "b"] as const satisfies readonly Side[]) {
    await lab.host(`gw${side}`).must(["ip", "link", "set", "wan", "mtu", String(mtu)]);
  }
}

async function forgetRoutes(host: Host): Promise<void> {
  for (const family of ["-4", "-6"]) await host.run(["ip", family, "route", "flush", "cache"]);
}

/** One ping that may not be fragmented, of a packet of so many bytes in all. */
function ping(host: Host, address: string, bytes: number) {
  const size = String(bytes - 28);
  return host.run(["ping", "-n", "-c", "1", "-W", "3", "-M", "do", "-s", size, address]);
}

function sent(output: string): string | undefined {
  return /^sent (\w{64})$/m.exec(output)?.[1];
}

function received(output: string): string | undefined {
  return /^received (\w{64} \d+)$/m.exec(output)?.[1];
}
