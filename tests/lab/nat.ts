/**
 * Two private networks behind gateways of every kind, and two public servers, in network namespaces.
 *
 * ```
 *                ┌──────────── inet: bridge br0, 203.0.113.0/24, 2001:db8:1::/64 ───────────┐
 *      wan │ .1, ::1        wan │ .2, ::2                  eth0 │ .10, ::10      eth0 │ .11, ::11
 *         gwa                  gwb                            pub1                  pub2
 *      lan │ 10.1.0.1       lan │ 10.2.0.1
 *          │ 2001:db8:11::1     │ 2001:db8:12::1
 *     eth0 │ .2, ::2       eth0 │ .2, ::2
 *        hosta                hostb           (more hosts of a network: .3, ::3, …)
 * ```
 *
 * `lan` is a bridge. With a delay wire, `wan` of both gateways is a TAP device of a process that
 * delays and loses frames. Needs root, iproute2, nftables; the wire needs gcc.
 *
 * @module
 */

import { miniupnpdConfig } from "./miniupnpd.ts";
import { Host, PREFIX, removeNamespace, sweep } from "./namespaces.ts";
import {
  type FirewallMode,
  firewallRules,
  GATEWAY_SETTINGS,
  hairpinRules,
  isolationRules,
  lossRules,
  type NatMode,
  natRules,
  portMappingRules,
  statefulIpv6Rules,
} from "./nat_rules.ts";
import { Background, must } from "./processes.ts";

/** One of the two private networks. */
export type Side = "a" | "b";
/** The addresses that the hosts of private networks have. */
export type Families = "ipv4" | "dual" | "ipv6";

/** How to make a {@linkcode NatLab}. */
export interface NatLabOptions {
  /**
   * First three numbers of the public network. miniupnpd refuses documentation ranges, so take
   * `44.128.1` for it. @default {"203.0.113"}
   */
  readonly publicNetwork?: string;
  /** @default {"ipv4"} */
  readonly families?: Families;
  /**
   * Settings of the wires between the gateways and the public network, such as
   * `delay=20 jitter=5 loss=1` (each direction; milliseconds and percent). Without them there is no
   * delay wire.
   */
  readonly wire?: string;
}

/** Number of a side in its addresses. */
const NUMBER: Readonly<Record<Side, number>> = { a: 1, b: 2 };
const SIDES: readonly Side[] = ["a", "b"];
const PUBLIC = { pub1: 10, pub2: 11 } as const;
const DELAYWIRE = decodeURIComponent(new URL("delaywire.c", import.meta.url).pathname);

/** Labs of {@linkcode NatLab} count from here, so that their names differ from those of `Lab`. */
let labs = 1_000;

/** The network of one test; `await using` it. */
export class NatLab implements AsyncDisposable {
  readonly #prefix: string;
  readonly #hosts = new Map<string, Host>();
  /** How many hosts each private network ever had. */
  readonly #hostCount = { a: 0, b: 0 };
  /** Gateways that hairpin. */
  readonly #hairpins = new Set<Side>();
  readonly #wires = new Map<Side, { readonly process: Background; readonly control: string }>();
  #ports = 0;
  #reboundPort = 30_001;
  #isClosed = false;

  private constructor(
    /** Folder for the test's files, removed with the lab; open to its owner only. */
    readonly folder: string,
    /** First three numbers of the public network. */
    readonly publicNetwork: string,
    /** Addresses of the hosts of private networks. */
    readonly families: Families,
  ) {
    this.#prefix = `${PREFIX}${Deno.pid}-${labs++}`;
  }

  /** Makes it: gateways `cone` and `open`, no hairpin. @throws {Error} If it cannot be made here. */
  static async create(options: NatLabOptions = {}): Promise<NatLab> {
    await sweep();
    const { publicNetwork = "203.0.113", families = "ipv4", wire } = options;
    const folder = await Deno.makeTempDir({ prefix: "tunnelmesh-lab-" });
    const lab = new NatLab(folder, publicNetwork, families);
    try {
      await lab.#makeNetwork(wire);
    } catch (error) {
      await lab[Symbol.asyncDispose]();
      throw error;
    }
    return lab;
  }

  /** A host: `hosta`, `hostb`, `gwa`, `gwb`, `pub1`, `pub2`, `inet` or one that was added. */
  host(name: string): Host {
    const host = this.#hosts.get(name);
    if (!host) throw new Error(`No host "${name}" in this lab`);
    return host;
  }

