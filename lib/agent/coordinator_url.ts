/**
 * URLs under which a coordinator is reached, by what it listens on.
 *
 * @module
 */

import type { ListenAddress } from "../coordinator/control_listener.ts";
import { isLoopback, isUnspecified, parseIpAddress } from "../net/ip_address.ts";

/** A coordinator's URL. @param host Name, or address without brackets. */
export function coordinatorUrlOf(host: string, port: number, isTls: boolean): string {
  const isV6 = host.includes(":");
  return `${isTls ? "https" : "http"}://${isV6 ? `[${host}]` : host}:${port}`;
}

/**
 * Where a process of this very machine connects: by loopback if that is listened on, which no
 * firewall and no change of addresses concerns.
 *
 * @param listening What the coordinator listens on; `undefined` if that is nothing.
 */
export function insideOf(listening: readonly ListenAddress[]): ListenAddress | undefined {
  for (const { hostname, port } of listening) {
    const loopback = loopbackOf(hostname);
    if (loopback !== undefined) return { hostname: loopback, port };
  }
  return listening[0];
}

/** The loopback address that listening on a host includes; `undefined` if it does not. */
function loopbackOf(hostname: string): string | undefined {
  let address: Uint8Array;
  try {
    address = parseIpAddress(hostname);
  } catch {
    return hostname === "localhost" ? hostname : undefined;
  }
  if (isLoopback(address)) return hostname;
  // A socket of "::" takes IPv4, too, unless another one does; either answers by its own family.
  if (!isUnspecified(address)) return undefined;
  return address.length === 4 ? "127.0.0.1" : "::1";
}
