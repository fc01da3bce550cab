/**
 * Two agents behind every pair of networks, with a coordinator in a public one: which path they get
 * and how fast.
 *
 * @module
 */

import { NatLab, type NatLabOptions, type Side } from "../lab/nat.ts";
import type { FirewallMode, NatMode } from "../lab/nat_rules.ts";
import { eventually } from "../lab/processes.ts";
import { IS_SOAK, Node } from "./mesh.ts";

/** A network that a node can be in: how its gateway translates, and what it lets through. */
export const NETWORKS = {
  none: ["none", "open"],
  fullcone: ["fullcone", "open"],
  addrcone: ["addrcone", "open"],
  cone: ["cone", "open"],
  random: ["random", "open"],
  noudp: ["cone", "noudp"],
  tcp443: ["cone", "tcp443only"],
} as const satisfies Record<string, readonly [NatMode, FirewallMode]>;

/** Name of a network in {@linkcode NETWORKS}. */
export type Network = keyof typeof NETWORKS;
/** What carries datagrams between two nodes. */
export type PathKind = "udp" | "ssh" | "relay";

/** One pair of networks. */
export interface Cell {
  readonly a: Network;
  readonly b: Network;
}

/** What became of a cell. */
export interface CellResult extends Cell {
  /** The path it should end with. */
  readonly expected: PathKind;
  /** The paths that were seen at each end, in their order. */
  readonly kinds: Readonly<Record<Side, readonly string[]>>;
  /** From the first packet to the first answer; `undefined`: none came. */
  readonly connectedMs: number | undefined;
  /** From the first packet until both ends have the expected path; `undefined`: never. */
  readonly expectedMs: number | undefined;
}

/** Most time for the first answer, and more where other tests take the processors away. */
const CONNECT_TIMEOUT_MS = IS_SOAK ? 10_000 : 30_000;
/** How long to wait for the expected path; hole punching aims at three seconds. */
const SETTLE_TIMEOUT_MS = IS_SOAK ? 8_000 : 30_000;

const NAMES = Object.keys(NETWORKS) as Network[];
const BLOCKS_UDP: ReadonlySet<Network> = new Set(["noudp", "tcp443"]);
/** One of each kind of outcome, and both orders where the order could matter. */
const SHORT = [
  ...["none-none", "none-cone", "random-none", "fullcone-random", "random-addrcone", "cone-cone"],
  ...["cone-random", "random-random", "none-noudp", "noudp-cone", "tcp443-none", "tcp443-tcp443"],
];

/** All pairs, both orders. */
export function allCells(): Cell[] {
  return NAMES.flatMap((a) => NAMES.map((b) => ({ a, b })));
}

/**
 * Reads which cells to try.
 *
 * @param text `short` (12 cells), `full` (all 49), or names such as `cone-random,none-noudp`.
 * @throws {Error} Naming what is no cell.
 */
export function parseCells(text: string): Cell[] {
  if (text === "full") return allCells();
  return (text === "short" ? SHORT : text.split(",")).map((name) => {
    const cell = allCells().find(({ a, b }) => `${a}-${b}` === name);
    if (!cell) throw new Error(`No cell "${name}"; there are ${NAMES.join(", ")}, as in none-cone`);
    return cell;
  });
}

/**
 * The best path that is possible: UDP wherever it can be punched; else SSH where one end can open a
 * TCP connection to the other; else the relay.
 *
 * @param sshPort Where the nodes serve SSH; decides what a firewall lets out.
 */
export function expectedPath({ a, b }: Cell, sshPort: number): PathKind {
  if (!BLOCKS_UDP.has(a) && !BLOCKS_UDP.has(b)) {
    // A mapping that differs per destination meets a filter that asks for the exact port.
    const isHopeless = (one: Network, other: Network) =>
      one === "random" && (other === "cone" || other === "random");
    if (!isHopeless(a, b) && !isHopeless(b, a)) return "udp";
  }
  const canDial = (from: Network, to: Network) =>
    to === "none" && (from !== "tcp443" || sshPort === 443);
  return canDial(a, b) || canDial(b, a) ? "ssh" : "relay";
}

/** What to try, and how. */
export interface MatrixOptions {
  /** In this order. */
  readonly cells: readonly Cell[];
  /** Where the nodes are told to serve SSH. */
  readonly sshPort: number;
  /** Settings of the wires; see {@linkcode NatLabOptions}. */
  readonly wire?: string;
  /** Flags of both agents. */
  readonly agentArgs?: readonly string[];
  /** Called after each cell. */
  readonly done?: (result: CellResult) => void;
}

/**
 * Tries cells one after the other. The agents join once and are started anew for each cell, so that
 * nothing is left of the cell before.
 */
export async function tryCells(options: MatrixOptions): Promise<CellResult[]> {
  const labOptions: NatLabOptions = options.wire === undefined ? {} : { wire: options.wire };
  await using lab = await NatLab.create(labOptions);
  const coordinator = await startCoordinator(lab);
  await Deno.writeTextFile(`${lab.folder}/config.yaml`, `sshPort: ${options.sshPort}\n`);
  const agents = { a: await join(lab, coordinator, "a"), b: await join(lab, coordinator, "b") };
  const results: CellResult[] = [];
  for (const cell of options.cells) {
    await Promise.all([agents.a.process?.stop(), agents.b.process?.stop()]);
    for (const side of ["a", "b"] as const) {
      const [nat, firewall] = NETWORKS[cell[side]];
      await lab.firewall(side, firewall);
      await lab.nat(side, nat);
    }
    try {
      await Promise.all([
        agents.a.start(...options.agentArgs ?? []),
        agents.b.start(...options.agentArgs ?? []),
      ]);
      const result = await tryCell(cell, agents, options.sshPort);
      results.push(result);
      options.done?.(result);
    } catch (error) {
      throw new Error(`${cell.a}-${cell.b}: ${logsOf([coordinator, agents.a, agents.b])}`, {
        cause: error,
      });
    }
  }
  return results;
}

