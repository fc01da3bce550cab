/**
 * Which peer a mesh address belongs to: a prefix trie, longest prefix first.
 *
 * Prefixes of different values never overlap, so that a packet has one rightful sender and one way;
 * nested prefixes of one value are fine.
 *
 * Look-up stands in the packet loop and allocates nothing.
 *
 * @module
 */

import { readU32Be, writeU32Be } from "../base/integers.ts";
import type { IpAddress } from "../net/endpoint.ts";
import { equalPrefixes, formatIpPrefix, type IpPrefix, requireIpPrefix } from "../net/ip_prefix.ts";
import {
  find,
  insert,
  newTrie,
  overlapping,
  type PrefixWords,
  remove,
  type TrieNode,
} from "./trie.ts";

/** Two values claim the same address. */
export class OverlapError extends Error {
  override readonly name = "OverlapError";

  /**
   * @param prefix The prefix that was to be added.
   * @param value Text of its value.
   * @param otherPrefix The prefix that is there.
   * @param otherValue Text of its value.
   */
  constructor(
    readonly prefix: IpPrefix,
    readonly value: string,
    readonly otherPrefix: IpPrefix,
    readonly otherValue: string,
  ) {
    super(
      `Cannot give ${formatIpPrefix(prefix)} to ${value}: ` +
        `it overlaps ${formatIpPrefix(otherPrefix)} of ${otherValue}`,
    );
  }
}

/**
 * Prefixes and the value of each. Values are told apart by identity (`===`); not `undefined`.
 *
 * @example Usage
 * ```ts
 * import { AllowedIps } from "./allowed_ips.ts";
 * import { parseIpAddress } from "../net/ip_address.ts";
 * import { parseIpPrefix } from "../net/ip_prefix.ts";
 * import { strictEqual, throws } from "node:assert/strict";
 *
 * const allowedIps = new AllowedIps<string>();
 * allowedIps.insert(parseIpPrefix("10.1.0.0/16"), "laptop");
 * strictEqual(allowedIps.lookup(parseIpAddress("10.1.2.3")), "laptop");
 * strictEqual(allowedIps.lookup(parseIpAddress("10.2.0.1")), undefined);
 * throws(() => allowedIps.insert(parseIpPrefix("10.0.0.0/8"), "server"), /laptop/);
 * ```
 */
export class AllowedIps<T> {
  readonly #ipv4 = newTrie<T>();
  readonly #ipv6 = newTrie<T>();
  readonly #prefixes = new Map<T, IpPrefix[]>();
  readonly #nameOf: (value: T) => string;

  /** @param nameOf How a value is named in errors. */
  constructor(nameOf: (value: T) => string = String) {
    this.#nameOf = nameOf;
  }

  /**
   * Adds a prefix.
   *
   * @param prefix Copied. One that is there already with this value changes nothing.
   * @throws {OverlapError} when it overlaps a prefix of another value; nothing has changed then.
   * @throws {RangeError} when it is no prefix.
   */
  insert(prefix: IpPrefix, value: T): void {
    this.#check(prefix, value);
    this.#add(prefix, value);
  }

  /**
   * Replaces all prefixes of a value, or none of them if one cannot be had.
   *
   * @param prefixes Copied.
   * @throws {OverlapError} when one overlaps a prefix of another value; nothing has changed then.
   * @throws {RangeError} when one is no prefix; nothing has changed then.
   */
  replace(value: T, prefixes: readonly IpPrefix[]): void {
    for (const prefix of prefixes) this.#check(prefix, value);
    this.removeValue(value);
    for (const prefix of prefixes) this.#add(prefix, value);
  }

  /** Removes all prefixes of a value; an unknown one is fine. */
  removeValue(value: T): void {
    for (const prefix of this.#prefixes.get(value) ?? []) {
      remove(this.#rootOf(prefix.address.length), wordsOf(prefix));
    }
    this.#prefixes.delete(value);
  }

  /** The prefixes of a value, in the order in which they were added. */
  prefixesOf(value: T): readonly IpPrefix[] {
    return this.#prefixes.get(value) ?? [];
  }

  /**
   * Whom an address belongs to.
   *
   * @param address 4 or 16 bytes.
   * @returns The value of the longest prefix that holds it, or `undefined`.
   */
  lookup(address: IpAddress): T | undefined {
    return address.length === 4 ? this.lookupIpv4(address, 0) : this.lookupIpv6(address, 0);
  }

  /** {@linkcode lookup} of the IPv4 address that stands at an offset, within bounds. */
  lookupIpv4(bytes: Uint8Array, offset: number): T | undefined {
    return find(this.#ipv4, readU32Be(bytes, offset), 0, 0, 0);
  }

  /** {@linkcode lookup} of the IPv6 address that stands at an offset, within bounds. */
  lookupIpv6(bytes: Uint8Array, offset: number): T | undefined {
    return find(
      this.#ipv6,
      readU32Be(bytes, offset),
      readU32Be(bytes, offset + 4),
      readU32Be(bytes, offset + 8),
      readU32Be(bytes, offset + 12),
    );
  }

  #check(prefix: IpPrefix, value: T): void {
    requireIpPrefix(prefix);
    const isIpv4 = prefix.address.length === 4;
    for (const node of overlapping(isIpv4 ? this.#ipv4 : this.#ipv6, wordsOf(prefix))) {
      if (node.value === value) continue;
      const other = prefixFrom(node, isIpv4);
      throw new OverlapError(prefix, this.#nameOf(value), other, this.#nameOf(node.value));
    }
  }

  #add(prefix: IpPrefix, value: T): void {
    const own = this.#prefixes.get(value) ?? [];
    if (own.some((other) => equalPrefixes(other, prefix))) return;
    const kept = { address: prefix.address.slice(), length: prefix.length };
    this.#prefixes.set(value, [...own, kept]);
    insert(this.#rootOf(prefix.address.length), wordsOf(prefix), value);
  }

  #rootOf(addressLength: number): TrieNode<T> {
    return addressLength === 4 ? this.#ipv4 : this.#ipv6;
  }
}

function wordsOf(prefix: IpPrefix): PrefixWords {
  const { address, length } = prefix;
  if (address.length === 4) return { w0: readU32Be(address, 0), w1: 0, w2: 0, w3: 0, length };
  return {
    w0: readU32Be(address, 0),
    w1: readU32Be(address, 4),
    w2: readU32Be(address, 8),
    w3: readU32Be(address, 12),
    length,
  };
}

function prefixFrom(words: PrefixWords, isIpv4: boolean): IpPrefix {
  const address = new Uint8Array(isIpv4 ? 4 : 16);
  const all = [words.w0, words.w1, words.w2, words.w3];
  for (let at = 0; at < address.length; at += 4) writeU32Be(address, at, all[at / 4]!);
  return { address, length: words.length };
}
