/**
 * A small network of Linux network namespaces: hosts on one bridge, which has a namespace of its
 * own, so that nothing of this machine's network is touched.
 *
 * ```
 *          ┌───────────────── net: bridge br0 ─────────────────┐
 *          │                    │                              │
 *     eth0 │ 198.51.100.1  eth0 │ 198.51.100.2            eth0 │ 198.51.100.n
 *          │ fd77::1            │ fd77::2                      │ fd77::n
 *         hub                   a                              …
 * ```
 *
 * The namespaces are named `tunnelmesh-PID-N-NAME` after the process of the run; what a killed run
 * left behind is removed by the next one.
 *
 * @module
 */

import { Background, eventually, type Finished, must, run, type RunOptions } from "./processes.ts";

/** Prefix of the names of all namespaces that are made here. */
export const PREFIX = "tunnelmesh-";
/** What they look like: process id, number, host. */
const NAME = new RegExp(`^(${PREFIX}(\\d+)-\\d+-\\S+)`);

let labs = 0;

/** A host: a network namespace with `eth0` on the bridge. */
export class Host {
  /** Processes in the background, in the order of their start. */
  readonly processes: Background[] = [];

  /** Made by {@linkcode Lab.addHost}. */
  constructor(
    /** Name within the lab. */
    readonly name: string,
    /** Name of the namespace. */
    readonly namespace: string,
    /** IPv4 address on the bridge. */
    readonly ipv4: string,
    /** IPv6 address on the bridge. */
    readonly ipv6: string,
    private readonly cwd: string,
  ) {}

  /** Runs a command in the namespace to its end. */
  run(command: readonly string[], options: RunOptions = {}): Promise<Finished> {
    return run(this.#inside(command), { cwd: this.cwd, ...options });
  }

  /** Runs a command in the namespace that has to succeed. @returns Its standard output. */
  must(command: readonly string[], options: RunOptions = {}): Promise<string> {
    return must(this.#inside(command), { cwd: this.cwd, ...options });
  }

  /** Starts a command in the namespace; it is ended with the lab at the latest. */
  start(command: readonly string[], options: RunOptions = {}): Background {
    const process = new Background(this.#inside(command), { cwd: this.cwd, ...options });
    this.processes.push(process);
    return process;
  }

  #inside(command: readonly string[]): string[] {
    return ["nsenter", `--net=/run/netns/${this.namespace}`, ...command];
  }
}

/** The network of one test; `await using` it. */
export class Lab implements AsyncDisposable {
  readonly #prefix: string;
  readonly #hosts = new Map<string, Host>();
  #isClosed = false;

  private constructor(
    /** Folder for the test's files, removed with the lab; open to its owner only. */
    readonly folder: string,
  ) {
    this.#prefix = `${PREFIX}${Deno.pid}-${labs++}`;
  }

  /** Makes the bridge. @throws {Error} If namespaces cannot be made here. */
  static async create(): Promise<Lab> {
    await sweep();
    const lab = new Lab(await Deno.makeTempDir({ prefix: "tunnelmesh-lab-" }));
    await must(["ip", "netns", "add", lab.#bridge]);
    await must(["ip", "-n", lab.#bridge, "link", "add", "br0", "type", "bridge"]);
    await must(["ip", "-n", lab.#bridge, "link", "set", "br0", "up"]);
    return lab;
  }

  /**
   * Adds a host to the bridge.
   *
   * @param name A short word, unique in the lab.
   * @param options `ipv6: false` makes a host without IPv6, `ipv4: false` one without IPv4.
   */
  async addHost(
    name: string,
    options: { readonly ipv4?: boolean; readonly ipv6?: boolean } = {},
  ): Promise<Host> {
    const namespace = `${this.#prefix}-${name}`;
    const number = this.#hosts.size + 1;
    const host = new Host(
      name,
      namespace,
      `198.51.100.${number}`,
      `fd77::${number}`,
      this.folder,
    );
    this.#hosts.set(name, host);
    await must(["ip", "netns", "add", namespace]);
    const hasIpv6 = options.ipv6 ?? true;
    if (!hasIpv6) {
      const off =
        "for name in all default; do echo 1 > /proc/sys/net/ipv6/conf/$name/disable_ipv6; done";
      await host.must(["sh", "-c", off]);
    }
    const port = `p${number}`;
    await must([
      ...["ip", "-n", namespace, "link", "add", "eth0", "type", "veth"],
      ...["peer", "name", port, "netns", this.#bridge],
    ]);
    await must(["ip", "-n", this.#bridge, "link", "set", port, "master", "br0", "up"]);
    await host.must(["ip", "link", "set", "lo", "up"]);
    if (options.ipv4 ?? true) {
      await host.must(["ip", "address", "add", `${host.ipv4}/24`, "dev", "eth0"]);
    }
    if (hasIpv6) {
      await host.must(["ip", "address", "add", `${host.ipv6}/64`, "dev", "eth0", "nodad"]);
    }
    await host.must(["ip", "link", "set", "eth0", "up"]);
    return host;
  }

  /** Ends all processes of the lab and removes its namespaces and files. Safe to call twice. */
  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#isClosed) return;
    this.#isClosed = true;
    const processes = [...this.#hosts.values()].flatMap((host) => host.processes);
    await Promise.all(processes.map((process) => process.stop()));
    for (const host of this.#hosts.values()) await removeNamespace(host.namespace);
    await removeNamespace(this.#bridge);
    await Deno.remove(this.folder, { recursive: true });
  }

  get #bridge(): string {
    return `${this.#prefix}-net`;
  }
}

/** Removes a namespace of ours, and ends what still runs in it. */
export async function removeNamespace(namespace: string): Promise<void> {
  const { stdout } = await run(["ip", "netns", "pids", namespace]);
  for (const pid of stdout.split("\n").map(Number).filter((one) => one > 0)) {
    try {
      Deno.kill(pid, "SIGKILL");
    } catch {
      // It ended in between.
    }
  }
  await run(["ip", "netns", "del", namespace]);
}

/** Removes the namespaces of runs whose process is gone. */
export async function sweep(): Promise<void> {
  if (labs > 0) return;
  for (const line of (await run(["ip", "netns", "list"])).stdout.split("\n")) {
    const [, namespace, pid] = NAME.exec(line) ?? [];
    if (namespace === undefined || await isAlive(Number(pid))) continue;
    await removeNamespace(namespace);
  }
}

async function isAlive(pid: number): Promise<boolean> {
  return await Deno.stat(`/proc/${pid}`).then(() => true, () => false);
}

/**
 * Waits until one host answers another's ping.
 *
 * @param from Where to ask.
 * @param address IPv4 or IPv6 address.
 * @param timeoutMs How long to go on asking.
 */
export async function pings(from: Host, address: string, timeoutMs = 60_000): Promise<void> {
  await eventually(
    `${from.name} pings ${address}`,
    async () => (await from.run(["ping", "-n", "-c", "1", "-W", "1", address])).code === 0,
    timeoutMs,
  );
}
