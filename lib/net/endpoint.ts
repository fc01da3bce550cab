/**
 * Where a datagram goes: an address and a UDP or TCP port.
 *
 * @module
 */

import {
  equalIpAddresses,
  formatIpAddress,
  IpSyntaxError,
  parseDecimal,
  parseIpAddress,
} from "./ip_address.ts";

/** 4 bytes (IPv4) or 16 bytes (IPv6), network byte order. IPv4-mapped IPv6 never occurs. */
export type IpAddress = Uint8Array;

/** An IP address with a port. */
export interface Endpoint {
  /** 4 or 16 bytes. */
  readonly address: IpAddress;
  /** 1 to 65535. */
  readonly port: number;
}

/**
 * Reads `192.0.2.1:51820` or `[2001:db8::1]:51820`.
 *
 * @throws {IpSyntaxError} when the text is anything else, names included.
 */
export function parseEndpoint(text: string): Endpoint {
  const colon = text.lastIndexOf(":");
  if (colon < 0) throw new IpSyntaxError("endpoint", text, "the port is missing");
  const host = text.slice(0, colon);
  const port = parseDecimal(text.slice(colon + 1), 65535);
  if (port === undefined || port === 0) {
    throw new IpSyntaxError("endpoint", text, "the port must be a number from 1 to 65535");
  }
  const isBracketed = host.startsWith("[") && host.endsWith("]");
  const inside = isBracketed ? host.slice(1, -1) : host;
  if (isBracketed !== inside.includes(":")) {
    throw new IpSyntaxError(
      "endpoint",
      text,
      "an IPv6 address, and nothing else, stands in brackets",
    );
  }
  return { address: parseIpAddress(inside), port };
}

/** Writes an endpoint as {@linkcode parseEndpoint} reads it. */
export function formatEndpoint({ address, port }: Endpoint): string {
  const text = formatIpAddress(address);
  return address.length === 4 ? `${text}:${port}` : `[${text}]:${port}`;
}

/** Whether two endpoints are the same. */
export function equalEndpoints(a: Endpoint, b: Endpoint): boolean {
  return a.port === b.port && equalIpAddresses(a.address, b.address);
}
