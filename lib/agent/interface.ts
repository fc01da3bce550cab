/**
 * The mesh as a network interface of this machine: TUN device, addresses, routes.
 *
 * Routes belong to the device, so that a process that died leaves none behind. One agent alone
 * routes the whole mesh range through its device; where others of the same range run in the same
 * network namespace, each routes its peers one by one, so that they do not shadow each other. What
 * has a mesh address as its source always leaves by the device of that address: a rule and a table
 * of its own see to it. A rule that outlived its process is removed by the next one.
 *
 * @module
 */

import { ERRNO, SyscallError } from "../../ffi/errno.ts";
import {
  type Netlink,
  type Route,
  ROUTE_PROTOCOL,
  type RouteRequest,
  type SourceRule,
} from "../../ffi/netlink.ts";
import { hasIpv6 } from "../../ffi/udp_linux.ts";
import type { IpAddress } from "../net/endpoint.ts";
import { formatIpPrefix, hostPrefix, type IpPrefix, prefixesOverlap } from "../net/ip_prefix.ts";
import { equalIpAddresses } from "../net/ip_address.ts";
import { logOf } from "../base/log.ts";
import { AgentError } from "./errors.ts";
import { orAgentError } from "./syscall_fault.ts";
import { TunInterface } from "./tun_interface.ts";

const log = logOf("agent");

/** Kernel's table of own addresses: always there, never in the way. */
const TABLE_LOCAL = 255;
/** Route installed by the kernel itself because of an address. */
const PROTOCOL_KERNEL = 2;
/** `RTN_UNICAST` and `RTN_UNREACHABLE` and their like say where packets go; others do not. */
const ROUTE_TYPES_IN_THE_WAY = [1, 6, 7, 8];
/** Ours, before the main table (32766): a packet of a mesh address leaves by that mesh's device. */
const RULE_PRIORITY = 5_117;
/** Added to the interface number: a table of its own for each device ("tm"). */
const TABLE_BASE = 0x746d_0000;
/** Added to the interface number: two agents' routes to one peer then differ, and both stand. */
const METRIC_BASE = 100;

/** A node's place in the mesh, as its interface needs it. */
export interface MeshPlace {
  /** Own addresses in the mesh. */
  readonly addresses: { readonly ipv4: IpAddress; readonly ipv6: IpAddress };
  /** Prefixes that all addresses of the mesh lie in. */
  readonly ranges: { readonly ipv4: IpPrefix; readonly ipv6: IpPrefix };
}

/** A TUN device with its addresses and routes; all gone once it is closed. */
export class MeshInterface extends TunInterface {
  readonly #routed = new Set<string>();
  readonly #rules: SourceRule[] = [];
  #place: MeshPlace | undefined;
  #hasIpv6 = false;
  #routesWholeRange = false;

  /** Whether IPv6 works here: `false` on a host that has it switched off. */
  get hasIpv6(): boolean {
    return this.#hasIpv6;
  }

  /** Whether the whole range leads here, and not each peer's addresses by themselves. */
  get routesWholeRange(): boolean {
    return this.#routesWholeRange;
  }

