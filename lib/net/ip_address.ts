/**
 * IP addresses and their text forms. RFC 4291 §2.2 (IPv6 text), RFC 5952 (its one spelling).
 *
 * Text is read digit by digit: what the common libraries let pass (`1..2.3`, `0x10.1.1.1`, `01.2.3.4`,
 * zones, spaces) is refused, so that one address has one meaning everywhere.
 *
 * @module
 */

import { readU16Be, readU32Be, writeU16Be } from "../base/integers.ts";
import type { IpAddress } from "./endpoint.ts";

/** Text that is no address, endpoint or prefix; the message says what is wrong with it. */
export class IpSyntaxError extends SyntaxError {
  override readonly name = "IpSyntaxError";

  /**
   * @param what What the text should have been, such as `IP address`.
   * @param text The text.
   * @param why What is wrong.
   */
  constructor(what: string, text: string, why: string) {
    super(`Cannot parse ${what} ${JSON.stringify(text)}: ${why}`);
  }
}

/**
 * Reads an IPv4 or IPv6 address.
 *
 * @param text `192.0.2.1` or `2001:db8::1`, IPv6 also with its last 32 bits dotted; no zone.
 * @returns 4 or 16 bytes; an IPv4-mapped IPv6 address gives the IPv4 address.
 * @throws {IpSyntaxError} when the text is anything else.
 *
 * @example Usage
 * ```ts
 * import { formatIpAddress, parseIpAddress } from "./ip_address.ts";
 * import { strictEqual, throws } from "node:assert/strict";
 *
 * strictEqual(formatIpAddress(parseIpAddress("2001:DB8:0:0::1")), "2001:db8::1");
 * strictEqual(formatIpAddress(parseIpAddress("::ffff:192.0.2.1")), "192.0.2.1");
 * throws(() => parseIpAddress("010.0.0.1")); // octal elsewhere
 * ```
 */
export function parseIpAddress(text: string): IpAddress {
  if (text === "") throw new IpSyntaxError("IP address", text, "it is empty");
  const bytes = text.includes(":") ? parseIpv6(text) : parseIpv4(text, text);
  return normalizeIpAddress(bytes);
}

/**
 * Writes an address the one way of RFC 5952: lower case, the longest run of zero groups as `::`.
 *
 * @param address 4 or 16 bytes.
 * @throws {RangeError} when it has another length.
 */
export function formatIpAddress(address: IpAddress): string {
  requireIpAddress(address);
  if (address.length === 4) return address.join(".");
  if (isIpv4Mapped(address)) return `::ffff:${address.subarray(12).join(".")}`;
  const groups = Array.from({ length: 8 }, (_, i) => readU16Be(address, 2 * i));
  const zeros = longestZeroRun(groups);
  const hex = (from: number, to: number) =>
    groups.slice(from, to).map((group) => group.toString(16)).join(":");
  if (zeros.length < 2) return hex(0, 8);
  return `${hex(0, zeros.start)}::${hex(zeros.start + zeros.length, 8)}`;
}

/**
 * Turns an IPv4-mapped IPv6 address (`::ffff:a.b.c.d`) into the IPv4 address it means.
 *
 * @returns A view for a mapped address, else the argument itself.
 */
export function normalizeIpAddress(address: IpAddress): IpAddress {
  return isIpv4Mapped(address) ? address.subarray(12) : address;
}

/** Whether two addresses are the same, bytes and family. */
export function equalIpAddresses(a: IpAddress, b: IpAddress): boolean {
  if (a.length !== b.length) return false;
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return false;
  return true;
}

/** Whether 16 bytes are `::ffff:0:0/96`; such an address must not occur past a socket. */
export function isIpv4Mapped(address: IpAddress): boolean {
  return address.length === 16 && readU32Be(address, 0) === 0 && readU32Be(address, 4) === 0 &&
    readU32Be(address, 8) === 0xffff;
}

/** `0.0.0.0` and `::`. */
export function isUnspecified(address: IpAddress): boolean {
  return address.every((byte) => byte === 0);
}

/** `127.0.0.0/8` and `::1`. */
export function isLoopback(address: IpAddress): boolean {
  if (address.length === 4) return address[0] === 127;
  return address[15] === 1 && address.subarray(0, 15).every((byte) => byte === 0);
}

/** `224.0.0.0/4` and `ff00::/8`. */
export function isMulticast(address: IpAddress): boolean {
  return address.length === 4 ? address[0]! >> 4 === 0xe : address[0] === 0xff;
}

/** `255.255.255.255`; a subnet's own broadcast address cannot be told without its prefix. */
export function isBroadcast(address: IpAddress): boolean {
  return address.length === 4 && readU32Be(address, 0) === 0xffff_ffff;
}

