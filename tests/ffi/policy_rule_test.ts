/**
 * Requests about policy rules, byte by byte, as `strace ip rule add …` shows them.
 *
 * @module
 */

import { deepStrictEqual } from "node:assert/strict";
import { RTM } from "../../ffi/netlink_message.ts";
import { type PolicyRule, policyRuleRequest } from "../../ffi/policy_rule.ts";

const PROTOCOL = 117;

/** Rule, its header after the netlink header, its attributes as type and value, and what it is. */
const ROWS: [rule: PolicyRule, header: number[], attributes: [number, number[]][], why: string][] =
  [
    [
      { family: 4, priority: 5120, udpSourcePort: 51_820, to: 254 },
      [2, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0],
      [[6, [0, 20, 0, 0]], [21, [117]], [15, [254, 0, 0, 0]], [22, [17]], [23, [
        108,
        202,
        108,
        202,
      ]]],
      "ipproto udp sport 51820 lookup main",
    ],
    [
      { family: 6, priority: 5121, udpSourcePort: 1, to: "unreachable" },
      [10, 0, 0, 0, 0, 0, 0, 7, 0, 0, 0, 0],
      [[6, [1, 20, 0, 0]], [21, [117]], [22, [17]], [23, [1, 0, 1, 0]]],
      "ipproto udp sport 1 unreachable",
    ],
    [
      { family: 4, priority: 5122, to: 254, ignoresDefaultRoute: true },
      [2, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0],
      [[6, [2, 20, 0, 0]], [21, [117]], [15, [254, 0, 0, 0]], [14, [0, 0, 0, 0]]],
      "lookup main suppress_prefixlength 0",
    ],
    [
      { family: 6, priority: 5123 },
      [10, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
      [[6, [3, 20, 0, 0]], [21, [117]]],
      "finds any rule of that priority",
    ],
  ];

Deno.test("policyRuleRequest() writes what the kernel reads", () => {
  for (const [rule, header, attributes, why] of ROWS) {
    const bytes = policyRuleRequest(RTM.NEWRULE, 0, rule, PROTOCOL).finish(1);
    deepStrictEqual([...bytes.subarray(16, 28)], header, why);
    const found: [number, number[]][] = [];
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    for (let at = 28; at < bytes.length;) {
      const length = view.getUint16(at, true);
      found.push([view.getUint16(at + 2, true), [...bytes.subarray(at + 4, at + length)]]);
      at += (length + 3) & ~3;
    }
    deepStrictEqual(found, attributes, why);
  }
});
