/**
 * Links, addresses and routes of this machine (in the network namespace of the calling thread), by
 * NETLINK_ROUTE (rtnetlink(7)). Nothing is shelled out. Every call sends its request and reads the
 * answers before it returns.
 *
 * @module
 */

import { addressText, prefixText } from "./address_text.ts";
import { ERRNO, SyscallError } from "./errno.ts";
import { AF } from "./layout.ts";
import {
  ATTRIBUTE,
  NESTED,
  nestedAttribute,
  type NetlinkMessage,
  NetlinkRequest,
  NLM_F,
  RTM,
} from "./netlink_message.ts";
import { NetlinkSocket } from "./netlink_socket.ts";
import {
  type InterfaceAddress,
  type Link,
  type Prefix,
  readAddress,
  readLink,
  readRoute,
  readSourceRule,
  type Route,
  SCOPE_NUMBER,
  type SourceRule,
} from "./netlink_tables.ts";
import { type PolicyRule, policyRuleRequest } from "./policy_rule.ts";

export type { PolicyRule } from "./policy_rule.ts";
export type { InterfaceAddress, Link, Prefix, Route, Scope, SourceRule } from "./netlink_tables.ts";

/** The number in `ip route`'s "proto" column that marks routes as ours. */
export const ROUTE_PROTOCOL = 117;

const IFF_UP = 1;
const AF_UNSPEC = 0;
const TABLE_UNSPEC = 0;
const TABLE_MAIN = 254;
const ADDR_GEN_MODE_NONE = 1;
const RTN_UNREACHABLE = 7;
const FR_ACT_TO_TBL = 1;
const IFA_F_NODAD = 0x02;

/** What RTM_GETROUTE says where there is no way. */
const NO_WAY: ReadonlySet<number> = new Set([
  ERRNO.ENETUNREACH,
  ERRNO.EHOSTUNREACH,
  ERRNO.EACCES, // a "prohibit" route
  ERRNO.EINVAL, // a "blackhole" route
]);

/** A route to install or remove. */
export interface RouteRequest {
  /** Where it leads. */
  readonly destination: Prefix;
  /** Through which interface. */
  readonly interfaceIndex: number;
  /** Source address of what this machine sends there. */
  readonly preferredSource?: Uint8Array;
  /** Lower wins. @default {0}, which IPv6 turns into 1024 */
  readonly metric?: number;
  /** Number of the table it stands in. @default {254}, the main one */
  readonly table?: number;
  /** Whether it says that there is no way there, through no interface. @default {false} */
  readonly isUnreachable?: boolean;
}

/** The kernel's routing tables. */
export class Netlink implements Disposable {
  readonly #socket: NetlinkSocket;

  /**
   * Opens a socket, in the network namespace of the calling thread.
   *
   * @throws {SyscallError} If the kernel has no rtnetlink or descriptors are used up.
   */
  constructor() {
    this.#socket = new NetlinkSocket();
  }

  /** All interfaces, in the order of their numbers. */
  links(): Link[] {
    const request = new NetlinkRequest(RTM.GETLINK, NLM_F.DUMP, linkBody(0));
    return this.#socket.dump(request, () => "list network interfaces", readLink);
  }

  /**
   * Finds an interface.
   *
   * @returns `undefined` if there is none of that name.
   */
  link(name: string): Link | undefined {
    return this.links().find((link) => link.name === name);
  }

  /**
   * Changes an interface.
   *
   * @param index Its number.
   * @param change What to change. `autoLinkLocal: false` keeps the kernel from giving it an IPv6
   * link-local address by itself.
   * @throws {SyscallError} If it is refused, naming what was asked for.
   */
  setLink(
    index: number,
    change: { readonly isUp?: boolean; readonly mtu?: number; readonly autoLinkLocal?: false },
  ): void {
    const body = linkBody(index);
    if (change.isUp !== undefined) {
      new DataView(body.buffer).setUint32(8, change.isUp ? IFF_UP : 0, true);
      new DataView(body.buffer).setUint32(12, IFF_UP, true);
    }
    const request = new NetlinkRequest(RTM.NEWLINK, NLM_F.ACK, body);
    if (change.mtu !== undefined) request.attributeU32(ATTRIBUTE.IFLA_MTU, change.mtu);
    if (change.autoLinkLocal === false) {
      const mode = Uint8Array.of(ADDR_GEN_MODE_NONE);
      const inet6 = nestedAttribute(ATTRIBUTE.IFLA_INET6_ADDR_GEN_MODE, mode);
      const families = nestedAttribute(AF.INET6 | NESTED, inet6);
      request.attribute(ATTRIBUTE.IFLA_AF_SPEC | NESTED, families);
    }
    const wanted = Object.entries(change).map(([key, value]) => `${key}=${value}`).join(" ");
    this.#socket.exchange(request, () => `set ${wanted} on interface ${this.#nameOf(index)}`);
  }

