/**
 * Packets that a kernel loses because a process does not get to read them in time: no fault of the
 * nodes, which other tests on the same processors keep from running.
 *
 * @module
 */

import type { Host } from "../lab/namespaces.ts";
import type { Node } from "./mesh.ts";

/** Where /proc/net/dev says how many packets found the queue to the program full. */
const TX_DROPPED = 11;

/** How many packets were lost so far at these nodes: before their tunnels, and at UDP sockets. */
export async function kernelDrops(nodes: readonly Node[]): Promise<number> {
  const counts = await Promise.all(nodes.map(({ host }) => dropsAt(host)));
  return counts.reduce((sum, count) => sum + count, 0);
}

async function dropsAt(host: Host): Promise<number> {
  const snmp = await host.must(["cat", "/proc/net/snmp"]);
  const [, names, values] = /^Udp: (.*)\nUdp: (.*)$/m.exec(snmp)!;
  const atSockets = Number(values!.split(" ")[names!.split(" ").indexOf("RcvbufErrors")]);
  const devices = await host.must(["cat", "/proc/net/dev"]);
  const [, counts] = /^ *tm0: *(.*)$/m.exec(devices)!;
  return atSockets + Number(counts!.split(/ +/)[TX_DROPPED]);
}