  /**
   * Sets how a gateway translates IPv4, and forgets all translations.
   *
   * @param forgets `udp`: TCP connections stay.
   */
  async nat(side: Side, mode: NatMode, forgets: "all" | "udp" = "all"): Promise<void> {
    await this.#rules(side, natRules(mode, `10.${NUMBER[side]}.0.2`));
    await this.forget(side, forgets);
  }

  /** Sets what a gateway lets through; connections that are open are checked anew. */
  async firewall(side: Side, mode: FirewallMode): Promise<void> {
    await this.#rules(side, firewallRules(mode));
    await this.forget(side);
  }

  /**
   * Sets whether hosts of a network reach each other by the public endpoints that their gateway
   * mapped, and forgets all translations.
   */
  async hairpin(side: Side, isOn: boolean): Promise<void> {
    this.#hairpins[isOn ? "add" : "delete"](side);
    await this.forget(side);
  }

  /** Sets whether a network keeps its hosts from each other, as Wi-Fi for guests does. */
  isolate(side: Side, isOn: boolean): Promise<void> {
    return this.#rules(side, isolationRules(isOn));
  }

  /** Sets the share of packets that a gateway loses in each direction, in percent. */
  loss(side: Side, percent: number): Promise<void> {
    return this.#rules(side, lossRules(percent));
  }

  /** Whether a gateway lets in only answers by IPv6. At first it does. */
  statefulIpv6(side: Side, isStateful: boolean): Promise<void> {
    return this.#rules(side, statefulIpv6Rules(isStateful));
  }

  /** Limits both directions of an access link, as in `10mbit`; `undefined` lifts the limit. */
  async rate(side: Side, rate: string | undefined): Promise<void> {
    const gateway = this.host(`gw${side}`);
    for (const device of ["wan", "lan"]) {
      await gateway.run(["tc", "qdisc", "del", "dev", device, "root"]);
      if (rate === undefined) continue;
      const tbf = ["tbf", "rate", rate, "burst", "32kbit", "latency", "100ms"];
      await gateway.must(["tc", "qdisc", "add", "dev", device, "root", ...tbf]);
    }
  }

  /** Sets how long a gateway keeps a UDP mapping without traffic. */
  async udpTimeout(side: Side, seconds: number): Promise<void> {
    const name = "net.netfilter.nf_conntrack_udp_timeout";
    const settings = [`${name}=${seconds}`, `${name}_stream=${seconds}`];
    await this.host(`gw${side}`).must(["sysctl", "-qw", ...settings]);
  }

  /** Makes a gateway forget all translations, as if it had been restarted, or those of UDP. */
  async forget(side: Side, what: "all" | "udp" = "all"): Promise<void> {
    // Which port is mapped to whom stands in the rules of the hairpin, too; these are made anew.
    await this.#rules(side, hairpinRules(this.#hairpins.has(side)));
    const which = what === "all" ? ["-F"] : ["-D", "-p", "udp"];
    await this.host(`gw${side}`).run(["conntrack", ...which]);
  }

  /**
   * Lets a gateway of mode `cone`, with one UDP socket behind it, map that socket to another port
   * from here on. {@linkcode NatLab.nat} ends that. TCP connections stay.
   */
  async rebind(side: Side): Promise<void> {
    await this.#rules(side, natRules("cone", `10.${NUMBER[side]}.0.2`, this.#reboundPort++));
    await this.forget(side, "udp");
  }

  /** Lets a gateway let UDP through, or drop it. TCP connections stay, other than by `firewall`. */
  udp(side: Side, passes: boolean): Promise<void> {
    return this.#rules(side, firewallRules(passes ? "open" : "noudp"));
  }

  /**
   * Gives a gateway another public address (`.1` becomes `.101`, and back), as providers do: all
   * mappings of its hosts change at once.
   *
   * @returns The new address.
   */
  async renumber(side: Side): Promise<string> {
    const gateway = this.host(`gw${side}`);
    const low = `${this.publicNetwork}.${NUMBER[side]}`;
    const high = `${this.publicNetwork}.${NUMBER[side] + 100}`;
    const isLow = (await gateway.must(["ip", "-4", "-br", "addr", "show", "wan"])).includes(
      `${low}/`,
    );
    const [from, to] = isLow ? [low, high] : [high, low];
    await gateway.must(["ip", "address", "add", `${to}/24`, "dev", "wan"]);
    // Deleting the primary address of a network takes its secondary ones along, unless told so.
    await gateway.must(["sysctl", "-qw", "net.ipv4.conf.wan.promote_secondaries=1"]);
    await gateway.must(["ip", "address", "del", `${from}/24`, "dev", "wan"]);
    await this.#privateRoutes();
    await this.forget(side);
    return to;
  }

