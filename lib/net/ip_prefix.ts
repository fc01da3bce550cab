/**
 * An address with a prefix length.
 *
 * @module
 */

import type { IpAddress } from "./endpoint.ts";
import {
  formatIpAddress,
  IpSyntaxError,
  isIpv4Mapped,
  parseDecimal,
  parseIpAddress,
  requireIpAddress,
} from "./ip_address.ts";

/** A network: an address whose bits past `length` are zero. */
export interface IpPrefix {
  /** 4 or 16 bytes. */
  readonly address: IpAddress;
  /** 0 to 32 or 128. */
  readonly length: number;
}

/** What {@linkcode parseIpPrefix} does about an address with bits past the prefix length. */
export interface PrefixParseOptions {
  /**
   * `refuse` it, since it is often a slip of the pen, or `mask` the bits away.
   *
   * @default {"refuse"}
   */
  readonly hostBits?: "refuse" | "mask";
}

/**
 * Reads `10.0.0.0/8` or `fd00::/48`.
 *
 * @throws {IpSyntaxError} when the text is anything else, a bare address included.
 *
 * @example Usage
 * ```ts
 * import { formatIpPrefix, parseIpPrefix } from "./ip_prefix.ts";
 * import { strictEqual, throws } from "node:assert/strict";
 *
 * throws(() => parseIpPrefix("10.0.0.1/8"));
 * strictEqual(formatIpPrefix(parseIpPrefix("10.0.0.1/8", { hostBits: "mask" })), "10.0.0.0/8");
 * ```
 */
export function parseIpPrefix(text: string, options: PrefixParseOptions = {}): IpPrefix {
  const slash = text.indexOf("/");
  if (slash < 0) throw new IpSyntaxError("prefix", text, "the prefix length is missing");
  const address = parseIpAddress(text.slice(0, slash));
  const isIpv6 = text.slice(0, slash).includes(":");
  if (isIpv6 && address.length === 4) {
    throw new IpSyntaxError("prefix", text, "an IPv4-mapped prefix is written as IPv4");
  }
  const bits = address.length * 8;
  const length = parseDecimal(text.slice(slash + 1), bits);
  if (length === undefined) {
    throw new IpSyntaxError("prefix", text, `its length must be a number from 0 to ${bits}`);
  }
  const prefix = prefixOf(address, length);
  if (options.hostBits !== "mask" && address.some((byte, i) => byte !== prefix.address[i])) {
    throw new IpSyntaxError(
      "prefix",
      text,
      `it has bits past /${length}; perhaps ${formatIpPrefix(prefix)} is meant`,
    );
  }
  return prefix;
}

/** Writes a prefix as {@linkcode parseIpPrefix} reads it. */
export function formatIpPrefix(prefix: IpPrefix): string {
  return `${formatIpAddress(prefix.address)}/${prefix.length}`;
}

/**
 * The prefix of a length that an address lies in.
 *
 * @param address 4 or 16 bytes; copied.
 * @param length 0 to 32 or 128.
 * @throws {RangeError} when either is out of range.
 */
export function prefixOf(address: IpAddress, length: number): IpPrefix {
  requireIpAddress(address);
  if (!Number.isInteger(length) || length < 0 || length > address.length * 8) {
    throw new RangeError(`Cannot make prefix: length ${length} is out of range`);
  }
  return { address: address.map((byte, i) => byte & byteMask(length - 8 * i)), length };
}

/** The prefix that holds one address only: `/32` or `/128`. */
export function hostPrefix(address: IpAddress): IpPrefix {
  return prefixOf(address, address.length * 8);
}

/** Whether an address lies in a prefix; never across families. */
export function prefixContains(prefix: IpPrefix, address: IpAddress): boolean {
  return prefix.address.length === address.length &&
    sharesBits(prefix.address, address, prefix.length);
}

/** Whether two prefixes have an address in common: one lies in the other. */
export function prefixesOverlap(a: IpPrefix, b: IpPrefix): boolean {
  return a.address.length === b.address.length &&
    sharesBits(a.address, b.address, Math.min(a.length, b.length));
}

/** Whether two prefixes are the same. */
export function equalPrefixes(a: IpPrefix, b: IpPrefix): boolean {
  return a.length === b.length && prefixesOverlap(a, b);
}

/**
 * Refuses an object that breaks what {@linkcode IpPrefix} promises.
 *
 * @throws {RangeError} when length or address are out of range, or bits past the length are set, or
 * it lies in the IPv4-mapped range.
 */
export function requireIpPrefix(prefix: IpPrefix): void {
  const masked = prefixOf(prefix.address, prefix.length);
  if (!prefix.address.every((byte, i) => byte === masked.address[i])) {
    throw new RangeError(
      `Cannot use prefix ${formatIpPrefix(prefix)}: bits past its length are set`,
    );
  }
  if (isIpv4Mapped(prefix.address)) {
    throw new RangeError(`Cannot use prefix ${formatIpPrefix(prefix)}: it is IPv4-mapped`);
  }
}

/** @param bits How many bits of the byte belong to the prefix; any number. */
function byteMask(bits: number): number {
  if (bits >= 8) return 0xff;
  return bits <= 0 ? 0 : (0xff00 >> bits) & 0xff;
}

function sharesBits(a: Uint8Array, b: Uint8Array, bits: number): boolean {
  for (let i = 0; 8 * i < bits; i++) {
    if (((a[i]! ^ b[i]!) & byteMask(bits - 8 * i)) !== 0) return false;
  }
  return true;
}
