/**
 * Type 6: the question where one's datagrams come from, and its answer, laid out alike.
 *
 * ```text
 * type 6 │ version │ 1 ask, 2 answer │ 0 │ key id 8 │ nonce 24 │ sealed 42
 * sealed: transaction 8 │ address 16 │ port 2 │ tag 16
 * ```
 *
 * @module
 */

import {
  DATAGRAM_TYPE,
  OFFSET,
  PROTOCOL_VERSION,
  requireLength,
  XNONCE_LENGTH,
} from "./datagram.ts";

/** Length of a discovery key id: u32 day, then 4 random bytes. */
export const DISCOVERY_KEY_ID_LENGTH = 8;
/** Length of a sealed discovery body: transaction 8, address 16, port 2, tag 16. */
export const SEALED_DISCOVERY_LENGTH = 42;
/** Length of a discovery datagram, both ways. */
export const DISCOVERY_LENGTH = 78;

/** Third byte of a discovery datagram. */
export const DISCOVERY_DIRECTION = { ask: 1, answer: 2 } as const;

/** Type 6, decoded. */
export interface Discovery {
  readonly kind: "discovery";
  /** Which way it goes. */
  readonly direction: keyof typeof DISCOVERY_DIRECTION;
  /** 8 bytes: which key seals it. */
  readonly keyId: Uint8Array;
  /** 24 bytes. */
  readonly nonce: Uint8Array;
  /** 42 bytes. */
  readonly sealed: Uint8Array;
  /** The 12 bytes before the nonce: the associated data. */
  readonly header: Uint8Array;
}

/**
 * The 12 bytes that head a discovery datagram and are its associated data.
 *
 * @throws {RangeError} when the key id is not 8 bytes long.
 */
export function discoveryHeader(
  direction: keyof typeof DISCOVERY_DIRECTION,
  keyId: Uint8Array,
): Uint8Array {
  const at = OFFSET.discovery;
  requireLength("keyId", keyId, DISCOVERY_KEY_ID_LENGTH);
  const header = new Uint8Array(at.nonce);
  header[at.type] = DATAGRAM_TYPE.discovery;
  header[at.version] = PROTOCOL_VERSION;
  header[at.direction] = DISCOVERY_DIRECTION[direction];
  header.set(keyId, at.keyId);
  return header;
}

/**
 * Encodes type 6.
 *
 * @throws {RangeError} when a field has another length than the table's.
 */
export function encodeDiscovery(fields: Omit<Discovery, "kind" | "header">): Uint8Array {
  requireLength("nonce", fields.nonce, XNONCE_LENGTH);
  requireLength("sealed", fields.sealed, SEALED_DISCOVERY_LENGTH);
  const datagram = new Uint8Array(DISCOVERY_LENGTH);
  datagram.set(discoveryHeader(fields.direction, fields.keyId));
  datagram.set(fields.nonce, OFFSET.discovery.nonce);
  datagram.set(fields.sealed, OFFSET.discovery.sealed);
  return datagram;
}

/** Decodes type 6; `undefined` for anything else. */
export function decodeDiscovery(datagram: Uint8Array): Discovery | undefined {
  const at = OFFSET.discovery;
  const direction = datagram[at.direction];
  if (
    datagram.length !== DISCOVERY_LENGTH || datagram[at.type] !== DATAGRAM_TYPE.discovery ||
    datagram[at.version] !== PROTOCOL_VERSION || datagram[at.zero] !== 0 ||
    (direction !== DISCOVERY_DIRECTION.ask && direction !== DISCOVERY_DIRECTION.answer)
  ) return undefined;
  return {
    kind: "discovery",
    direction: direction === DISCOVERY_DIRECTION.ask ? "ask" : "answer",
    keyId: datagram.subarray(at.keyId, at.nonce),
    nonce: datagram.subarray(at.nonce, at.sealed),
    sealed: datagram.subarray(at.sealed),
    header: datagram.subarray(0, at.nonce),
  };
}
