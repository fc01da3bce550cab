/**
 * Discovery: an agent asks the coordinator, from the very socket it uses for data, which endpoint its
 * datagrams come from. Type 6 of docs/protocol.md, sealed both ways.
 *
 * ```text
 * sealed body: transaction 8 │ address 16 (IPv4 as ::ffff:a.b.c.d) │ port u16      zeros in an ask
 * key id:      day u32 since 1970-01-01 UTC │ 4 random bytes
 * ```
 *
 * The coordinator keeps nothing per agent: the key id names the key, which follows from its secret.
 * An answer is as long as its ask. What an answer says is a candidate, never a binding: whoever sits
 * on the way can let a datagram come from elsewhere.
 *
 * @module
 */

import { concatBytes, equalBytes, toHex, utf8 } from "../base/bytes.ts";
import { readU16Le, readU32Le, writeU16Le, writeU32Le } from "../base/integers.ts";
import { openXChaCha, sealXChaCha } from "../crypto/aead.ts";
import { hkdf } from "../crypto/hkdf.ts";
import { randomBytes } from "../crypto/random.ts";
import { XNONCE_LENGTH } from "../wire/datagram.ts";
import {
  decodeDiscovery,
  type Discovery,
  DISCOVERY_KEY_ID_LENGTH,
  discoveryHeader,
  encodeDiscovery,
} from "../wire/discovery_datagram.ts";

/** Label of the derivation of discovery keys. */
export const DISCOVERY_LABEL = "tunnelmesh discovery v1";
/** Length of a transaction, which ties an answer to its ask. */
export const TRANSACTION_LENGTH = 8;
/** A key id of an earlier day than this many before today is not answered. */
export const KEY_ID_MAX_AGE_DAYS = 2;
/** An answer that comes later than this is ignored. */
export const ANSWER_WITHIN_MS = 5_000;

/** Asks without an answer that are remembered at once; ours: more than any round of asking needs. */
const MAX_OUTSTANDING = 64;
const MS_PER_DAY = 86_400_000;
/** Where the parts of the body begin. */
const BODY = { address: 8, port: 24, length: 26 } as const;
const IPV4_MAPPED = Uint8Array.of(0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff);

/** Where datagrams were seen to come from. */
export interface ObservedEndpoint {
  /** 4 or 16 bytes. */
  readonly address: Uint8Array;
  /** 1 to 65535. */
  readonly port: number;
}

/** What an agent gets over its control channel to ask with. */
export interface DiscoveryKey {
  /** 8 bytes. */
  readonly keyId: Uint8Array;
  /** 32 bytes. */
  readonly key: Uint8Array;
}

/**
 * Makes the key id of a key for one agent.
 *
 * @param unixMs Milliseconds since 1970-01-01 UTC.
 * @param random Source of random bytes; tests pass their own.
 * @returns 8 bytes.
 */
export function newKeyId(
  unixMs: number,
  random: (length: number) => Uint8Array = randomBytes,
): Uint8Array {
  const keyId = new Uint8Array(DISCOVERY_KEY_ID_LENGTH);
  writeU32Le(keyId, 0, Math.floor(unixMs / MS_PER_DAY));
  keyId.set(random(DISCOVERY_KEY_ID_LENGTH - 4), 4);
  return keyId;
}

/**
 * The key that a key id names.
 *
 * @param coordinatorSecret 32 bytes.
 * @param keyId 8 bytes.
 * @returns 32 bytes.
 */
export function discoveryKey(coordinatorSecret: Uint8Array, keyId: Uint8Array): Uint8Array {
  return hkdf(coordinatorSecret, { info: concatBytes(utf8(DISCOVERY_LABEL), keyId) });
}

/**
 * Whether a key id is recent enough to be answered.
 *
 * @param unixMs Milliseconds since 1970-01-01 UTC.
 * @returns `false` if its day is more than two before today, or after tomorrow (the coordinator
 * made it itself, give or take the clocks of several).
 */
export function isFreshKeyId(keyId: Uint8Array, unixMs: number): boolean {
  const ageDays = Math.floor(unixMs / MS_PER_DAY) - readU32Le(keyId, 0);
  return ageDays >= -1 && ageDays <= KEY_ID_MAX_AGE_DAYS;
}

/**
 * Builds an ask.
 *
 * @param transaction 8 random bytes.
 * @param random Source of the nonce.
 */
export function buildAsk(
  { key, keyId }: DiscoveryKey,
  transaction: Uint8Array,
  random: (length: number) => Uint8Array = randomBytes,
): Uint8Array {
  const body = new Uint8Array(BODY.length);
  body.set(transaction.subarray(0, TRANSACTION_LENGTH));
  return seal("ask", { key, keyId }, body, random);
}

/**
 * Answers an ask with where it came from.
 *
 * @param datagram Any datagram; borrowed.
 * @param source Where it came from.
 * @param keyOf The key that a key id names, or `undefined` for one that is not answered.
 * @param random Source of the nonce.
 * @returns The answer, exactly as long as the ask; `undefined` for anything but a genuine ask.
 */
