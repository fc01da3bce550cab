/**
 * What the endpoints of a peer tell about the NAT that it is behind.
 *
 * @module
 */

import type { NatMapping } from "../mesh/path_selection.ts";
import { type Endpoint, parseEndpoint } from "../net/endpoint.ts";
import { formatIpAddress } from "../net/ip_address.ts";
import type { EndpointHint } from "../wire/control_message.ts";

/**
 * How a peer's NAT maps, for people: one that is seen from one IPv4 address under several ports has
 * another port for each destination.
 */
export function natOfPeer(hints: readonly EndpointHint[]): NatMapping {
  const seen = hints.filter(({ source }) => source === "discovered").flatMap(ipv4Endpoint);
  if (seen.length === 0) return "unknown";
  const addresses = new Set(seen.map(({ address }) => formatIpAddress(address)));
  return addresses.size < seen.length ? "varying" : "same";
}

function ipv4Endpoint({ endpoint }: EndpointHint): Endpoint[] {
  try {
    const parsed = parseEndpoint(endpoint);
    return parsed.address.length === 4 ? [parsed] : [];
  } catch {
    return []; // a later version's way to be reached
  }
}
