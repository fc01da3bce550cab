/**
 * Real processes of the program in namespaces: a coordinator and agents, and what a test asks them.
 *
 * The program under test is `TUNNELMESH_COMMAND`, a JSON list of words; without it the source.
 *
 * @module
 */

import { callControlSocket } from "../../lib/agent/control_socket.ts";
import type { AgentPeerStatus, AgentStatus } from "../../lib/agent/status.ts";
import { type Host, Lab } from "../lab/namespaces.ts";
import { type Background, eventually, type Finished, type RunOptions } from "../lab/processes.ts";

const MAIN = decodeURIComponent(new URL("../../main.ts", import.meta.url).pathname);

/** Whether the long form of a test was asked for. */
export const IS_SOAK = Deno.env.get("TUNNELMESH_SOAK") !== undefined;

/** How the program under test is started. */
export const COMMAND: readonly string[] = JSON.parse(
  Deno.env.get("TUNNELMESH_COMMAND") ??
    JSON.stringify([Deno.execPath(), "run", "-A", "--no-check", MAIN]),
);

/** A compiled program must not find a cache to fall back on. */
const DENO_DIR = Deno.env.get("TUNNELMESH_DENO_DIR");

/** Environment of every process of the program. */
export const ENVIRONMENT: Readonly<Record<string, string>> = DENO_DIR === undefined
  ? {}
  : { DENO_DIR };

/** Runs a program of ours that comes with the tests. */
export function testProgram(name: string, ...args: string[]): string[] {
  const file = decodeURIComponent(new URL(`programs/${name}.ts`, import.meta.url).pathname);
  return [Deno.execPath(), "run", "-A", "--no-check", file, ...args];
}

/** One process of the program, its state folder and its host. */
export class Node {
  /** The process, once started. */
  process: Background | undefined;

  /** Describes a node; it is not started yet. */
  constructor(
    /** Where it runs. */
    readonly host: Host,
    /** Its state folder. */
    readonly state: string,
    /** What it is started with, after `tunnelmesh`. */
    readonly args: readonly string[],
    /** Added to the environment. */
    readonly env: Readonly<Record<string, string>> = {},
    /** Written before the program's own words, such as `faketime -1d`. */
    public wrapper: readonly string[] = [],
  ) {}

  /** Starts the process and waits until it is up. */
  async start(...more: string[]): Promise<this> {
    this.launch(...more);
    await this.process!.shows(/^(Joined|Coordinator) /m);
    return this;
  }

  /** Starts the process without waiting. */
  launch(...more: string[]): Background {
    const words = [...this.wrapper, ...COMMAND, ...this.args, "--state", this.state, ...more];
    this.process = this.host.start(words, { env: { ...ENVIRONMENT, ...this.env } });
    return this.process;
  }

  /** Rejects with all it wrote when the process ends: for whatever it has to outlive. */
  async survives<T>(during: Promise<T>): Promise<T> {
    const process = this.process!;
    const died = process.ended.then((code) => {
      throw new Error(`${this.host.name} ended ${code}:\n${process.stdout}\n${process.stderr}`);
    });
    return await Promise.race([during, died]);
  }

  /** Runs a command of the program on this node's state folder. */
  ask(...args: string[]): Promise<Finished> {
    return tunnelmesh(this.host, [...args, "--state", this.state]);
  }

  /** Runs a command that has to succeed, and reads the JSON it writes. */
  async askJson<T>(...args: string[]): Promise<T> {
    const { code, stdout, stderr } = await this.ask(...args, "--json");
    if (code !== 0) throw new Error(`${args.join(" ")} ended ${code}: ${stderr}`);
    return JSON.parse(stdout) as T;
  }

  /** What `status --json` says. */
  status(): Promise<AgentStatus> {
    return this.askJson<AgentStatus>("status");
  }

  /** The same without a process for the question, for asking often. */
  async glance(): Promise<AgentStatus> {
    const folder = this.args[0] === "coordinator" ? `${this.state}/member` : this.state;
    return await callControlSocket(folder, "agent.sock", "status") as AgentStatus;
  }

  /** What it says of one peer, by name. @throws {Error} If it does not know the peer. */
  async peer(name: string): Promise<AgentPeerStatus> {
    const found = (await this.glance()).peers.find((peer) => peer.name === name);
    if (!found) throw new Error(`${this.host.name} knows no peer "${name}"`);
    return found;
  }
}