export function answerAsk(
  datagram: Uint8Array,
  source: ObservedEndpoint,
  keyOf: (keyId: Uint8Array) => Uint8Array | undefined,
  random: (length: number) => Uint8Array = randomBytes,
): Uint8Array | undefined {
  const ask = decodeDiscovery(datagram);
  if (ask === undefined || ask.direction !== "ask") return undefined;
  const key = keyOf(ask.keyId);
  const body = key && open(ask, key);
  if (key === undefined || body === undefined || !isZero(body, BODY.address)) return undefined;
  writeEndpoint(body, source);
  return seal("answer", { key, keyId: ask.keyId }, body, random);
}

/**
 * Opens an answer.
 *
 * @param datagram Any datagram; borrowed.
 * @returns Transaction and endpoint, copied; `undefined` for anything but a genuine answer sealed
 * with this key.
 */
export function openAnswer(
  datagram: Uint8Array,
  { key, keyId }: DiscoveryKey,
): { transaction: Uint8Array; endpoint: ObservedEndpoint } | undefined {
  const answer = decodeDiscovery(datagram);
  if (answer === undefined || answer.direction !== "answer") return undefined;
  if (!equalBytes(answer.keyId, keyId)) return undefined;
  const body = open(answer, key);
  if (body === undefined) return undefined;
  const endpoint = readEndpoint(body);
  return endpoint && { transaction: body.slice(0, TRANSACTION_LENGTH), endpoint };
}

/** The agent's side: remembers what it asked, and takes one answer to each, in time. */
export class DiscoveryAsks {
  readonly #key: DiscoveryKey;
  readonly #random: (length: number) => Uint8Array;
  /** When each outstanding transaction (hex) was asked, oldest first. */
  readonly #askedAt = new Map<string, number>();

  /**
   * @param key What the coordinator handed out.
   * @param random Source of random bytes; tests pass their own.
   */
  constructor(key: DiscoveryKey, random: (length: number) => Uint8Array = randomBytes) {
    this.#key = key;
    this.#random = random;
  }

  /**
   * Builds an ask, to be sent once.
   *
   * @param now On the scale of `Clock.now`.
   */
  ask(now: number): Uint8Array {
    const transaction = this.#random(TRANSACTION_LENGTH);
    this.#askedAt.set(toHex(transaction), now);
    if (this.#askedAt.size > MAX_OUTSTANDING) {
      const [oldest] = this.#askedAt.keys();
      this.#askedAt.delete(oldest!);
    }
    return buildAsk(this.#key, transaction, this.#random);
  }

  /**
   * Takes an answer.
   *
   * @param datagram Any datagram; borrowed.
   * @param now On the scale of `Clock.now`.
   * @returns Where the ask was seen to come from; `undefined` for anything but the first answer to
   * an ask of the last five seconds.
   */
  receive(datagram: Uint8Array, now: number): ObservedEndpoint | undefined {
    const answer = openAnswer(datagram, this.#key);
    if (answer === undefined) return undefined;
    const transaction = toHex(answer.transaction);
    const askedAt = this.#askedAt.get(transaction);
    this.#askedAt.delete(transaction);
    return askedAt !== undefined && now - askedAt <= ANSWER_WITHIN_MS ? answer.endpoint : undefined;
  }
}

function seal(
  direction: Discovery["direction"],
  { key, keyId }: DiscoveryKey,
  body: Uint8Array,
  random: (length: number) => Uint8Array,
): Uint8Array {
  const nonce = random(XNONCE_LENGTH);
  const sealed = sealXChaCha(key, nonce, discoveryHeader(direction, keyId), body);
  return encodeDiscovery({ direction, keyId, nonce, sealed });
}

function open(datagram: Discovery, key: Uint8Array): Uint8Array | undefined {
  return openXChaCha(key, datagram.nonce, datagram.header, datagram.sealed);
}

function writeEndpoint(body: Uint8Array, { address, port }: ObservedEndpoint): void {
  if (address.length === 4) {
    body.set(IPV4_MAPPED, BODY.address);
    body.set(address, BODY.address + IPV4_MAPPED.length);
  } else {
    body.set(address, BODY.address);
  }
  writeU16Le(body, BODY.port, port);
}

function readEndpoint(body: Uint8Array): ObservedEndpoint | undefined {
  const address = body.slice(BODY.address, BODY.port);
  const port = readU16Le(body, BODY.port);
  if (port === 0 || isZero(address, 0)) return undefined;
  const isIpv4 = equalBytes(address.subarray(0, IPV4_MAPPED.length), IPV4_MAPPED);
  return { address: isIpv4 ? address.slice(IPV4_MAPPED.length) : address, port };
}

function isZero(bytes: Uint8Array, from: number): boolean {
  for (let i = from; i < bytes.length; i++) if (bytes[i] !== 0) return false;
  return true;
}
