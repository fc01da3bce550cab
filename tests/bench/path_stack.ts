/**
 * Two whole nodes between which no UDP passes, so that one TCP stream between them goes by the
 * relay or by SSH: TUN, sealing, carrier and back, every process in a namespace of its own.
 *
 * @module
 */

import type { CoordinatorStatus } from "../../lib/coordinator/coordinator_options.ts";
import type { Node } from "../e2e/mesh.ts";
import { Pair } from "../lab/peers/pair.ts";
import { firstPing } from "../lab/peers/racer.ts";
import { eventually } from "../lab/processes.ts";
import { median, processorSeconds, useCompiledProgram } from "./compiled.ts";
import { say } from "./flags.ts";
import { iperf } from "./throughput_measure.ts";

/** The ways that are measured. */
export type StackPath = "relay" | "ssh";

/** What one run of iperf3 showed. */
export interface StackSample {
  /** 10^6 bits per second at the receiver. */
  readonly megabits: number;
  readonly retransmits: number;
  /** Processor seconds of sender, receiver and coordinator per second. */
  readonly processors: readonly [a: number, b: number, hub: number];
}

const SSH_PORT = "2222";
/** Own interfaces are the loopback one, and the mesh's. */
const DROP_UDP = `table inet no_udp {
  chain out { type filter hook output priority 0; oifname != { "lo", "tm*" } meta l4proto udp drop; }
  chain in { type filter hook input priority 0; iifname != { "lo", "tm*" } meta l4proto udp drop; }
}`;

/** Two nodes that reach each other in one way; `await using` it. */
export class PathStack implements AsyncDisposable {
  readonly #pair: Pair;
  readonly #target: string;
  readonly #nodes: readonly [a: Node, b: Node, hub: Node];

  private constructor(pair: Pair, target: string, nodes: readonly [Node, Node, Node]) {
    this.#pair = pair;
    this.#target = target;
    this.#nodes = nodes;
  }

  /** Process ids of a, b and the coordinator. */
  get pids(): readonly [a: number, b: number, hub: number] {
    const [a, b, hub] = this.#nodes.map((node) => node.process!.pid);
    return [a!, b!, hub!];
  }

  /** What was lost where, since the start. */
  async losses(): Promise<string> {
    const [a, b, hub] = this.#nodes;
    const { callControlSocket } = await import("../../lib/agent/control_socket.ts");
    const { relay } = await callControlSocket(
      hub.state,
      "coordinator.sock",
      "status",
    ) as CoordinatorStatus;
    const parts = [a, b].map(async (node) => {
      const { drops, carriers } = await node.glance();
      return `${node.host.name} ${JSON.stringify({ drops, ...carriers })}`;
    });
    return `${(await Promise.all(parts)).join(", ")}, relay ${JSON.stringify(relay)}`;
  }

  /** Starts coordinator and nodes, and waits until they reach each other the way asked for. */
  static async open(kind: StackPath, plane: "linux" | "portable" = "linux"): Promise<PathStack> {
    // Loaded late: what program it starts may be chosen until then.
    const mesh = await import("../e2e/mesh.ts");
    const pair = await Pair.create();
    try {
      const hub = await pair.addControl();
      const coordinator = new mesh.Node(hub, `${pair.folder}/hub`, ["coordinator", "--no-member"]);
      await coordinator.start();
      const { token } = await coordinator.askJson<{ token: string }>("token", "show");
      const tokenFile = `${pair.folder}/token`;
      await Deno.writeTextFile(tokenFile, token, { mode: 0o600 });
      const [a, b] = await Promise.all([pair.a, pair.b].map(async (host) => {
        await host.must(["nft", "-f", "-"], { input: DROP_UDP });
        return await new mesh.Node(host, `${pair.folder}/${host.name}`, [
          ...["join", "--coordinator", `https://${hub.ipv4}:8443`, "--token-file", tokenFile],
          ...["--name", host.name, "--data-plane", plane],
          ...(kind === "ssh" && host === pair.b ? ["--ssh-port", SSH_PORT] : []),
        ]).start();
      }));
      const target = (await b!.status()).addresses.ipv4;
      await firstPing(pair.a, target, performance.now());
      await eventually(`a reaches b by ${kind}`, async () => {
        await pair.a.run(["ping", "-n", "-c", "1", "-W", "1", target]);
        const paths = [(await a!.peer("b")).path, (await b!.peer("a")).path];
        return paths.every((path) => path.kind === kind);
      }, 60_000);
      return new PathStack(pair, target, [a!, b!, coordinator]);
    } catch (error) {
      await pair[Symbol.asyncDispose]();
      throw error;
    }
  }

