/**
 * STUN binding requests and responses (RFC 8489), as far as asking a public server where one's
 * datagrams come from needs it: no authentication, UDP only.
 *
 * ```text
 * 0 type 2 (0x0001 request, 0x0101 success, 0x0111 error) │ 2 length 2 (of what follows the header)
 * 4 magic cookie 0x2112a442 │ 8 transaction 12                                              = 20
 * attribute: 0 type 2 │ 2 length 2 │ 4 value, padded to 4
 * XOR-MAPPED-ADDRESS: 0 zero 1 │ 1 family 1 (1 IPv4, 2 IPv6) │ 2 port 2 │ 4 address 4 or 16, port and
 *   address xored with cookie ‖ transaction;  MAPPED-ADDRESS: the same, plain
 * ```
 *
 * All numbers big-endian. A response begins with the bytes of a type 1 datagram of ours: tell them
 * apart by {@linkcode isStunDatagram} and an outstanding transaction first.
 *
 * @module
 */

import { readU16Be, readU32Be, writeU16Be, writeU32Be } from "../base/integers.ts";

/** Length of a transaction id. */
export const STUN_TRANSACTION_LENGTH = 12;

const MAGIC_COOKIE = 0x2112a442;
const HEADER_LENGTH = 20;
const OFFSET = { type: 0, length: 2, cookie: 4, transaction: 8 } as const;
const TYPE = { request: 0x0001, success: 0x0101, error: 0x0111 } as const;
const ATTRIBUTE = { mappedAddress: 0x0001, errorCode: 0x0009, xorMappedAddress: 0x0020 } as const;
/** From here on attributes may be skipped by those who do not know them. */
const OPTIONAL_FROM = 0x8000;
/**
 * Required attributes that may be in a response and do not change what it says: those of RFC 3489
 * servers (source, changed, reflected address), MESSAGE-INTEGRITY, UNKNOWN-ATTRIBUTES and
 * MESSAGE-INTEGRITY-SHA256.
 */
const HARMLESS: ReadonlySet<number> = new Set([0x0004, 0x0005, 0x000b, 0x0008, 0x000a, 0x001c]);
const FAMILY_OF_LENGTH: ReadonlyMap<number, number> = new Map([[4, 1], [16, 2]]);
const LENGTH_OF_FAMILY: ReadonlyMap<number, number> = new Map([[1, 4], [2, 16]]);

/** Where a server saw a request come from. */
export interface StunAddress {
  /** 4 or 16 bytes. */
  readonly address: Uint8Array;
  /** 1 to 65535. */
  readonly port: number;
}

/** What a response says. */
export interface StunResponse {
  /** 12 bytes, borrowed. */
  readonly transaction: Uint8Array;
  /** Where the request came from; absent in an error. */
  readonly mapped?: StunAddress;
  /** 300 to 699, in an error. */
  readonly errorCode?: number;
}

/** Whether a datagram can be STUN: its length and its magic cookie are right. */
export function isStunDatagram(datagram: Uint8Array): boolean {
  return datagram.length >= HEADER_LENGTH && (datagram[0]! & 0xc0) === 0 &&
    readU32Be(datagram, OFFSET.cookie) === MAGIC_COOKIE &&
    readU16Be(datagram, OFFSET.length) === datagram.length - HEADER_LENGTH &&
    datagram.length % 4 === 0;
}

/**
 * Makes a request.
 *
 * @param transaction 12 random bytes.
 * @throws {RangeError} When they are not 12.
 */
export function encodeStunRequest(transaction: Uint8Array): Uint8Array {
  return encode(TYPE.request, transaction, new Uint8Array(0));
}

/** The transaction of a binding request, borrowed; `undefined` for anything else. */
export function decodeStunRequest(datagram: Uint8Array): Uint8Array | undefined {
  if (!isStunDatagram(datagram) || readU16Be(datagram, OFFSET.type) !== TYPE.request) {
    return undefined;
  }
  return transactionOf(datagram);
}

/**
 * Makes the response to a request.
 *
 * @param transaction 12 bytes, of the request.
 * @param seen Where it came from.
 * @throws {RangeError} When a field is out of its range.
 */
