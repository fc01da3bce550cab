/**
 * Messages of NETLINK_ROUTE: how they are put together and taken apart. Pure.
 *
 * ```
 * nlmsghdr    0 length 4 (all of it) │ 4 type 2 │ 6 flags 2 │ 8 sequence 4 │ 12 port 4          = 16
 * ifinfomsg   0 family 1 │ 1 (gap) 1 │ 2 type 2 │ 4 index 4 │ 8 flags 4 │ 12 change mask 4      = 16
 * ifaddrmsg   0 family 1 │ 1 prefix length 1 │ 2 flags 1 │ 3 scope 1 │ 4 index 4                =  8
 * rtmsg       0 family 1 │ 1 destination length 1 │ 2 source length 1 │ 3 tos 1 │ 4 table 1
 *             5 protocol 1 │ 6 scope 1 │ 7 type 1 │ 8 flags 4                                   = 12
 * rtattr      0 length 2 (header and value) │ 2 type 2 │ 4 value, padded to 4
 * nlmsgerr    0 error 4 (negative errno, 0 = acknowledged) │ 4 the request's nlmsghdr ...
 * ```
 *
 * Host byte order (little-endian), addresses in network order. Source: linux/netlink.h,
 * linux/rtnetlink.h, linux/if_addr.h, linux/if_link.h.
 *
 * @module
 */

/** Message types. */
export const RTM = {
  NEWLINK: 16,
  DELLINK: 17,
  GETLINK: 18,
  NEWADDR: 20,
  DELADDR: 21,
  GETADDR: 22,
  NEWROUTE: 24,
  DELROUTE: 25,
  GETROUTE: 26,
  NEWRULE: 32,
  DELRULE: 33,
  GETRULE: 34,
} as const;

/** Types of control messages. */
export const NLMSG = { ERROR: 2, DONE: 3 } as const;

/** Message flags. */
export const NLM_F = {
  REQUEST: 1,
  MULTI: 2,
  ACK: 4,
  DUMP_INTR: 0x10,
  DUMP: 0x300,
  REPLACE: 0x100,
  EXCL: 0x200,
  CREATE: 0x400,
} as const;

/** Attribute types, by the message that carries them. */
export const ATTRIBUTE = {
  IFLA_IFNAME: 3,
  IFLA_MTU: 4,
  IFLA_LINKINFO: 18,
  IFLA_INFO_KIND: 1,
  IFLA_AF_SPEC: 26,
  IFLA_INET6_ADDR_GEN_MODE: 8,
  IFA_ADDRESS: 1,
  IFA_LOCAL: 2,
  IFA_FLAGS: 8,
  RTA_DST: 1,
  RTA_SRC: 2,
  RTA_OIF: 4,
  RTA_GATEWAY: 5,
  RTA_PRIORITY: 6,
  RTA_PREFSRC: 7,
  RTA_TABLE: 15,
  FRA_SRC: 2,
  FRA_PRIORITY: 6,
  FRA_SUPPRESS_PREFIXLEN: 14,
  FRA_TABLE: 15,
  FRA_PROTOCOL: 21,
  FRA_IP_PROTO: 22,
  FRA_SPORT_RANGE: 23,
} as const;

/** Flag in an attribute's type: its value is a list of attributes. */
export const NESTED = 0x8000;
const TYPE_MASK = 0x3fff;
const HEADER_LENGTH = 16;

/** Puts one request together. */
export class NetlinkRequest {
  readonly #bytes = new Uint8Array(512);
  readonly #view = new DataView(this.#bytes.buffer);
  #length = HEADER_LENGTH;

  /**
   * Starts a request.
   *
   * @param type One of {@linkcode RTM}.
   * @param flags From {@linkcode NLM_F}; REQUEST is added.
   * @param body The fixed structure that follows the header; a multiple of 4 bytes.
   */
  constructor(type: number, flags: number, body: Uint8Array) {
    this.#view.setUint16(4, type, true);
    this.#view.setUint16(6, flags | NLM_F.REQUEST, true);
    this.#bytes.set(body, this.#length);
    this.#length += body.length;
  }