/** `169.254.0.0/16` and `fe80::/10`. */
export function isLinkLocal(address: IpAddress): boolean {
  if (address.length === 4) return address[0] === 169 && address[1] === 254;
  return address[0] === 0xfe && (address[1]! & 0xc0) === 0x80;
}

/**
 * Whether a datagram may be sent there as to one peer: not unspecified, multicast, broadcast, or in
 * `0.0.0.0/8` and `240.0.0.0/4`. Loopback and link-local addresses are unicast.
 */
export function isUnicast(address: IpAddress): boolean {
  if (isUnspecified(address) || isMulticast(address)) return false;
  return address.length === 16 || (address[0] !== 0 && address[0]! < 0xe0);
}

/**
 * Reads a decimal number: digits only, no leading zero, no sign.
 *
 * @param text Any text.
 * @param max Largest value taken.
 * @returns `undefined` for anything else.
 */
export function parseDecimal(text: string, max: number): number | undefined {
  if (text === "" || (text.length > 1 && text[0] === "0")) return undefined;
  let value = 0;
  for (let i = 0; i < text.length; i++) {
    const digit = text.charCodeAt(i) - 0x30;
    if (digit < 0 || digit > 9) return undefined;
    value = value * 10 + digit;
    if (value > max) return undefined;
  }
  return value;
}

/**
 * Refuses what is no address at all.
 *
 * @throws {RangeError} when it is not 4 or 16 bytes long.
 */
export function requireIpAddress(address: IpAddress): void {
  if (address.length !== 4 && address.length !== 16) {
    throw new RangeError(`Cannot use IP address: it must be 4 or 16 bytes, is ${address.length}`);
  }
}

/** @param whole The text that the caller was given, for the message. */
function parseIpv4(text: string, whole: string): Uint8Array {
  const parts = text.split(".");
  if (parts.length !== 4) {
    throw new IpSyntaxError("IP address", whole, "an IPv4 address has four decimal numbers");
  }
  return Uint8Array.from(parts, (part) => {
    const value = parseDecimal(part, 255);
    if (value === undefined) {
      throw new IpSyntaxError(
        "IP address",
        whole,
        `${JSON.stringify(part)} is not a decimal number from 0 to 255 without leading zeros`,
      );
    }
    return value;
  });
}

function parseIpv6(text: string): Uint8Array {
  const halves = text.split("::");
  if (halves.length > 2) throw new IpSyntaxError("IP address", text, `"::" occurs more than once`);
  const hasGap = halves.length === 2;
  const head = parseGroups(halves[0]!, text, !hasGap);
  const tail = hasGap ? parseGroups(halves[1]!, text, true) : [];
  const given = head.length + tail.length;
  if (hasGap ? given > 7 : given !== 8) {
    throw new IpSyntaxError(
      "IP address",
      text,
      hasGap ? `"::" must stand for at least one group` : `it has ${given} of 8 groups`,
    );
  }
  const bytes = new Uint8Array(16);
  head.forEach((group, i) => writeU16Be(bytes, 2 * i, group));
  tail.forEach((group, i) => writeU16Be(bytes, 2 * (8 - tail.length + i), group));
  return bytes;
}

/** @param isEnd Whether these groups end the address, where the dotted form may stand. */
function parseGroups(text: string, whole: string, isEnd: boolean): number[] {
  if (text === "") return [];
  const parts = text.split(":");
  return parts.flatMap((part, i) => {
    if (isEnd && i === parts.length - 1 && part.includes(".")) {
      const dotted = parseIpv4(part, whole);
      return [readU16Be(dotted, 0), readU16Be(dotted, 2)];
    }
    return [parseGroup(part, whole)];
  });
}

function parseGroup(text: string, whole: string): number {
  let value = 0;
  for (let i = 0; i < text.length; i++) {
    const digit = hexDigit(text.charCodeAt(i));
    if (digit < 0) throw new IpSyntaxError("IP address", whole, badGroup(text));
    value = value * 16 + digit;
  }
  if (text.length < 1 || text.length > 4) {
    throw new IpSyntaxError("IP address", whole, badGroup(text));
  }
  return value;
}

function badGroup(text: string): string {
  return `${JSON.stringify(text)} is not a group of one to four hex digits`;
}

function hexDigit(code: number): number {
  if (code >= 0x30 && code <= 0x39) return code - 0x30;
  const lower = code | 0x20;
  return lower >= 0x61 && lower <= 0x66 ? lower - 0x57 : -1;
}

function longestZeroRun(groups: readonly number[]): { start: number; length: number } {
  let best = { start: 0, length: 0 };
  let start = 0;
  groups.forEach((group, i) => {
    if (group !== 0) start = i + 1;
    // RFC 5952 §4.2.3: of equal runs, the first.
    else if (i + 1 - start > best.length) best = { start, length: i + 1 - start };
  });
  return best;
}