  /**
   * Gives the device its addresses and routes.
   *
   * @param place Of this node in the mesh.
   * @throws {AgentError} `config` if something else on this machine uses addresses of the mesh,
   * `privilege` if a right is missing.
   */
  configure(place: MeshPlace): void {
    this.#place = place;
    orAgentError(() => {
      const ranges = [place.ranges.ipv4, place.ranges.ipv6];
      refuseOverlap(this.netlink, ranges);
      const routes = this.netlink.routes();
      this.#routesWholeRange = !routes.some((route) => isOurs(route) && isInRange(route, ranges));
      this.netlink.setLink(this.tun.index, { isUp: true });
      this.netlink.addAddress(this.tun.index, hostPrefix(place.addresses.ipv4));
      this.#hasIpv6 = hasIpv6() && this.#addIpv6(place.addresses.ipv6);
      if (this.#routesWholeRange) this.#routeRanges(place);
      this.#routeBySource(place);
    });
  }

  /**
   * Routes a peer's addresses here, where the range is not.
   *
   * @param address Of the peer in the mesh, either family.
   * @throws {SyscallError} If the kernel refuses it.
   */
  addPeerAddress(address: IpAddress): void {
    if (this.#routesWholeRange || (address.length === 16 && !this.#hasIpv6)) return;
    const destination = hostPrefix(address);
    const text = formatIpPrefix(destination);
    if (this.#routed.has(text)) return;
    this.#addRoute(destination);
    this.#routed.add(text);
  }

  /** Undoes {@linkcode addPeerAddress}. */
  removePeerAddress(address: IpAddress): void {
    const destination = hostPrefix(address);
    if (!this.#routed.delete(formatIpPrefix(destination))) return;
    try {
      this.netlink.deleteRoute(this.#request(destination));
    } catch (error) {
      // Somebody else removed it: then it is as it should be.
      if (!(error instanceof SyscallError)) throw error;
    }
  }

  /** @inheritdoc */
  override async close(): Promise<void> {
    for (const rule of this.#rules.splice(0)) tryDelete(this.netlink, rule);
    await super.close();
  }

  #addIpv6(address: IpAddress): boolean {
    try {
      this.netlink.addAddress(this.tun.index, hostPrefix(address));
      return true;
    } catch (error) {
      // IPv6 may be on for the machine and off for new interfaces.
      if (error instanceof SyscallError) return false;
      throw error;
    }
  }

  #routeRanges({ ranges }: MeshPlace): void {
    this.#addRoute(ranges.ipv4);
    if (this.#hasIpv6) this.#addRoute(ranges.ipv6);
  }

  #routeBySource({ addresses, ranges }: MeshPlace): void {
    this.#removeOldRules(addresses);
    const table = TABLE_BASE + this.tun.index;
    const families: [IpAddress, IpPrefix][] = [[addresses.ipv4, ranges.ipv4]];
    if (this.#hasIpv6) families.push([addresses.ipv6, ranges.ipv6]);
    try {
      for (const [source, destination] of families) {
        this.netlink.addRoute({ destination, interfaceIndex: this.tun.index, table });
        const rule = { source, table, priority: RULE_PRIORITY };
        this.netlink.addSourceRule(rule);
        this.#rules.push(rule);
      }
    } catch (error) {
      // A kernel without policy routing: one agent per machine works all the same.
      if (!(error instanceof SyscallError)) throw error;
      log.debug("No routing by source", { reason: error.message });
    }
  }

  #removeOldRules({ ipv4, ipv6 }: MeshPlace["addresses"]): void {
    const tables = new Set(this.netlink.links().map(({ index }) => TABLE_BASE + index));
    for (const rule of this.netlink.sourceRules()) {
      const isOurAddress = [ipv4, ipv6].some((own) => equalIpAddresses(own, rule.source));
      if (isOurAddress || !tables.has(rule.table)) tryDelete(this.netlink, rule);
    }
  }

  #addRoute(destination: IpPrefix): void {
    try {
      this.netlink.addRoute(this.#request(destination));
    } catch (error) {
      if (error instanceof SyscallError && error.errno === ERRNO.EEXIST) return;
      throw error;
    }
  }

  #request(destination: IpPrefix): RouteRequest {
    const own = this.#place?.addresses;
    const preferredSource = destination.address.length === 4 ? own?.ipv4 : own?.ipv6;
    return {
      destination,
      interfaceIndex: this.tun.index,
      ...(preferredSource === undefined ? {} : { preferredSource }),
      metric: METRIC_BASE + this.tun.index,
    };
  }
}

/**
 * Looks for routes of something else into a range.
 *
 * @param netlink Open.
 * @param ranges Of the mesh.
 * @param remedy What a person can do about it.
 * @throws {AgentError} `config`, naming the first such route.
 */
export function refuseOverlap(
  netlink: Netlink,
  ranges: readonly IpPrefix[],
  remedy = "give the coordinator another range by --range",
): void {
  const inTheWay = netlink.routes().find((route) =>
    route.table !== TABLE_LOCAL && !isOurs(route) && !isOwnAddressRoute(route) &&
    ROUTE_TYPES_IN_THE_WAY.includes(route.type) && route.destination.length > 0 &&
    isInRange(route, ranges)
  );
  if (inTheWay === undefined) return;
  const { destination, interfaceIndex } = inTheWay;
  const link = netlink.links().find(({ index }) => index === interfaceIndex);
  const where = link === undefined ? "" : ` on "${link.name}"`;
  const range = ranges.find((range) => prefixesOverlap(range, destination))!;
  throw new AgentError(
    "config",
    `Cannot use mesh range ${formatIpPrefix(range)}: this machine has a route to ` +
      `${formatIpPrefix(destination)}${where}; ${remedy}`,
  );
}

function isOurs(route: Route): boolean {
  return route.protocol === ROUTE_PROTOCOL;
}

/** The route to itself that IPv6 gives every address, such as that of another agent. */
function isOwnAddressRoute(route: Route): boolean {
  const { address, length } = route.destination;
  return route.protocol === PROTOCOL_KERNEL && length === address.length * 8;
}

function isInRange(route: Route, ranges: readonly IpPrefix[]): boolean {
  return ranges.some((range) => prefixesOverlap(range, route.destination));
}

function tryDelete(netlink: Netlink, rule: SourceRule): void {
  try {
    netlink.deleteSourceRule(rule);
  } catch (error) {
    if (!(error instanceof SyscallError)) throw error; // gone already
  }
}