  /**
   * Appends an attribute.
   *
   * @param type One of {@linkcode ATTRIBUTE}, with {@linkcode NESTED} if the value is attributes.
   * @param value Copied; padding is added.
   */
  attribute(type: number, value: Uint8Array): this {
    putAttribute(this.#bytes, this.#length, type, value);
    this.#length += aligned(4 + value.length);
    return this;
  }

  /** Appends an attribute of a 32-bit number. */
  attributeU32(type: number, value: number): this {
    return this.attribute(type, u32(value));
  }

  /**
   * Ends the request.
   *
   * @param sequence Comes back in the answers.
   * @returns The bytes to send, borrowed from this object.
   */
  finish(sequence: number): Uint8Array<ArrayBuffer> {
    this.#view.setUint32(0, this.#length, true);
    this.#view.setUint32(8, sequence, true);
    return this.#bytes.subarray(0, this.#length);
  }
}

/**
 * Makes one attribute, for use inside a nested one.
 *
 * @param type Type of the attribute.
 * @param value Copied.
 */
export function nestedAttribute(type: number, value: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(aligned(4 + value.length));
  putAttribute(bytes, 0, type, value);
  return bytes;
}

/** A number as 4 bytes in host order. */
export function u32(value: number): Uint8Array {
  return new Uint8Array(Uint32Array.of(value).buffer);
}

/** One message of an answer; bytes borrowed from the receive buffer. */
export interface NetlinkMessage {
  /** {@linkcode RTM} or {@linkcode NLMSG}. */
  readonly type: number;
  /** {@linkcode NLM_F}. */
  readonly flags: number;
  /** Number of the request this answers. */
  readonly sequence: number;
  /** What follows the header. */
  readonly body: DataView<ArrayBufferLike>;
}

/**
 * Splits what one read returned.
 *
 * @param bytes Whole messages, each padded to 4 bytes.
 * @returns The messages up to the first one whose length cannot be true.
 */
export function* readMessages(bytes: Uint8Array): Generator<NetlinkMessage> {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  for (let at = 0; at + HEADER_LENGTH <= bytes.length;) {
    const length = view.getUint32(at, true);
    if (length < HEADER_LENGTH || at + length > bytes.length) return;
    yield {
      type: view.getUint16(at + 4, true),
      flags: view.getUint16(at + 6, true),
      sequence: view.getUint32(at + 8, true),
      body: new DataView(bytes.buffer, bytes.byteOffset + at + HEADER_LENGTH, length - 16),
    };
    at += aligned(length);
  }
}

/** Attributes by type; the last one of a type wins. */
export class Attributes {
  readonly #values = new Map<number, DataView<ArrayBufferLike>>();

  /**
   * Reads a list of attributes.
   *
   * @param body Borrowed for as long as this object is used.
   * @param start Where the first attribute begins.
   */
  constructor(body: DataView<ArrayBufferLike>, start: number) {
    for (let at = start; at + 4 <= body.byteLength;) {
      const length = body.getUint16(at, true);
      if (length < 4 || at + length > body.byteLength) return;
      const value = new DataView(body.buffer, body.byteOffset + at + 4, length - 4);
      this.#values.set(body.getUint16(at + 2, true) & TYPE_MASK, value);
      at += aligned(length);
    }
  }

  /** A 32-bit number; `undefined` if it is not there. */
  u32(type: number): number | undefined {
    const value = this.#values.get(type);
    return value === undefined || value.byteLength < 4 ? undefined : value.getUint32(0, true);
  }

  /** Raw bytes, copied; `undefined` if it is not there. */
  bytes(type: number): Uint8Array | undefined {
    const value = this.#values.get(type);
    if (value === undefined) return undefined;
    return new Uint8Array(value.buffer, value.byteOffset, value.byteLength).slice();
  }

  /** Text up to the final zero; `undefined` if it is not there. */
  text(type: number): string | undefined {
    const bytes = this.bytes(type);
    return bytes && new TextDecoder().decode(bytes).replace(/\0.*$/s, "");
  }

  /** Attributes inside an attribute; `undefined` if it is not there. */
  nested(type: number): Attributes | undefined {
    const value = this.#values.get(type);
    return value && new Attributes(value, 0);
  }
}

function putAttribute(target: Uint8Array, at: number, type: number, value: Uint8Array): void {
  const length = 4 + value.length;
  target.set([length & 255, length >> 8, type & 255, type >> 8], at);
  target.set(value, at + 4);
}

function aligned(length: number): number {
  return (length + 3) & ~3;
}