async function startCoordinator(lab: NatLab): Promise<Node> {
  const host = lab.host("pub1");
  const args = ["coordinator", "--no-member", "--listen", `${host.ipv4}:443`];
  return await new Node(host, `${lab.folder}/coordinator`, args).start();
}

async function join(lab: NatLab, coordinator: Node, side: Side): Promise<Node> {
  const { token } = await coordinator.askJson<{ token: string }>("token", "show");
  const file = `${lab.folder}/token`;
  await Deno.writeTextFile(file, `${token}\n`, { mode: 0o600 });
  const url = `https://${coordinator.host.ipv4}:443`;
  const host = lab.host(`host${side}`);
  return await new Node(host, `${lab.folder}/${host.name}`, [
    ...["join", "--coordinator", url, "--token-file", file, "--name", host.name],
    ...["--config", `${lab.folder}/config.yaml`],
  ]).start();
}

async function tryCell(
  cell: Cell,
  agents: Readonly<Record<Side, Node>>,
  sshPort: number,
): Promise<CellResult> {
  const { a, b } = agents;
  await eventually("both agents see each other", async () => {
    return (await a.peer(b.host.name)).online && (await b.peer(a.host.name)).online;
  });
  const expected = expectedPath(cell, sshPort);
  const { ipv4 } = (await a.peer(b.host.name)).addresses;
  const startedAt = performance.now();
  const pinged = a.host.run([
    ...["ping", "-n", "-q", "-c", "1", "-i", "0.2"],
    ...["-w", String(CONNECT_TIMEOUT_MS / 1000), ipv4],
  ]).then(({ code }) => code === 0 ? performance.now() - startedAt : undefined);
  // A path is tried for as long as it is used; a ping now and then is all the traffic there is.
  const traffic = a.host.start(["ping", "-n", "-q", "-i", "0.2", ipv4]);
  const kinds: Record<Side, string[]> = { a: [], b: [] };
  let expectedMs: number | undefined;
  const until = startedAt + SETTLE_TIMEOUT_MS;
  while (expectedMs === undefined && performance.now() < until) {
    const now = [
      note(kinds.a, (await a.peer(b.host.name)).path.kind),
      note(kinds.b, (await b.peer(a.host.name)).path.kind),
    ];
    if (now.every((kind) => kind === expected)) expectedMs = performance.now() - startedAt;
    else await new Promise((resolve) => setTimeout(resolve, 50));
  }
  const connectedMs = await pinged;
  await traffic.stop();
  return { ...cell, expected, kinds, connectedMs, expectedMs };
}

/** Everything the nodes wrote, to read beside a failure. */
function logsOf(nodes: readonly Node[]): string {
  return nodes.map(({ host, process }) =>
    `--- ${host.name}\n${process?.stdout ?? ""}${process?.stderr ?? ""}`
  ).join("\n");
}

/** Notes a path kind if it is another one than the last. */
function note(kinds: string[], kind: string): string {
  if (kinds.at(-1) !== kind) kinds.push(kind);
  return kind;
}

/** Whether a cell is connected, by the path it should have. */
export function isAsExpected(result: CellResult): boolean {
  return result.connectedMs !== undefined && result.expectedMs !== undefined;
}

/** Writes results as a table. */
export function formatResults(results: readonly CellResult[]): string {
  const ms = (value: number | undefined) => value === undefined ? "never" : value.toFixed(0);
  const rows = [
    ["a", "b", "expected", "paths of a", "paths of b", "connected ms", "expected path ms", ""],
    ...results.map((result) => [
      ...[result.a, result.b, result.expected, result.kinds.a.join(" > ")],
      ...[result.kinds.b.join(" > "), ms(result.connectedMs), ms(result.expectedMs)],
      isAsExpected(result) ? "ok" : "NOT",
    ]),
  ];
  const widths = rows[0]!.map((_, at) => Math.max(...rows.map((row) => row[at]!.length)));
  const good = results.filter(isAsExpected).length;
  const lines = rows.map((row) => row.map((text, at) => text.padEnd(widths[at]!)).join("  "));
  return `${lines.map((line) => line.trimEnd()).join("\n")}\n${good} of ${results.length}\n`;
}

/** Writes how long it took, per kind of path: the one in the middle, and the slowest. */
export function formatTimes(results: readonly CellResult[]): string {
  const lines = (["udp", "ssh", "relay"] as const).map((kind) => {
    const cells = results.filter(({ expected }) => expected === kind).filter(isAsExpected);
    const spread = (times: number[]) => {
      const sorted = times.sort((one, other) => one - other);
      return `${sorted[sorted.length >> 1]?.toFixed(0)} ms, at most ${sorted.at(-1)?.toFixed(0)}`;
    };
    const connected = spread(cells.map(({ connectedMs }) => connectedMs!));
    const settled = spread(cells.map(({ expectedMs }) => expectedMs!));
    return cells.length === 0 ? "" : `${kind}: first answer ${connected}; best path ${settled}\n`;
  });
  return lines.join("");
}
