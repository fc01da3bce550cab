/**
 * Rows of the kernel's tables as this program sees them, and how they are read from messages of
 * NETLINK_ROUTE. Pure.
 *
 * @module
 */

import { AF } from "./layout.ts";
import { ATTRIBUTE, Attributes, type NetlinkMessage, RTM } from "./netlink_message.ts";

const IFF_UP = 1;
const IFA_F_TEMPORARY = 0x01;
const IFA_F_DADFAILED = 0x08;
const IFA_F_DEPRECATED = 0x20;
const IFA_F_TENTATIVE = 0x40;
const IFA_F_PERMANENT = 0x80;

/** An address with a prefix length. */
export interface Prefix {
  /** 4 or 16 bytes. */
  readonly address: Uint8Array;
  /** 0 to 32 or 128. */
  readonly length: number;
}

/** How far an address or route reaches. */
export type Scope = "global" | "site" | "link" | "host" | "nowhere";

/** The kernel's numbers of scopes (linux/rtnetlink.h). */
export const SCOPE_NUMBER = {
  global: 0,
  site: 200,
  link: 253,
  host: 254,
  nowhere: 255,
} as const satisfies Record<Scope, number>;
const SCOPE_OF = new Map<number, Scope>(
  Object.entries(SCOPE_NUMBER).map(([scope, number]) => [number, scope as Scope]),
);

/** A network interface. */
export interface Link {
  /** Its number, from 1. */
  readonly index: number;
  /** Such as `eth0`. */
  readonly name: string;
  /** In bytes. */
  readonly mtu: number;
  /** Administratively up. */
  readonly isUp: boolean;
  /** Such as `tun`, `veth` or `bridge`; `undefined` for hardware and loopback. */
  readonly kind: string | undefined;
}

/** An own address. */
export interface InterfaceAddress extends Prefix {
  /** Which interface has it. */
  readonly interfaceIndex: number;
  /** How far it reaches. */
  readonly scope: Scope;
  /** Duplicate address detection is not done (or found one): cannot be used yet (or ever). */
  readonly isTentative: boolean;
  /** Still answers, but is not to be chosen any more. */
  readonly isDeprecated: boolean;
  /** A privacy address that changes from day to day. */
  readonly isTemporary: boolean;
  /** Set by hand, so without a lifetime. */
  readonly isPermanent: boolean;
}

/** A route as the kernel has it. */
export interface Route {
  /** Where it leads; length 0 is the default route. */
  readonly destination: Prefix;
  /** Through which interface; `undefined` for several next hops and for unreachable ones. */
  readonly interfaceIndex: number | undefined;
  /** The next hop, if there is one. */
  readonly gateway: Uint8Array | undefined;
  /** The source address chosen for it. */
  readonly preferredSource: Uint8Array | undefined;
  /** 254 is main, 255 local. */
  readonly table: number;
  /** Who installed it: 2 kernel, 3 boot, 4 static, 117 we (`ROUTE_PROTOCOL`). */
  readonly protocol: number;
  /** Lower wins. */
  readonly metric: number;
  /** 1 unicast, 2 local, 3 broadcast, 7 unreachable … */
  readonly type: number;
  /** How far it reaches. */
  readonly scope: Scope;
}

function scopeOf(number: number): Scope {
  return SCOPE_OF.get(number) ?? "global";
}

/**
 * Reads an interface.
 *
 * @param message Borrowed until the call returns.
 * @returns `undefined` if the message is about something else.
 */
export function readLink(message: NetlinkMessage): Link | undefined {
  const { body } = message;
  if (message.type !== RTM.NEWLINK || body.byteLength < 16) return undefined;
  const attributes = new Attributes(body, 16);
  return {
    index: body.getInt32(4, true),
    name: attributes.text(ATTRIBUTE.IFLA_IFNAME) ?? "",
    mtu: attributes.u32(ATTRIBUTE.IFLA_MTU) ?? 0,
    isUp: (body.getUint32(8, true) & IFF_UP) !== 0,
    kind: attributes.nested(ATTRIBUTE.IFLA_LINKINFO)?.text(ATTRIBUTE.IFLA_INFO_KIND),
  };
}

/**
 * Reads an own address; see {@linkcode readLink}.
 */
export function readAddress(message: NetlinkMessage): InterfaceAddress | undefined {
  const { body } = message;
  if (message.type !== RTM.NEWADDR || body.byteLength < 8) return undefined;
  const attributes = new Attributes(body, 8);
  // On a point-to-point link IFA_ADDRESS is the other end's, IFA_LOCAL always our own.
  const address = attributes.bytes(ATTRIBUTE.IFA_LOCAL) ?? attributes.bytes(ATTRIBUTE.IFA_ADDRESS);
  if (address === undefined) return undefined;
  const flags = attributes.u32(ATTRIBUTE.IFA_FLAGS) ?? body.getUint8(2);
  return {
    address,
    length: body.getUint8(1),
    interfaceIndex: body.getUint32(4, true),
    scope: scopeOf(body.getUint8(3)),
    isTentative: (flags & (IFA_F_TENTATIVE | IFA_F_DADFAILED)) !== 0,
    isDeprecated: (flags & IFA_F_DEPRECATED) !== 0,
    isTemporary: (flags & IFA_F_TEMPORARY) !== 0,
    isPermanent: (flags & IFA_F_PERMANENT) !== 0,
  };
}

/**
 * Reads a route; see {@linkcode readLink}.
 */
export function readRoute(message: NetlinkMessage): Route | undefined {
  const { body } = message;
  if (message.type !== RTM.NEWROUTE || body.byteLength < 12) return undefined;
  const attributes = new Attributes(body, 12);
  const addressLength = body.getUint8(0) === AF.INET ? 4 : 16;
  return {
    destination: {
      address: attributes.bytes(ATTRIBUTE.RTA_DST) ?? new Uint8Array(addressLength),
      length: body.getUint8(1),
    },
    interfaceIndex: attributes.u32(ATTRIBUTE.RTA_OIF),
    gateway: attributes.bytes(ATTRIBUTE.RTA_GATEWAY),
    preferredSource: attributes.bytes(ATTRIBUTE.RTA_PREFSRC),
    table: attributes.u32(ATTRIBUTE.RTA_TABLE) ?? body.getUint8(4),
    protocol: body.getUint8(5),
    metric: attributes.u32(ATTRIBUTE.RTA_PRIORITY) ?? 0,
    type: body.getUint8(7),
    scope: scopeOf(body.getUint8(6)),
  };
}

/** A rule: packets of one own address are routed by a table of its own. */
export interface SourceRule {
  /** 4 or 16 bytes. */
  readonly source: Uint8Array;
  /** Number of the table. */
  readonly table: number;
  /** Lower is asked first; the main table is 32766. */
  readonly priority: number;
}

/**
 * Reads a source rule; see {@linkcode readLink}.
 *
 * @param protocol Who must have made it, as in routes.
 */
export function readSourceRule(message: NetlinkMessage, protocol: number): SourceRule | undefined {
  const { body } = message;
  if (message.type !== RTM.NEWRULE || body.byteLength < 12) return undefined;
  const attributes = new Attributes(body, 12);
  const source = attributes.bytes(ATTRIBUTE.FRA_SRC);
  if (source === undefined || attributes.bytes(ATTRIBUTE.FRA_PROTOCOL)?.[0] !== protocol) {
    return undefined;
  }
  return {
    source,
    table: attributes.u32(ATTRIBUTE.FRA_TABLE) ?? body.getUint8(4),
    priority: attributes.u32(ATTRIBUTE.FRA_PRIORITY) ?? 0,
  };
}
