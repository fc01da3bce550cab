/**
 * The addresses behind a URL.
 *
 * @module
 */

import type { IpAddress } from "../net/endpoint.ts";
import { normalizeIpAddress, parseIpAddress } from "../net/ip_address.ts";

/**
 * Looks up the host of a URL as the system does, `/etc/hosts` included.
 *
 * @param url With a name or an address as its host.
 * @returns One address or more; what is an address already needs no look-up.
 * @throws {Error} If the name has none.
 */
export async function addressesOfUrl(url: string): Promise<IpAddress[]> {
  return await addressesOfHost(new URL(url).hostname.replace(/^\[|\]$/g, ""));
}

/**
 * Looks up a host in the same way.
 *
 * @param host A name, or an address without brackets.
 * @returns One address or more.
 * @throws {Error} If the name has none.
 */
export async function addressesOfHost(host: string): Promise<IpAddress[]> {
  try {
    return [normalizeIpAddress(parseIpAddress(host))];
  } catch {
    // A name.
  }
  const { lookup } = await import("node:dns/promises");
  const found = await lookup(host, { all: true });
  return found.map(({ address }) => normalizeIpAddress(parseIpAddress(address)));
}
