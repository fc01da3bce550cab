/**
 * Which endpoints a node may send handshakes to, whoever named them: a peer, the coordinator, or a
 * datagram with that source. Otherwise a member could make others knock on services of their own
 * machine, or route the mesh through itself.
 *
 * @module
 */

import type { Endpoint } from "../net/endpoint.ts";
import { isBroadcast, isLoopback, isUnicast } from "../net/ip_address.ts";
import { type IpPrefix, prefixContains } from "../net/ip_prefix.ts";

/** What a node knows of its surroundings. */
export interface Surroundings {
  /** The ranges that mesh addresses come from: a datagram to one would go through the mesh. */
  readonly meshRanges: readonly IpPrefix[];
  /** Whether this node's peers may be on this machine, reached by loopback: for tests. */
  readonly allowLoopback: boolean;
  /** Families the socket can send. */
  readonly families: { readonly ipv4: boolean; readonly ipv6: boolean };
}

/** Whether handshakes may go to an endpoint. */
export function isReachable(endpoint: Endpoint, surroundings: Surroundings): boolean {
  const { address, port } = endpoint;
  const { ipv4, ipv6 } = surroundings.families;
  if (port === 0 || !(address.length === 4 ? ipv4 : ipv6)) return false;
  if (!isUnicast(address) || isBroadcast(address)) return false;
  if (isLoopback(address) && !surroundings.allowLoopback) return false;
  return !surroundings.meshRanges.some((range) => prefixContains(range, address));
}
