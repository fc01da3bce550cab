/**
 * Which side of a pairing this machine is: who listens, or who dials.
 *
 * @module
 */

import type { HostAndPort } from "../config/values.ts";
import { type Endpoint, formatEndpoint, type IpAddress } from "../net/endpoint.ts";
import { parseIpAddress } from "../net/ip_address.ts";
import { AgentError } from "./errors.ts";
import { addressesOfHost } from "./resolve.ts";

/** One of the two sides. */
export type PairRole =
  /**
   * `address`: the own address to take datagrams at; 0.0.0.0 for all of IPv4, `::` or `undefined`
   * for all of both families.
   */
  | { readonly kind: "listen"; readonly address: IpAddress | undefined; readonly port: number }
  /** `text`: the endpoint as a person wrote it. */
  | { readonly kind: "dial"; readonly endpoint: Endpoint; readonly text: string };

/**
 * The side that listens.
 *
 * @param at As a person wrote it.
 * @throws {AgentError} `usage` if it is no address, or its port is 0.
 */
export function listenRole({ hostname, port }: HostAndPort): PairRole {
  if (port === 0) throw new AgentError("usage", "Cannot listen on UDP port 0: name another one");
  try {
    return { kind: "listen", address: parseIpAddress(hostname), port };
  } catch (cause) {
    throw new AgentError(
      "usage",
      `Cannot listen at "${hostname}": it is no address, as in 0.0.0.0:${port}`,
      { cause },
    );
  }
}

/**
 * The side that dials.
 *
 * @param to As a person wrote it.
 * @throws {AgentError} `unreachable` if the name has no address.
 */
export async function dialRole({ hostname, port }: HostAndPort): Promise<PairRole> {
  const isV6 = hostname.includes(":");
  const text = isV6 ? `[${hostname}]:${port}` : `${hostname}:${port}`;
  const [address] = await addressesOfHost(hostname).catch((): IpAddress[] => []);
  if (address === undefined) {
    throw new AgentError("unreachable", `Cannot pair with ${text}: that name has no address`);
  }
  return { kind: "dial", endpoint: { address, port }, text };
}

/** What a side means for a network of the two: the port that is dialled, or what is dialled. */
export function staticSideOf(role: PairRole) {
  return role.kind === "listen"
    ? { kind: "listener", port: role.port } as const
    : { kind: "dialler", endpoint: formatEndpoint(role.endpoint) } as const;
}
