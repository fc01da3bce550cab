/**
 * All traffic of this machine through the tunnel, and nothing beside it while the tunnel is down.
 *
 * ```text
 * rule  own UDP port           → main table: sealed datagrams go the usual way
 *       own UDP port           → unreachable: never through the tunnel they are made for
 *       anything               → main table without its default route: the own LAN stays
 *       anything               → our table: default through the tunnel
 *                                           unreachable, where that is gone
 * ```
 *
 * The last line holds back everything when the interface is gone, after a crash too: until this node
 * starts again, or somebody removes the rules by hand. A family that the tunnel does not carry goes
 * nowhere.
 *
 * The own datagrams are told by their port, which nobody else can have on this machine; so no
 * firewall marks are needed, and a new network or another endpoint changes nothing.
 *
 * @module
 */

import { ERRNO, SyscallError } from "../../ffi/errno.ts";
import type { Netlink, PolicyRule, RouteRequest } from "../../ffi/netlink.ts";
import type { IpAddress } from "../net/endpoint.ts";
import { AgentError } from "./errors.ts";

const TABLE_MAIN = 254;
/** One for all nodes of a machine ("tm"): there is only one default route. */
const TABLE = 0x746d_ffff;
/** After the rules of mesh addresses, before the main table. */
const FIRST_PRIORITY = 5_120;
const RTN_UNICAST = 1;
const METRIC = 10;
const UNREACHABLE_METRIC = 1_000_000;

/** What {@linkcode DefaultRoute.install} takes. */
export interface DefaultRouteOptions {
  /** Stays the caller's, and open until {@linkcode DefaultRoute.remove}. */
  readonly netlink: Netlink;
  /** Of the tunnel. */
  readonly interfaceIndex: number;
  /** UDP port of this node. */
  readonly port: number;
  /** What the tunnel carries. */
  readonly families: { readonly ipv4: boolean; readonly ipv6: boolean };
  /** Whether this machine has IPv6 at all. */
  readonly hasIpv6: boolean;
  /** Own addresses in the tunnel. */
  readonly sources: readonly IpAddress[];
}

/** Rules and routes that lead everything into the tunnel. */
export class DefaultRoute {
  readonly #netlink: Netlink;
  readonly #families: readonly (4 | 6)[];
  readonly #routes: RouteRequest[] = [];

  private constructor(netlink: Netlink, families: readonly (4 | 6)[]) {
    this.#netlink = netlink;
    this.#families = families;
  }

  /**
   * Installs rules and routes, those that a process that died left shut staying so meanwhile.
   *
   * @throws {AgentError} `in-use` if another process has done so and lives.
   * @throws {SyscallError} If the kernel refuses; nothing is left behind then.
   */
  static install(options: DefaultRouteOptions): DefaultRoute {
    const { netlink, hasIpv6 } = options;
    if (isLive(netlink)) {
      throw new AgentError(
        "in-use",
        "Cannot take all traffic: another tunnel of this machine does already; stop that one, or " +
          "leave defaultRoute out",
      );
    }
    const self = new DefaultRoute(netlink, hasIpv6 ? [4, 6] : [4]);
    try {
      for (const family of self.#families) self.#install(family, options);
      return self;
    } catch (error) {
      self.remove();
      throw error;
    }
  }

  /** Removes what a process that died has left, unless another one that lives uses it. */
  static sweep(netlink: Netlink, hasIpv6: boolean): void {
    if (isLive(netlink)) return;
    const left = new DefaultRoute(netlink, hasIpv6 ? [4, 6] : [4]);
    left.#routes.push(...left.#families.map(nowhereOf));
    left.remove();
  }

  /** Removes rules and routes. Safe to call twice. */
  remove(): void {
    for (const family of this.#families) this.#removeRules(family);
    for (const route of this.#routes.splice(0)) this.#tryDelete(route);
  }

  #install(family: 4 | 6, options: DefaultRouteOptions): void {
    const { interfaceIndex, port, families, sources } = options;
    const length = family === 4 ? 4 : 16;
    const destination = { address: new Uint8Array(length), length: 0 };
    this.#add(nowhereOf(family));
    if (family === 4 ? families.ipv4 : families.ipv6) {
      const preferredSource = sources.find((address) => address.length === length);
      const source = preferredSource && { preferredSource };
      this.#add({ destination, interfaceIndex, table: TABLE, metric: METRIC, ...source });
    }
    // The last one first: from each on, what it concerns is where it belongs. After a crash those
    // that shut the door stand, and stay; the port may be another one.
    const { netlink } = options;
    for (const rule of rulesOf(family, port).reverse()) {
      if (rule.udpSourcePort !== undefined) { while (netlink.deletePolicyRule(rule)); }
      unlessThere(() => netlink.addPolicyRule(rule));
    }
  }

  #add(route: RouteRequest): void {
    unlessThere(() => this.#netlink.addRoute(route));
    this.#routes.push(route);
  }

  #removeRules(family: 4 | 6): void {
    for (const { priority } of rulesOf(family, 0)) {
      while (this.#netlink.deletePolicyRule({ family, priority }));
    }
  }

  #tryDelete(route: RouteRequest): void {
    try {
      this.#netlink.deleteRoute(route);
    } catch (error) {
      // Gone with the interface, or never there.
      if (!(error instanceof SyscallError) || error.errno === ERRNO.EPERM) throw error;
    }
  }
}

/** Adds something that a process that died may have left. */
function unlessThere(add: () => void): void {
  try {
    add();
  } catch (error) {
    if (!(error instanceof SyscallError) || error.errno !== ERRNO.EEXIST) throw error;
  }
}

/** Whether a tunnel is at the end of our table: the interface of a process that died is gone. */
function isLive(netlink: Netlink): boolean {
  return netlink.routes().some(({ table, type }) => table === TABLE && type === RTN_UNICAST);
}

function nowhereOf(family: 4 | 6): RouteRequest {
  return {
    destination: { address: new Uint8Array(family === 4 ? 4 : 16), length: 0 },
    interfaceIndex: 0,
    table: TABLE,
    metric: UNREACHABLE_METRIC,
    isUnreachable: true,
  };
}

function rulesOf(family: 4 | 6, port: number): PolicyRule[] {
  const rules: Omit<PolicyRule, "family" | "priority">[] = [
    { udpSourcePort: port, to: TABLE_MAIN },
    { udpSourcePort: port, to: "unreachable" },
    { to: TABLE_MAIN, ignoresDefaultRoute: true },
    { to: TABLE },
  ];
  return rules.map((rule, i) => ({ ...rule, family, priority: FIRST_PRIORITY + i }));
}