  /** Changes the wire of a side while it runs; see {@linkcode NatLabOptions.wire}. */
  async wire(side: Side, settings: string): Promise<void> {
    const wire = this.#wires.get(side);
    if (!wire) throw new Error("This lab was made without delay wires");
    await Deno.writeTextFile(wire.control, `${settings}\n`, { create: false });
  }

  /** Adds a host to a private network; the first of each is `hosta` and `hostb`. */
  async addHost(name: string, side: Side): Promise<Host> {
    const { ipv4, ipv6 } = this.#nextAddresses(side);
    const host = await this.#addNamespace(name, ipv4, ipv6);
    await this.#attach(host, side, ipv4, ipv6);
    return host;
  }

  /**
   * Unplugs a host from its network and plugs it into another, where it gets other addresses:
   * `eth0` is gone for `pauseMs`, then there is a new one.
   */
  async move(name: string, to: Side, pauseMs = 0): Promise<void> {
    const host = this.host(name);
    await host.must(["ip", "link", "del", "eth0"]);
    await new Promise((resolve) => setTimeout(resolve, pauseMs));
    const { ipv4, ipv6 } = this.#nextAddresses(to);
    await this.#attach(host, to, ipv4, ipv6);
  }

  /**
   * Starts a UPnP, NAT-PMP and PCP service on a gateway (Debian: `miniupnpd-nftables`).
   *
   * @param settings Lines of its configuration, instead of those it has or beside them.
   */
  async portMapping(
    side: Side,
    settings: Readonly<Record<string, string>> = {},
  ): Promise<Background> {
    const gateway = this.host(`gw${side}`);
    const file = `${this.folder}/miniupnpd-${side}.conf`;
    await Deno.writeTextFile(file, miniupnpdConfig(NUMBER[side], settings));
    await this.#rules(side, portMappingRules());
    const pid = `${this.folder}/miniupnpd-${side}.pid`;
    return gateway.start(["miniupnpd", "-d", "-f", file, "-P", pid]);
  }

  /** Ends all processes of the lab and removes its namespaces and files. Safe to call twice. */
  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#isClosed) return;
    this.#isClosed = true;
    const hosts = [...this.#hosts.values()];
    await Promise.all(hosts.flatMap((host) => host.processes.map((process) => process.stop())));
    for (const { process } of this.#wires.values()) await process.stop();
    for (const host of hosts) await removeNamespace(host.namespace);
    await Deno.remove(this.folder, { recursive: true });
  }

  async #makeNetwork(wire: string | undefined): Promise<void> {
    // The bridge has a namespace of its own, where no filter of this machine can touch it.
    const inet = await this.#addNamespace("inet", "", "");
    await inet.must(["ip", "link", "add", "br0", "type", "bridge"]);
    await inet.must(["ip", "link", "set", "br0", "up"]);
    for (const [name, number] of Object.entries(PUBLIC)) {
      const host = await this.#addPublic(name, number);
      await this.#cable(host, "eth0", inet, "br0");
      await this.#setAddresses(host, "eth0", host.ipv4, host.ipv6);
    }
    const program = wire === undefined ? undefined : await this.#buildWire();
    for (const side of SIDES) {
      const number = NUMBER[side];
      const gateway = await this.#addPublic(`gw${side}`, number);
      if (program === undefined) await this.#cable(gateway, "wan", inet, "br0");
      else await this.#delayedCable(program, side, gateway, inet, wire!);
      await this.#setAddresses(gateway, "wan", gateway.ipv4, gateway.ipv6);
      await gateway.must(["ip", "link", "add", "lan", "type", "bridge"]);
      await gateway.must(["ip", "link", "set", "lan", "up"]);
      await this.#setAddresses(gateway, "lan", `10.${number}.0.1`, `2001:db8:1${number}::1`);
      await gateway.must(["sysctl", "-qew", ...GATEWAY_SETTINGS]);
      await this.nat(side, "cone");
      await this.firewall(side, "open");
      await this.statefulIpv6(side, true);
      await this.addHost(`host${side}`, side);
    }
    await this.#privateRoutes();
  }

