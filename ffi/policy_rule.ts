/**
 * Rules that say which routing table a packet is looked up in (fib_rules(7), `ip rule`), beyond the
 * source rules of `netlink_tables.ts`. Pure.
 *
 * ```
 * fib_rule_hdr  0 family 1 │ 1 destination length 1 │ 2 source length 1 │ 3 tos 1 │ 4 table 1
 *               5 (gap) 2 │ 7 action 1 │ 8 flags 4                                         = 12
 * port range    0 first 2 │ 2 last 2
 * ```
 *
 * Source: linux/fib_rules.h. Rules by protocol and port: Linux 4.17 and later.
 *
 * @module
 */

import { AF } from "./layout.ts";
import { ATTRIBUTE, NetlinkRequest } from "./netlink_message.ts";

const FR_ACT_TO_TBL = 1;
const FR_ACT_UNREACHABLE = 7;
const IPPROTO_UDP = 17;

/** A rule for packets of one family. */
export interface PolicyRule {
  readonly family: 4 | 6;
  /** Lower is asked first; the main table is 32766. */
  readonly priority: number;
  /** Only what leaves this machine by UDP from that port. @default whatever it is */
  readonly udpSourcePort?: number;
  /** Number of the table to look in, or `unreachable`: there is no way. */
  readonly to?: number | "unreachable";
  /** Whether a default route that is found in the table does not count. @default {false} */
  readonly ignoresDefaultRoute?: boolean;
}

/**
 * Puts a request about a rule together.
 *
 * @param type `NEWRULE` or `DELRULE`; the latter finds a rule by what is given.
 * @param flags Of the message.
 * @param rule Without `to` only to find one.
 * @param protocol Whose rule it is.
 */
export function policyRuleRequest(
  type: number,
  flags: number,
  rule: PolicyRule,
  protocol: number,
): NetlinkRequest {
  const { family, priority, udpSourcePort, to, ignoresDefaultRoute } = rule;
  const body = new Uint8Array(12);
  body[0] = family === 4 ? AF.INET : AF.INET6;
  if (to !== undefined) body[7] = to === "unreachable" ? FR_ACT_UNREACHABLE : FR_ACT_TO_TBL;
  const request = new NetlinkRequest(type, flags, body)
    .attributeU32(ATTRIBUTE.FRA_PRIORITY, priority)
    .attribute(ATTRIBUTE.FRA_PROTOCOL, Uint8Array.of(protocol));
  if (typeof to === "number") request.attributeU32(ATTRIBUTE.FRA_TABLE, to);
  if (ignoresDefaultRoute) request.attributeU32(ATTRIBUTE.FRA_SUPPRESS_PREFIXLEN, 0);
  if (udpSourcePort !== undefined) {
    const range = new Uint8Array(Uint16Array.of(udpSourcePort, udpSourcePort).buffer);
    request.attribute(ATTRIBUTE.FRA_IP_PROTO, Uint8Array.of(IPPROTO_UDP));
    request.attribute(ATTRIBUTE.FRA_SPORT_RANGE, range);
  }
  return request;
}