  /** All own addresses, of both families. */
  addresses(): InterfaceAddress[] {
    const request = new NetlinkRequest(RTM.GETADDR, NLM_F.DUMP, new Uint8Array(8));
    return this.#socket.dump(request, () => "list addresses", readAddress);
  }

  /**
   * Gives an interface an address, usable at once (no duplicate address detection).
   *
   * @throws {SyscallError} If it is refused; EEXIST if the interface has it already.
   */
  addAddress(index: number, prefix: Prefix): void {
    const flags = NLM_F.ACK | NLM_F.CREATE | NLM_F.EXCL;
    this.#address(RTM.NEWADDR, flags, index, prefix, "add address");
  }

  /**
   * Takes an address from an interface.
   *
   * @throws {SyscallError} If it is refused; EADDRNOTAVAIL if the interface does not have it.
   */
  deleteAddress(index: number, prefix: Prefix): void {
    this.#address(RTM.DELADDR, NLM_F.ACK, index, prefix, "delete address");
  }

  /** All routes of all tables, of both families, without the cache. */
  routes(): Route[] {
    return [AF.INET, AF.INET6].flatMap((family) => {
      const request = new NetlinkRequest(RTM.GETROUTE, NLM_F.DUMP, routeBody({ family }));
      return this.#socket.dump(request, () => "list routes", readRoute);
    });
  }

  /**
   * Installs a route in the main table, marked with {@linkcode ROUTE_PROTOCOL}.
   *
   * @throws {SyscallError} If it is refused; EEXIST if there is one with the same metric.
   */
  addRoute(route: RouteRequest): void {
    this.#route(RTM.NEWROUTE, NLM_F.ACK | NLM_F.CREATE | NLM_F.EXCL, route, "add route");
  }

  /**
   * Removes a route of ours; those of others are left alone even if equal otherwise.
   *
   * @throws {SyscallError} If it is refused; ESRCH if there is none.
   */
  deleteRoute(route: RouteRequest): void {
    this.#route(RTM.DELROUTE, NLM_F.ACK, route, "delete route");
  }

  /** The source rules marked with {@linkcode ROUTE_PROTOCOL}, of both families. */
  sourceRules(): SourceRule[] {
    return [AF.INET, AF.INET6].flatMap((family) => {
      const request = new NetlinkRequest(RTM.GETRULE, NLM_F.DUMP, ruleBody(family, false));
      const read = (message: NetlinkMessage) => readSourceRule(message, ROUTE_PROTOCOL);
      return this.#socket.dump(request, () => "list routing rules", read);
    });
  }

  /**
   * Adds a source rule, marked with {@linkcode ROUTE_PROTOCOL}.
   *
   * @throws {SyscallError} If it is refused; EEXIST if it is there.
   */
  addSourceRule(rule: SourceRule): void {
    this.#rule(RTM.NEWRULE, NLM_F.ACK | NLM_F.CREATE | NLM_F.EXCL, rule, "add rule");
  }

  /**
   * Removes a source rule of ours.
   *
   * @throws {SyscallError} If it is refused; ENOENT if there is none.
   */
  deleteSourceRule(rule: SourceRule): void {
    this.#rule(RTM.DELRULE, NLM_F.ACK, rule, "delete rule");
  }