  /** Everybody outside knows the way to both private networks, for the mode `none` and for IPv6. */
  async #privateRoutes(): Promise<void> {
    for (const side of SIDES) {
      const number = NUMBER[side];
      const others = [...Object.keys(PUBLIC), side === "a" ? "gwb" : "gwa"];
      const shown = await this.host(`gw${side}`).must(["ip", "-4", "-o", "addr", "show", "wan"]);
      const [, wan] = /inet (\S+)\//.exec(shown) ?? [];
      for (const other of others) {
        const host = this.host(other);
        await host.must(["ip", "route", "replace", `10.${number}.0.0/24`, "via", wan!]);
        const ipv6 = [`2001:db8:1${number}::/64`, "via", `2001:db8:1::${number}`];
        await host.must(["ip", "-6", "route", "replace", ...ipv6]);
      }
    }
  }

  #nextAddresses(side: Side): { ipv4: string; ipv6: string } {
    const number = NUMBER[side];
    const own = ++this.#hostCount[side] + 1;
    return { ipv4: `10.${number}.0.${own}`, ipv6: `2001:db8:1${number}::${own}` };
  }

  #addPublic(name: string, number: number): Promise<Host> {
    return this.#addNamespace(name, `${this.publicNetwork}.${number}`, `2001:db8:1::${number}`);
  }

  async #addNamespace(name: string, ipv4: string, ipv6: string): Promise<Host> {
    const host = new Host(name, `${this.#prefix}-${name}`, ipv4, ipv6, this.folder);
    this.#hosts.set(name, host);
    await must(["ip", "netns", "add", host.namespace]);
    await host.must(["ip", "link", "set", "lo", "up"]);
    return host;
  }

  async #attach(host: Host, side: Side, ipv4: string, ipv6: string): Promise<void> {
    await this.#cable(host, "eth0", this.host(`gw${side}`), "lan");
    const number = NUMBER[side];
    const hasIpv4 = this.families !== "ipv6";
    const hasIpv6 = this.families !== "ipv4";
    await this.#setAddresses(host, "eth0", hasIpv4 ? ipv4 : undefined, hasIpv6 ? ipv6 : undefined);
    if (hasIpv4) await host.must(["ip", "route", "replace", "default", "via", `10.${number}.0.1`]);
    if (!hasIpv6) return;
    await host.must(["ip", "-6", "route", "replace", "default", "via", `2001:db8:1${number}::1`]);
  }

  async #setAddresses(
    host: Host,
    device: string,
    ipv4: string | undefined,
    ipv6: string | undefined,
  ): Promise<void> {
    const add = ["ip", "address", "add"];
    if (ipv4 !== undefined) await host.must([...add, `${ipv4}/24`, "dev", device]);
    if (ipv6 !== undefined) await host.must([...add, `${ipv6}/64`, "dev", device, "nodad"]);
  }

  /** A plain cable from a device of a host to a bridge. */
  async #cable(from: Host, device: string, to: Host, bridge: string): Promise<void> {
    const port = `p${this.#ports++}`;
    await must([
      ...["ip", "-n", from.namespace, "link", "add", device, "type", "veth"],
      ...["peer", "name", port, "netns", to.namespace],
    ]);
    await to.must(["ip", "link", "set", port, "master", bridge, "up"]);
    await from.must(["ip", "link", "set", device, "up"]);
  }

  async #delayedCable(
    program: string,
    side: Side,
    gateway: Host,
    inet: Host,
    settings: string,
  ): Promise<void> {
    const control = `${this.folder}/wire-${side}`;
    await must(["mkfifo", "-m", "600", control]);
    const port = `p${this.#ports++}`;
    const words = [program, gateway.namespace, "wan", inet.namespace, port];
    // The shell opens the pipe for reading and writing, so its other end may come and go.
    const script = 'pipe=$1; shift; exec "$@" 0<>"$pipe"';
    const process = new Background([
      ...["sh", "-c", script, "wire", control, ...words],
      ...settings.split(" ").filter((word) => word !== ""),
    ]);
    this.#wires.set(side, { process, control });
    await process.shows(/^ready$/m);
    await inet.must(["ip", "link", "set", port, "master", "br0", "up"]);
  }

  async #buildWire(): Promise<string> {
    const program = `${this.folder}/delaywire`;
    await must(["gcc", "-O2", "-Wall", "-o", program, DELAYWIRE]);
    return program;
  }

  async #rules(side: Side, rules: string): Promise<void> {
    const gateway = this.host(`gw${side}`);
    const { code, stderr } = await gateway.run(["nft", "-f", "-"], { input: rules });
    if (code !== 0) throw new Error(`nft refused the rules: ${stderr}\n${rules}`);
  }
}
