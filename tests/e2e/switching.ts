/**
 * A mesh under load whose network changes: what each change costs, in packets and in time.
 *
 * ```
 *                 pub1 (coordinator, relay)
 *                   │
 *      gwa ─────── inet ─────── gwb          both NATs: mapping kept, filter by address and port
 *       │                        │
 *     roamer ══ iperf3, ping ══ hostb        or `roamer` in the network of `hostb`
 * ```
 *
 * @module
 */

import type { Background } from "../lab/processes.ts";
import { eventually, sleep } from "../lab/processes.ts";
import { NatLab } from "../lab/nat.ts";
import { isThere } from "../packages.ts";
import { kernelDrops } from "./losses.ts";
import type { PathKind } from "./nat_matrix.ts";
import { IS_SOAK, Node } from "./mesh.ts";
import { startNatHub } from "./nat_hub.ts";

/** Packets per second of the probe. */
export const PACKETS_PER_SECOND = 100;
/** TCP beside it, in bits per second: much more and the probe would measure queues. */
const LOAD = IS_SOAK ? "20M" : "5M";
/** How long after a change there must be nothing but answers, for the change to be over. */
const CALM_MS = 1_000;
/** Most time for a change to be over. */
const SETTLE_TIMEOUT_MS = 60_000;

/** A change and what it cost. */
export interface Cost {
  readonly what: string;
  /** Paths at the roamer that were seen, in their order. */
  readonly kinds: readonly string[];
  /** Packets of the probe that were not answered. */
  readonly lost: number;
  /** Of those, the ones outside the longest row of lost ones: what a switch itself lost. */
  readonly lostBeside: number;
  /** Packets of any kind that the kernels lost because a node was not run in time. */
  readonly byKernels: number;
  /** Longest time between two answers in ms. */
  readonly gapMs: number;
  /** From the end of the change (the network is as it will be) to the end of that row, in ms. */
  readonly healedMs: number;
}

/** An answer of the probe. */
interface Answer {
  readonly sequence: number;
  /** In ms, unix time. */
  readonly at: number;
}

/** The mesh, under load. */
export class SwitchingScene implements AsyncDisposable {
  #probe: Background | undefined;
  #load: Background | undefined;

  private constructor(
    /** The network. */
    readonly lab: NatLab,
    /** On `pub1`. */
    readonly coordinator: Node,
    /** The node that moves. */
    readonly roamer: Node,
    /** The node it talks to. */
    readonly peer: Node,
    /** Mesh address of the peer. */
    readonly address: string,
  ) {}

  /** Starts everything, and waits for a direct path. @param agentArgs Flags of both agents. */
  static async create(agentArgs: readonly string[]): Promise<SwitchingScene> {
    const lab = await NatLab.create();
    try {
      const { coordinator, join } = await startNatHub(lab);
      await lab.addHost("roamer", "a");
      const [roamer, peer] = await Promise.all(
        ["roamer", "hostb"].map((name) =>
          new Node(lab.host(name), `${lab.folder}/${name}`, [
            ...join,
            ...["--name", name, ...agentArgs],
          ]).start()
        ),
      ) as [Node, Node];
      await eventually("both see each other", async () => {
        return (await roamer.peer("hostb")).online && (await peer.peer("roamer")).online;
      });
      const { ipv4 } = (await roamer.peer("hostb")).addresses;
      const scene = new SwitchingScene(lab, coordinator, roamer, peer, ipv4);
      await eventually("a direct path", async () => {
        await roamer.host.run(["ping", "-n", "-q", "-c", "1", "-W", "1", ipv4]);
        return await scene.areBoth("udp");
      });
      await scene.#startLoad();
      return scene;
    } catch (error) {
      await lab[Symbol.asyncDispose]();
      throw error;
    }
  }

