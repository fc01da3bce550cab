/**
 * Values that flags and configuration files write the same way.
 *
 * @module
 */

import { type IpPrefix, parseIpPrefix } from "../net/ip_prefix.ts";

/** `HOST:PORT` or `[IPV6]:PORT`. */
const SERVER = /^(?:\[([0-9a-fA-F:.]+)\]|([^\s:[\]]+)):(\d{1,5})$/;

/** A host and a port. */
export interface HostAndPort {
  /** Name or address, without brackets. */
  readonly hostname: string;
  /** 0 to 65535. */
  readonly port: number;
}

/**
 * Reads `HOST:PORT`.
 *
 * @param text As in `0.0.0.0:8443`, `[::]:8443` or `localhost:8443`.
 * @throws {SyntaxError} If it is none.
 *
 * @example
 * ```ts
 * import { deepStrictEqual } from "node:assert/strict";
 * deepStrictEqual(parseHostAndPort("[::1]:80"), { hostname: "::1", port: 80 });
 * ```
 */
export function parseHostAndPort(text: string): HostAndPort {
  const match = SERVER.exec(text);
  const port = Number(match?.[3]);
  if (!match || port > 65535) {
    throw new SyntaxError("an address to listen on looks like 0.0.0.0:8443 or [::]:8443");
  }
  return { hostname: match[1] ?? match[2]!, port };
}

/**
 * Reads `HOST:PORT` of a server elsewhere.
 *
 * @param text As in `stun.example.org:3478` or `[2001:db8::1]:3478`.
 * @throws {SyntaxError} If it is none, or its port is 0.
 */
export function parseServer(text: string): HostAndPort {
  const match = SERVER.exec(text);
  const port = Number(match?.[3]);
  if (!match || port < 1 || port > 65535) {
    throw new SyntaxError("a server looks like stun.example.org:3478 or [2001:db8::1]:3478");
  }
  return { hostname: match[1] ?? match[2]!, port };
}

/** Shortest and longest prefix that addresses of a mesh may come from. */
const RANGE_LENGTHS = { least: 8, most: 29 };

/**
 * Reads the IPv4 range of a mesh.
 *
 * @param text As in `100.64.0.0/10`.
 * @throws {SyntaxError} If it is no IPv4 prefix, or too small or large for a mesh.
 */
export function parseRange(text: string): IpPrefix {
  const { least, most } = RANGE_LENGTHS;
  let range: IpPrefix | undefined;
  try {
    range = parseIpPrefix(text);
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new SyntaxError(`a range is an IPv4 prefix such as 100.64.0.0/10 (${why})`, { cause });
  }
  if (range.address.length !== 4 || range.length < least || range.length > most) {
    throw new SyntaxError(`a range is an IPv4 prefix of length ${least} to ${most}`);
  }
  return range;
}