/** Runs a command of the program on a host. */
export function tunnelmesh(
  host: Host,
  args: readonly string[],
  options: RunOptions = {},
): Promise<Finished> {
  return host.run([...COMMAND, ...args], { ...options, env: { ...ENVIRONMENT, ...options.env } });
}

/** How to make a mesh. */
export interface MeshOptions {
  /** Names of the agents; each gets a host of that name. */
  readonly agents?: readonly string[];
  /** Flags of the coordinator. */
  readonly coordinatorArgs?: readonly string[];
  /** Flags of every agent. */
  readonly agentArgs?: readonly string[];
  /** Where state folders are made. @default the lab's own folder */
  readonly stateFolder?: string;
}

/** A coordinator on the host `hub` and agents on others; `await using` it. */
export class Mesh implements AsyncDisposable {
  /** The agents, by name. */
  readonly agents = new Map<string, Node>();

  private constructor(
    /** The network. */
    readonly lab: Lab,
    /** The coordinator, a member of the mesh under the name `hub`. */
    readonly coordinator: Node,
    /** File with the token. */
    readonly tokenFile: string,
    private readonly stateFolder: string,
  ) {}

  /** Starts everything, and waits until every node sees every other online. */
  static async create(options: MeshOptions = {}): Promise<Mesh> {
    const lab = await Lab.create();
    try {
      const hub = await lab.addHost("hub");
      const args = ["coordinator", "--name", "hub", ...options.coordinatorArgs ?? []];
      const stateFolder = options.stateFolder ?? lab.folder;
      const coordinator = new Node(hub, `${stateFolder}/hub`, args);
      const mesh = new Mesh(lab, coordinator, `${lab.folder}/token`, stateFolder);
      await coordinator.start();
      await mesh.writeToken();
      for (const name of options.agents ?? []) {
        mesh.describe(name, await lab.addHost(name), options.agentArgs ?? []);
      }
      await Promise.all([...mesh.agents.values()].map((agent) => agent.start()));
      if (mesh.agents.size > 0) await mesh.settled();
      return mesh;
    } catch (error) {
      await lab[Symbol.asyncDispose]();
      throw error;
    }
  }

  /** URL of the coordinator. */
  get url(): string {
    return `https://${this.coordinator.host.ipv4}:8443`;
  }

  /** Every node: the coordinator's own member first. */
  get nodes(): Node[] {
    return [this.coordinator, ...this.agents.values()];
  }

  /** Describes an agent, without starting it. */
  describe(name: string, host: Host, args: readonly string[] = []): Node {
    const node = new Node(host, `${this.stateFolder}/${name}`, [
      ...["join", "--coordinator", this.url, "--token-file", this.tokenFile, "--name", name],
      ...args,
    ]);
    this.agents.set(name, node);
    return node;
  }

  /** One agent. @throws {Error} If there is none of that name. */
  agent(name: string): Node {
    const node = this.agents.get(name);
    if (!node) throw new Error(`No agent "${name}" in this mesh`);
    return node;
  }

  /** Writes the token that is valid to the token file. */
  async writeToken(): Promise<string> {
    const { token } = await this.coordinator.askJson<{ token: string }>("token", "show");
    await Deno.writeTextFile(this.tokenFile, `${token}\n`);
    return token;
  }

  /** Waits until every node is connected and sees so many others online. @default all of them */
  async settled(others = this.nodes.length - 1, timeoutMs = 60_000): Promise<void> {
    for (const node of this.nodes) {
      await eventually(`${node.host.name} sees ${others} peers online`, async () => {
        const { coordinator, peers } = await node.glance();
        return coordinator.connected && peers.filter((peer) => peer.online).length === others;
      }, timeoutMs);
    }
  }

  /** Ends everything. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.lab[Symbol.asyncDispose]();
  }
}

/**
 * Prints a measured figure, for tests/ACCEPTANCE.md.
 *
 * @param what What was measured.
 * @param value The figure.
 * @param unit Its unit.
 */
export function figure(what: string, value: number, unit: string): void {
  const text = `figure: ${what}: ${Number(value.toPrecision(4))} ${unit}\n`;
  Deno.stdout.writeSync(new TextEncoder().encode(text));
}
