/**
 * What connections may cost before they have proven anything.
 *
 * @module
 */

import { deepStrictEqual, strictEqual } from "node:assert/strict";
import { StrangerGate } from "../../lib/coordinator/stranger_limits.ts";

const LIMITS = { maxStrangers: 1000, perSecond: 2, burst: 3, timeoutMs: 1000 };

/** Address and time in ms of each new connection, whether it gets in, why. */
const ARRIVALS: [hostname: string, at: number, enters: boolean, why: string][] = [
  ["192.0.2.1", 0, true, "first of the burst"],
  ["192.0.2.1", 0, true, "second"],
  ["::ffff:192.0.2.1", 0, true, "the same source, as a socket for both families says it"],
  ["192.0.2.1", 0, false, "the burst is used up"],
  ["192.0.2.2", 0, true, "another source is another budget"],
  ["192.0.2.1", 499, false, "not yet"],
  ["192.0.2.1", 500, true, "half a second buys one"],
  ["192.0.2.1", 500, false, "and no more"],
  ["2001:db8::1", 600, true, "IPv6"],
  ["2001:db8::2", 600, true, "the same /64"],
  ["2001:db8::3:0:0:1", 600, true, "the same /64, all 64 bits of it"],
  ["2001:db8::4", 600, false, "so its burst is used up"],
  ["2001:db8:0:1::1", 600, true, "the next /64"],
  ["127.0.0.1", 700, true, "loopback"],
  ["127.0.0.1", 700, true, "may be a proxy"],
  ["::1", 700, true, "that speaks"],
  ["127.0.0.1", 700, true, "for many"],
  ["192.0.2.1", 1_000_000, true, "a full budget again"],
];

Deno.test("StrangerGate.enter() gives every source its own budget", () => {
  const gate = new StrangerGate(LIMITS);
  for (const [hostname, at, enters, why] of ARRIVALS) {
    strictEqual(gate.enter(hostname, at), enters, `${hostname} at ${at}: ${why}`);
  }
});

Deno.test("StrangerGate bounds how many strangers there are at once", () => {
  const gate = new StrangerGate({ ...LIMITS, maxStrangers: 2 });
  deepStrictEqual([1, 2, 3].map(() => gate.enter("::1", 0)), [true, true, false]);
  gate.leave();
  deepStrictEqual([gate.strangers, gate.enter("::1", 0), gate.enter("::1", 0)], [1, true, false]);
});

Deno.test("StrangerGate stays bounded under any number of sources", () => {
  const gate = new StrangerGate({ ...LIMITS, maxStrangers: 1e9 });
  for (let i = 0; i < 40_000; i++) {
    strictEqual(gate.enter(`10.${i >> 16}.${(i >> 8) & 255}.${i & 255}`, i), true);
  }
});