  /**
   * Adds a policy rule, marked with {@linkcode ROUTE_PROTOCOL}.
   *
   * @throws {SyscallError} If it is refused; EEXIST if it is there.
   */
  addPolicyRule(rule: PolicyRule): void {
    const flags = NLM_F.ACK | NLM_F.CREATE | NLM_F.EXCL;
    this.#socket.exchange(
      policyRuleRequest(RTM.NEWRULE, flags, rule, ROUTE_PROTOCOL),
      () => `add IPv${rule.family} routing rule ${rule.priority}`,
    );
  }

  /**
   * Removes a policy rule of ours, whatever it says.
   *
   * @returns `false` if there is none of that family and priority.
   * @throws {SyscallError} If it is refused.
   */
  deletePolicyRule(rule: Pick<PolicyRule, "family" | "priority">): boolean {
    const { family, priority } = rule;
    try {
      this.#socket.exchange(
        policyRuleRequest(RTM.DELRULE, NLM_F.ACK, { family, priority }, ROUTE_PROTOCOL),
        () => `delete IPv${family} routing rule ${priority}`,
      );
      return true;
    } catch (error) {
      if (error instanceof SyscallError && error.errno === ERRNO.ENOENT) return false;
      throw error;
    }
  }

  /**
   * Asks which way a packet to an address would take.
   *
   * @param destination 4 or 16 bytes.
   * @returns The route, with the source address the system would choose; `undefined` if there is
   * no way there.
   */
  routeTo(destination: Uint8Array): Route | undefined {
    const family = familyOf(destination);
    const body = routeBody({ family, destinationLength: destination.length * 8 });
    const request = new NetlinkRequest(RTM.GETROUTE, 0, body)
      .attribute(ATTRIBUTE.RTA_DST, destination);
    try {
      const found = this.#socket.exchange(
        request,
        () => `look up the route to ${addressText(destination)}`,
      );
      return found.length === 0 ? undefined : readRoute(found[0]!);
    } catch (error) {
      if (error instanceof SyscallError && NO_WAY.has(error.errno)) return undefined;
      throw error;
    }
  }

  /** Closes the socket. Safe to call twice. */
  close(): void {
    this.#socket.close();
  }

  /** Closes the socket. */
  [Symbol.dispose](): void {
    this.close();
  }

  #address(type: number, flags: number, index: number, prefix: Prefix, verb: string): void {
    const body = Uint8Array.of(familyOf(prefix.address), prefix.length, IFA_F_NODAD, 0, 0, 0, 0, 0);
    new DataView(body.buffer).setUint32(4, index, true);
    const request = new NetlinkRequest(type, flags, body)
      .attribute(ATTRIBUTE.IFA_LOCAL, prefix.address)
      .attribute(ATTRIBUTE.IFA_ADDRESS, prefix.address);
    this.#socket.exchange(
      request,
      () => `${verb} ${prefixText(prefix)} on interface ${this.#nameOf(index)}`,
    );
  }

  #rule(type: number, flags: number, rule: SourceRule, verb: string): void {
    const { source, table, priority } = rule;
    const request = new NetlinkRequest(type, flags, ruleBody(familyOf(source), true))
      .attribute(ATTRIBUTE.FRA_SRC, source)
      .attributeU32(ATTRIBUTE.FRA_TABLE, table)
      .attributeU32(ATTRIBUTE.FRA_PRIORITY, priority)
      .attribute(ATTRIBUTE.FRA_PROTOCOL, Uint8Array.of(ROUTE_PROTOCOL));
    this.#socket.exchange(request, () => `${verb} from ${addressText(source)} table ${table}`);
  }

  #route(type: number, flags: number, route: RouteRequest, verb: string): void {
    const family = familyOf(route.destination.address);
    const body = routeBody({ family, destinationLength: route.destination.length, isOurs: true });
    if (route.isUnreachable) body.set([SCOPE_NUMBER.global, RTN_UNREACHABLE], 6);
    const request = new NetlinkRequest(type, flags, body)
      .attribute(ATTRIBUTE.RTA_DST, route.destination.address);
    if (!route.isUnreachable) request.attributeU32(ATTRIBUTE.RTA_OIF, route.interfaceIndex);
    if (route.preferredSource) request.attribute(ATTRIBUTE.RTA_PREFSRC, route.preferredSource);
    if (route.metric) request.attributeU32(ATTRIBUTE.RTA_PRIORITY, route.metric);
    if (route.table !== undefined) request.attributeU32(ATTRIBUTE.RTA_TABLE, route.table);
    this.#socket.exchange(request, () => {
      const where = `on interface ${this.#nameOf(route.interfaceIndex)}`;
      return `${verb} ${prefixText(route.destination)} ${where}`;
    });
  }

  /** The name in quotes, or the number if it is gone. */
  #nameOf(index: number): string {
    const link = this.links().find((item) => item.index === index);
    return link === undefined ? `number ${index}` : `"${link.name}"`;
  }
}

function familyOf(address: Uint8Array): number {
  if (address.length === 4) return AF.INET;
  if (address.length === 16) return AF.INET6;
  throw new RangeError(`address must be 4 or 16 bytes, is ${address.length}`);
}

function linkBody(index: number): Uint8Array<ArrayBuffer> {
  const body = new Uint8Array(16);
  body[0] = AF_UNSPEC;
  new DataView(body.buffer).setInt32(4, index, true);
  return body;
}

/** `struct fib_rule_hdr`: family, destination and source length, …, action at 7, flags u32. */
function ruleBody(family: number, hasSource: boolean): Uint8Array {
  const body = new Uint8Array(12);
  body[0] = family;
  if (hasSource) {
    body[2] = family === AF.INET ? 32 : 128;
    body[7] = FR_ACT_TO_TBL;
  }
  return body;
}

function routeBody(
  o: { family: number; destinationLength?: number; isOurs?: boolean },
): Uint8Array {
  const body = new Uint8Array(12);
  body[0] = o.family;
  body[1] = o.destinationLength ?? 0;
  body[4] = o.isOurs ? TABLE_MAIN : TABLE_UNSPEC;
  if (o.isOurs) {
    body[5] = ROUTE_PROTOCOL;
    // The destination is on the link itself: there is no next hop behind a point-to-point device.
    body[6] = o.family === AF.INET ? SCOPE_NUMBER.link : SCOPE_NUMBER.global;
    body[7] = 1; // RTN_UNICAST
  }
  return body;
}