export function encodeStunResponse(transaction: Uint8Array, seen: StunAddress): Uint8Array {
  const family = FAMILY_OF_LENGTH.get(seen.address.length);
  if (family === undefined) throw new RangeError(`address of ${seen.address.length} bytes`);
  const attribute = new Uint8Array(8 + seen.address.length);
  writeU16Be(attribute, 0, ATTRIBUTE.xorMappedAddress);
  writeU16Be(attribute, 2, 4 + seen.address.length);
  attribute[5] = family;
  writeU16Be(attribute, 6, seen.port);
  attribute.set(seen.address, 8);
  const datagram = encode(TYPE.success, transaction, attribute);
  mask(datagram.subarray(HEADER_LENGTH + 4), datagram);
  return datagram;
}

/**
 * Reads a response.
 *
 * @param datagram Any datagram; borrowed.
 * @returns `undefined` for anything but a well-formed response that says where the request came from
 * or which error there was; also for one with a required attribute that is not known (§6.3.3).
 */
export function decodeStunResponse(datagram: Uint8Array): StunResponse | undefined {
  if (!isStunDatagram(datagram)) return undefined;
  const type = readU16Be(datagram, OFFSET.type);
  if (type !== TYPE.success && type !== TYPE.error) return undefined;
  const values = readAttributes(datagram);
  if (values === undefined) return undefined;
  const transaction = transactionOf(datagram);
  if (type === TYPE.error) {
    const value = values.get(ATTRIBUTE.errorCode);
    if (value === undefined || value.length < 4) return undefined;
    return { transaction, errorCode: (value[2]! & 7) * 100 + value[3]! };
  }
  const xored = values.get(ATTRIBUTE.xorMappedAddress)?.slice();
  if (xored !== undefined) mask(xored, datagram);
  const mapped = readAddress(xored ?? values.get(ATTRIBUTE.mappedAddress));
  return mapped && { transaction, mapped };
}

/** Values by type, the first of each; `undefined` if they are malformed or not understood. */
function readAttributes(datagram: Uint8Array): Map<number, Uint8Array> | undefined {
  const values = new Map<number, Uint8Array>();
  const known: readonly number[] = Object.values(ATTRIBUTE);
  for (let at = HEADER_LENGTH; at < datagram.length;) {
    const type = readU16Be(datagram, at);
    const end = at + 4 + readU16Be(datagram, at + 2);
    if (end > datagram.length) return undefined;
    if (known.includes(type)) {
      if (!values.has(type)) values.set(type, datagram.subarray(at + 4, end));
    } else if (type < OPTIONAL_FROM && !HARMLESS.has(type)) {
      return undefined;
    }
    at = (end + 3) & ~3;
  }
  return values;
}

function readAddress(value: Uint8Array | undefined): StunAddress | undefined {
  if (value === undefined || value.length < 4) return undefined;
  const length = LENGTH_OF_FAMILY.get(value[1]!);
  const port = readU16Be(value, 2);
  if (length === undefined || value.length !== 4 + length || port === 0) return undefined;
  return { address: value.slice(4), port };
}

function encode(type: number, transaction: Uint8Array, attributes: Uint8Array): Uint8Array {
  if (transaction.length !== STUN_TRANSACTION_LENGTH) {
    throw new RangeError(`transaction must be 12 bytes, is ${transaction.length}`);
  }
  const datagram = new Uint8Array(HEADER_LENGTH + attributes.length);
  writeU16Be(datagram, OFFSET.type, type);
  writeU16Be(datagram, OFFSET.length, attributes.length);
  writeU32Be(datagram, OFFSET.cookie, MAGIC_COOKIE);
  datagram.set(transaction, OFFSET.transaction);
  datagram.set(attributes, HEADER_LENGTH);
  return datagram;
}

function transactionOf(datagram: Uint8Array): Uint8Array {
  return datagram.subarray(OFFSET.transaction, HEADER_LENGTH);
}

/**
 * Hides an address from NATs that rewrite what looks like one, or shows it again.
 *
 * @param value Value of XOR-MAPPED-ADDRESS, changed in place.
 * @param datagram Its message: cookie and transaction are the mask.
 */
function mask(value: Uint8Array, datagram: Uint8Array): void {
  for (let at = 2; at < value.length; at++) {
    const from = at < 4 ? at - 2 : at - 4; // port and address both start at the mask's first byte
    value[at]! ^= datagram[OFFSET.cookie + from]!;
  }
}