  /** One TCP stream from a to b. */
  async stream(seconds: number, ...args: string[]): Promise<StackSample> {
    const before = await Promise.all(this.pids.map(processorSeconds));
    const time = ["-t", String(seconds), ...args];
    const { megabits, retransmits } = await iperf(this.#pair, this.#target, seconds, ...time);
    const after = await Promise.all(this.pids.map(processorSeconds));
    const processors = after.map((now, i) => (now - before[i]!) / seconds);
    return { megabits, retransmits, processors: processors as [number, number, number] };
  }

  /** Round trip of pings while a TCP stream runs, in milliseconds. */
  async pingsUnderLoad(seconds: number): Promise<{ average: number; longest: number }> {
    const load = this.stream(seconds);
    load.catch(() => {}); // read below
    await new Promise((resolve) => setTimeout(resolve, 1_000));
    const count = String(Math.max(10, Math.floor((seconds - 1.5) / 0.02)));
    const { stdout } = await this.#pair.a.run(
      ["ping", "-n", "-q", "-c", count, "-i", "0.02", "-W", "2", this.#target],
    );
    await load;
    const [, average, longest] = /^rtt .* = [\d.]+\/([\d.]+)\/([\d.]+)\//m.exec(stdout) ?? [];
    if (average === undefined) throw new Error(`no answer: ${stdout}`);
    return { average: Number(average), longest: Number(longest) };
  }

  /** Ends everything. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.#pair[Symbol.asyncDispose]();
  }
}

/** Opens a stack of the compiled program, or of the source. */
export async function openStack(kind: StackPath, isSource: boolean): Promise<PathStack> {
  if (!isSource) await useCompiledProgram();
  return await PathStack.open(kind);
}

/** Runs one stream and says how it went; returns 10^6 bits per second. */
export async function streamOf(stack: PathStack, seconds: number): Promise<number> {
  const { megabits, retransmits, processors } = await stack.stream(seconds);
  const used = processors.map((of) => of.toFixed(2)).join(", ");
  const perGigabit = processors.reduce((sum, of) => sum + of) / megabits * 1_000;
  say(
    `stack: ${megabits.toFixed(0)} Mbit/s, ${retransmits} sent again, processors of sender, ` +
      `receiver and coordinator: ${used}: ${perGigabit.toFixed(2)} s per Gbit`,
  );
  return megabits;
}

/** Says a median, and the median ratio to what was measured in the same round. */
export function sayRatio(what: string, figures: number[], bare: number[]): void {
  const ratio = median(figures.map((value, i) => value / bare[i]!));
  const value = median(figures).toFixed(0);
  say(`figure: ${what}: ${value} Mbit/s (${ratio.toFixed(2)} of the bare one of its round)`);
}

/** Says how long a ping takes beside a stream, and what was lost where. */
export async function sayRest(stack: PathStack, seconds: number): Promise<void> {
  const { average, longest } = await stack.pingsUnderLoad(Math.max(3, seconds));
  say(`figure: ping beside the stream: ${average.toFixed(1)} ms, longest ${longest.toFixed(0)} ms`);
  say(`lost: ${await stack.losses()}`);
}
