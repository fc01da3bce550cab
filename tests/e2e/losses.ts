/**
 * What was lost, and by whom: packets that a kernel loses because a process does not get to read them
 * in time are no fault of the nodes, which other tests on the same processors keep from running.
 *
 * @module
 */

import type { Host } from "../lab/namespaces.ts";
import type { Background } from "../lab/processes.ts";
import { IS_SOAK } from "./mesh.ts";

/** Share of a flow that may be lost where other tests take the processors away. */
export const LOST_SHARE = IS_SOAK ? 0 : 0.002;

/** Where /proc/net/dev says how many packets found the queue to the program full. */
const TX_DROPPED = 11;

/** How many packets were lost so far at these nodes: before their tunnels, and at UDP sockets. */
export async function kernelDrops(nodes: readonly { readonly host: Host }[]): Promise<number> {
  const counts = await Promise.all(nodes.map(({ host }) => dropsAt(host)));
  return counts.reduce((sum, count) => sum + count, 0);
}

/** How many datagrams found the queue of a UDP socket full so far, in both families. */
export async function socketDrops(host: Host): Promise<number> {
  // Each family has its own; there is no second file where a kernel has no IPv6.
  const { stdout } = await host.run(["cat", "/proc/net/snmp", "/proc/net/snmp6"]);
  const [, names, values] = /^Udp: (.*)\nUdp: (.*)$/m.exec(stdout)!;
  const ofIpv4 = Number(values!.split(" ")[names!.split(" ").indexOf("RcvbufErrors")]);
  const ofIpv6 = Number(/^Udp6RcvbufErrors\s+(\d+)$/m.exec(stdout)?.[1] ?? 0);
  return ofIpv4 + ofIpv6;
}

async function dropsAt(host: Host): Promise<number> {
  const atSockets = await socketDrops(host);
  const devices = await host.must(["cat", "/proc/net/dev"]);
  const [, counts] = /^ *tm0: *(.*)$/m.exec(devices)!;
  return atSockets + Number(counts!.split(/ +/)[TX_DROPPED]);
}

/** Pings of a flow that were not answered, up to the last one that was. */
export function lossOf({ stdout }: Background): { readonly lost: number; readonly sent: number } {
  const answered = new Set(
    [...stdout.matchAll(/icmp_seq=(\d+) .*time=/g)].map(([, sequence]) => Number(sequence)),
  );
  const sent = Math.max(0, ...answered);
  return { lost: sent - answered.size, sent };
}