  /**
   * Changes something, waits until both nodes have the path they should have and nothing is lost
   * any more, and says what it cost.
   *
   * @param change Resolves when the network is as it will be.
   */
  async cost(what: string, expected: PathKind, change: () => Promise<void>): Promise<Cost> {
    await this.#calm(what);
    const before = this.#answers.at(-1)!.sequence;
    const droppedBefore = await kernelDrops([this.roamer, this.peer]);
    using watch = this.#watchKinds();
    await change();
    const changedAt = Date.now();
    // Where the old path is dead its kind is still the expected one; so packets have to pass first.
    await this.#calm(what);
    await this.#until(`${what}: ${expected} at both ends`, () => this.areBoth(expected));
    await this.#calm(what);
    const byKernels = await kernelDrops([this.roamer, this.peer]) - droppedBefore;
    return { what, kinds: watch.kinds, byKernels, ...this.#costSince(before, changedAt) };
  }

  /** Whether the TCP connection that was there from the start still carries something. */
  async carriesLoad(): Promise<boolean> {
    if (this.#load === undefined) return true; // no iperf3 on this machine
    const at = this.#load.stdout.length;
    return await eventually("the TCP connection carries again", () => {
      const said = this.#load!.stdout.slice(at);
      return Promise.resolve(/ [1-9][\d.]* [KMG]?bits\/sec/.test(said));
    }).catch(() => false);
  }

  /** Everything the nodes wrote, to read beside a failure. */
  get story(): string {
    return [this.roamer, this.peer, this.coordinator].map(({ host, process }) =>
      `--- ${host.name}\n${process?.stdout}${process?.stderr}`
    ).join("\n");
  }

  /** Ends everything. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.lab[Symbol.asyncDispose]();
  }

  async #startLoad(): Promise<void> {
    const { roamer, peer, address } = this;
    if (isThere("iperf3")) {
      const server = peer.host.start(["iperf3", "-s", "-1", "--forceflush"]);
      await server.shows(/listening/);
      this.#load = roamer.host.start([
        ...["iperf3", "-c", address, "-b", LOAD, "-t", "600", "-i", "0.5", "--forceflush"],
      ]);
      await this.#load.shows(/bits\/sec/);
    }
    this.#probe = roamer.host.start([
      ...["ping", "-n", "-D", "-i", String(1 / PACKETS_PER_SECOND), address],
    ]);
    await this.#probe.shows(/icmp_seq=50 /);
  }

  get #answers(): Answer[] {
    return [...this.#probe!.stdout.matchAll(/^\[([\d.]+)\] .*icmp_seq=(\d+) .*time=/gm)]
      .map(([, at, sequence]) => ({ at: Number(at) * 1000, sequence: Number(sequence) }));
  }

  /** Whether both nodes use a path of that kind. */
  async areBoth(kind: PathKind): Promise<boolean> {
    return (await this.roamer.peer("hostb")).path.kind === kind &&
      (await this.peer.peer("roamer")).path.kind === kind;
  }

  /** Notes the kinds of paths of the roamer until it is disposed of. */
  #watchKinds(): { readonly kinds: readonly string[] } & Disposable {
    const kinds: string[] = [];
    const look = async () => {
      const { kind } = (await this.roamer.peer("hostb")).path;
      if (kind !== kinds.at(-1)) kinds.push(kind);
    };
    // Whoever cannot answer now is asked again.
    const timer = setInterval(() => void look().catch(() => {}), 50);
    return { kinds, [Symbol.dispose]: () => clearInterval(timer) };
  }

  async #until(what: string, attempt: () => Promise<boolean>): Promise<void> {
    await eventually(what, attempt, SETTLE_TIMEOUT_MS).catch((error) => {
      throw new Error(`${error.message}\n${this.story}`);
    });
  }

  /** Waits until every packet of the last second was answered. */
  async #calm(what: string): Promise<void> {
    await this.#until(`${what}: no loss for a second`, async () => {
      const from = this.#answers.at(-1)?.sequence ?? 0;
      await sleep(CALM_MS);
      const answers = this.#answers.filter(({ sequence }) => sequence > from);
      const [first, last] = [answers[0], answers.at(-1)];
      return first !== undefined && answers.length === last!.sequence - from &&
        answers.length > PACKETS_PER_SECOND / 4;
    });
  }

  #costSince(before: number, changedAt: number): Omit<Cost, "what" | "kinds" | "byKernels"> {
    const answers = this.#answers.filter(({ sequence }) => sequence >= before)
      .sort((a, b) => a.sequence - b.sequence);
    const holes = answers.slice(1).map(({ sequence, at }, i) => ({
      lost: sequence - answers[i]!.sequence - 1,
      until: at,
    }));
    const none = { lost: 0, until: changedAt };
    const longest = holes.reduce((most, one) => one.lost > most.lost ? one : most, none);
    const lost = holes.reduce((sum, hole) => sum + hole.lost, 0);
    const times = answers.map(({ at }) => at).sort((a, b) => a - b);
    return {
      lost,
      lostBeside: lost - longest.lost,
      gapMs: Math.max(...times.slice(1).map((at, i) => at - times[i]!)),
      healedMs: Math.max(0, longest.until - changedAt),
    };
  }
}

/** Writes costs as a table. */
export function formatCosts(costs: readonly Cost[]): string {
  const rows = [
    ["what", "paths", "lost", "beside", "by kernels", "longest gap ms", "healed after ms"],
    ...costs.map(({ what, kinds, lost, lostBeside, byKernels, gapMs, healedMs }) => [
      ...[what, kinds.join(" > "), String(lost), String(lostBeside), String(byKernels)],
      ...[gapMs.toFixed(0), healedMs.toFixed(0)],
    ]),
  ];
  const widths = rows[0]!.map((_, at) => Math.max(...rows.map((row) => row[at]!.length)));
  const lines = rows.map((row) => row.map((text, at) => text.padEnd(widths[at]!)).join("  "));
  return `${lines.map((line) => line.trimEnd()).join("\n")}\n`;
}
