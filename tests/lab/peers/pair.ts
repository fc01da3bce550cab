/**
 * Two hosts with one plain cable between them, for racing programs: MTU 1500, offloads as the
 * kernel sets them. A third host for a control server hangs on `a`, which forwards for it, so that
 * the path between the two stays one cable.
 *
 * ```
 *    tunnelmesh-PID-N-race-a              tunnelmesh-PID-N-race-b
 *      e0 10.100.0.1/24 ───── veth ─────── e0 10.100.0.2/24
 *      c0 10.100.0.1/32 ── veth ── e0 10.100.9.2/32   …-race-c, only if asked for
 * ```
 *
 * @module
 */

import { Host, PREFIX, removeNamespace, sweep } from "../namespaces.ts";
import { must } from "../processes.ts";

const CONTROL_ADDRESS = "10.100.9.2";

let pairs = 0;

/** Pairs to be taken down when this process is told to end. */
const open = new Set<Pair>();

function endWithSignals(): void {
  for (const signal of ["SIGINT", "SIGTERM"] as const) {
    Deno.addSignalListener(signal, async () => {
      await Promise.all([...open].map((pair) => pair[Symbol.asyncDispose]()));
      Deno.exit(130);
    });
  }
}

/** The network of one race; `await using` it. */
export class Pair implements AsyncDisposable {
  readonly #prefix: string;
  readonly #hosts: Host[] = [];
  #isClosed = false;

  private constructor(
    /** Folder for the race's files, removed with it; open to its owner only. */
    readonly folder: string,
  ) {
    this.#prefix = `${PREFIX}${Deno.pid}-${pairs++}-race`;
  }

  /** Makes both hosts. @throws {Error} If namespaces cannot be made here. */
  static async create(): Promise<Pair> {
    if (pairs === 0) {
      await sweep();
      endWithSignals();
    }
    const pair = new Pair(await Deno.makeTempDir({ prefix: "tunnelmesh-race-" }));
    open.add(pair);
    try {
      const a = await pair.#addHost("a", "10.100.0.1");
      const b = await pair.#addHost("b", "10.100.0.2");
      await connect(a, "e0", b);
      for (const host of [a, b]) {
        await host.must(["ip", "address", "add", `${host.ipv4}/24`, "dev", "e0"]);
      }
      return pair;
    } catch (error) {
      await pair[Symbol.asyncDispose]();
      throw error;
    }
  }

  /** The sending end. */
  get a(): Host {
    return this.#hosts[0]!;
  }

  /** The receiving end. */
  get b(): Host {
    return this.#hosts[1]!;
  }

  /** Adds the host for a control server. */
  async addControl(): Promise<Host> {
    const { a, b } = this;
    const control = await this.#addHost("c", CONTROL_ADDRESS);
    await connect(a, "c0", control);
    await a.must(["ip", "address", "add", `${a.ipv4}/32`, "dev", "c0"]);
    await a.must(["ip", "route", "add", `${CONTROL_ADDRESS}/32`, "dev", "c0", "src", a.ipv4]);
    await control.must(["ip", "address", "add", `${CONTROL_ADDRESS}/32`, "dev", "e0"]);
    await control.must(["ip", "route", "add", `${a.ipv4}/32`, "dev", "e0"]);
    await control.must(["ip", "route", "add", "10.100.0.0/24", "via", a.ipv4]);
    await b.must(["ip", "route", "add", `${CONTROL_ADDRESS}/32`, "via", a.ipv4]);
    await a.must(["sh", "-c", "echo 1 > /proc/sys/net/ipv4/ip_forward"]);
    return control;
  }

  /** Ends all that runs in the hosts, and removes them and their files. Safe to call twice. */
  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#isClosed) return;
    this.#isClosed = true;
    open.delete(this);
    const processes = this.#hosts.flatMap((host) => host.processes);
    await Promise.all(processes.map((process) => process.stop()));
    for (const host of this.#hosts) await removeNamespace(host.namespace);
    await Deno.remove(this.folder, { recursive: true });
  }

  async #addHost(name: string, ipv4: string): Promise<Host> {
    const namespace = `${this.#prefix}-${name}`;
    // No IPv6: all programs shall take the same path.
    const host = new Host(name, namespace, ipv4, "", this.folder);
    await must(["ip", "netns", "add", namespace]);
    this.#hosts.push(host);
    await host.must(["ip", "link", "set", "lo", "up"]);
    return host;
  }
}

/** Lays a cable from a device of one host to `e0` of another. */
async function connect(from: Host, device: string, to: Host): Promise<void> {
  await must([
    ...["ip", "-n", from.namespace, "link", "add", device, "type", "veth"],
    ...["peer", "name", "e0", "netns", to.namespace],
  ]);
  await from.must(["ip", "link", "set", device, "up"]);
  await to.must(["ip", "link", "set", "e0", "up"]);
}
