/**
 * The datagrams of `tunnelmesh/1`: one offset table, used by encode and decode alike. (The code of
 * type 6 is in discovery_datagram.ts.)
 *
 * Integers are little-endian. `version`, `profile` and the zero byte are single bytes; a byte drawn
 * as 0 must be zero. Sizes in bytes; docs/protocol.md has the same tables and a test compares them.
 *
 * ```text
 * initiation  type 1 │ version │ profile │ 0 │ sender 4 │ noise │ mac1 16 │ mac2 16
 * response    type 2 │ version │ profile │ 0 │ sender 4 │ receiver 4 │ noise │ mac1 16 │ mac2 16
 * third       type 3 │ version │ profile │ 0 │ sender 4 │ receiver 4 │ noise │ mac1 16 │ mac2 16
 * cookie      type 4 │ version │ profile │ 0 │ receiver 4 │ nonce 24 │ sealed cookie 32
 * data        type 5 │ 0 0 0 │ receiver 4 │ counter 8 │ ciphertext │ tag 16
 * discovery   type 6 │ version │ 1 ask, 2 answer │ 0 │ key id 8 │ nonce 24 │ sealed 42
 * ```
 *
 * Decoding copies nothing: what it returns are views into the datagram. Nothing here throws on
 * bytes from outside; a datagram is exactly as long as its table row says, or refused.
 *
 * @module
 */

import { readU32Le, readU64Le, writeU32Le, writeU64Le } from "../base/integers.ts";

/** First byte of each datagram. */
export const DATAGRAM_TYPE = {
  initiation: 1,
  response: 2,
  third: 3,
  cookie: 4,
  data: 5,
  discovery: 6,
} as const;

/** Second byte of every datagram but transport data. */
export const PROTOCOL_VERSION = 1;

/** Third byte of types 1 to 4: which row of the profile table the handshake follows. */
export const PROFILE_ID = { "mesh": 1, "allowed-peers": 2, "pair": 3, "pair-interop": 4 } as const;

/** Name of a profile. */
export type ProfileName = keyof typeof PROFILE_ID;

/** Length of mac1 and of mac2. */
export const MAC_LENGTH = 16;
/** Length of an AEAD tag. */
export const TAG_LENGTH = 16;
/** Length of the header of transport data; all of it is associated data. */
export const DATA_HEADER_LENGTH = 16;
/** Length of an XChaCha20-Poly1305 nonce, in cookies and discovery. */
export const XNONCE_LENGTH = 24;
/** Length of a sealed cookie: 16 and its tag. */
export const SEALED_COOKIE_LENGTH = 32;
/** Length of an initiation's header, which is part of its handshake's prologue. */
export const INITIATION_HEADER_LENGTH = 8;
/** Where the fields begin. Noise messages end where mac1 begins, 32 bytes before the end. */
export const OFFSET = {
  initiation: { type: 0, version: 1, profile: 2, zero: 3, sender: 4, noise: 8 },
  response: { type: 0, version: 1, profile: 2, zero: 3, sender: 4, receiver: 8, noise: 12 },
  third: { type: 0, version: 1, profile: 2, zero: 3, sender: 4, receiver: 8, noise: 12 },
  cookie: { type: 0, version: 1, profile: 2, zero: 3, receiver: 4, nonce: 8, sealed: 32 },
  data: { type: 0, zero: 1, receiver: 4, counter: 8, ciphertext: 16 },
  discovery: { type: 0, version: 1, direction: 2, zero: 3, keyId: 4, nonce: 12, sealed: 36 },
} as const;

/** Exact length of each handshake datagram by profile; 0: that profile has no such datagram. */
export const DATAGRAM_LENGTH = {
  "mesh": { initiation: 152, response: 96, third: 0, cookie: 64 },
  "allowed-peers": { initiation: 148, response: 96, third: 0, cookie: 64 },
  "pair": { initiation: 72, response: 144, third: 108, cookie: 64 },
  "pair-interop": { initiation: 40, response: 108, third: 76, cookie: 0 },
} as const satisfies Record<ProfileName, Record<HandshakeKind | "cookie", number>>;

/** The three datagrams that carry a Noise message. */
export type HandshakeKind = "initiation" | "response" | "third";

/** What the three handshake datagrams have in common. All arrays are borrowed views. */
export interface NoiseDatagram {
  /** Which profile it follows. */
  readonly profile: ProfileName;
  /** Index that its sender wants to be answered with; unsigned 32 bits. */
  readonly senderIndex: number;
  /** The Noise message. */
  readonly noise: Uint8Array;
  /** 16 bytes; empty in `pair-interop`, which has no MACs. */
  readonly mac1: Uint8Array;
  /** 16 bytes, zeros where there is no cookie; empty in `pair-interop`. */
  readonly mac2: Uint8Array;
  /** What mac1 covers. */
  readonly beforeMac1: Uint8Array;
  /** What mac2 covers. */
  readonly beforeMac2: Uint8Array;
}

/** Type 1, decoded. */
export interface Initiation extends NoiseDatagram {
  readonly kind: "initiation";
  /** The 8 header bytes, part of the prologue. */
  readonly header: Uint8Array;
}

/** Type 2, decoded. */
export interface Response extends NoiseDatagram {
  readonly kind: "response";
  /** Sender index of the initiation it answers. */
  readonly receiverIndex: number;
}

/** Type 3, decoded. */
export interface Third extends NoiseDatagram {
  readonly kind: "third";
  /** Sender index of the response it answers. */
  readonly receiverIndex: number;
}

/** Type 4, decoded. */
export interface Cookie {
  readonly kind: "cookie";
  /** Which profile it follows. */
  readonly profile: ProfileName;
  /** Sender index of the initiation it answers. */
  readonly receiverIndex: number;
  /** 24 bytes. */
  readonly nonce: Uint8Array;
  /** 32 bytes. */
  readonly sealed: Uint8Array;
}

/** Any decoded datagram of types 1 to 4. */
export type HandshakeDatagram = Initiation | Response | Third | Cookie;

/** Why a datagram was not decoded; these are drop reasons of the session layer. */
export type DatagramFault = "malformed" | "unknown-type" | "unknown-version" | "unknown-profile";

/** What {@linkcode encodeInitiation} writes. */
export interface InitiationFields {
  /** Which profile it follows. */
  readonly profile: ProfileName;
  /** Unsigned 32 bits. */
  readonly senderIndex: number;
  /** The Noise message, exactly as long as the profile's; copied. */
  readonly noise: Uint8Array;
}

/** What {@linkcode encodeResponse} and {@linkcode encodeThird} write. */
export interface ReplyFields extends InitiationFields {
  /** Unsigned 32 bits. */
  readonly receiverIndex: number;
}

const PROFILE_NAMES: (ProfileName | undefined)[] = [];
for (const name of Object.keys(PROFILE_ID) as ProfileName[]) PROFILE_NAMES[PROFILE_ID[name]] = name;

const KIND_OF_TYPE = [undefined, "initiation", "response", "third", "cookie"] as const;

/**
 * Decodes a datagram of type 1, 2, 3 or 4.
 *
 * @param datagram Borrowed: the result holds views into it.
 * @returns `undefined` for any other datagram; {@linkcode datagramFault} then says why.
 */
export function decodeHandshake(datagram: Uint8Array): HandshakeDatagram | undefined {
  const kind = KIND_OF_TYPE[datagram[0] ?? 0];
  switch (kind) {
    case "initiation":
      return decodeInitiation(datagram);
    case "response":
    case "third":
      return decodeReply(datagram, kind);
    case "cookie":
      return decodeCookie(datagram);
    case undefined:
      return undefined;
  }
}

/**
 * Why {@linkcode decodeHandshake} or `decodeDiscovery` refuses a datagram.
 *
 * @returns The first of: type, version, profile, then `malformed` (length, zero byte, direction).
 */
export function datagramFault(datagram: Uint8Array): DatagramFault {
  const type = datagram[0];
  if (type === undefined) return "malformed";
  if (type < DATAGRAM_TYPE.initiation || type > DATAGRAM_TYPE.discovery) return "unknown-type";
  if (type === DATAGRAM_TYPE.data || datagram.length < 4) return "malformed";
  if (datagram[1] !== PROTOCOL_VERSION) return "unknown-version";
  if (type !== DATAGRAM_TYPE.discovery && profileOf(datagram) === undefined) {
    return "unknown-profile";
  }
  return "malformed";
}

/**
 * The 8 header bytes of an initiation, which the prologue contains, so they are needed before the
 * Noise message can be written.
 *
 * @param senderIndex Unsigned 32 bits.
 */
export function initiationHeader(profile: ProfileName, senderIndex: number): Uint8Array {
  const header = new Uint8Array(INITIATION_HEADER_LENGTH);
  writeHeader(header, DATAGRAM_TYPE.initiation, profile);
  writeU32Le(header, OFFSET.initiation.sender, senderIndex);
  return header;
}

/**
 * Encodes type 1, with zeros for mac1 and mac2: {@linkcode macFields} gives the places to fill.
 *
 * @throws {RangeError} when the Noise message is not exactly as long as the profile's.
 */
export function encodeInitiation(fields: InitiationFields): Uint8Array {
  const datagram = newNoiseDatagram("initiation", fields);
  writeU32Le(datagram, OFFSET.initiation.sender, fields.senderIndex);
  return datagram;
}

/**
 * Encodes type 2, with zeros for mac1 and mac2.
 *
 * @throws {RangeError} when the Noise message is not exactly as long as the profile's.
 */
export function encodeResponse(fields: ReplyFields): Uint8Array {
  return encodeReply("response", fields);
}

/**
 * Encodes type 3, with zeros for mac1 and mac2.
 *
 * @throws {RangeError} when the profile has no third message, or another length for it.
 */
export function encodeThird(fields: ReplyFields): Uint8Array {
  return encodeReply("third", fields);
}

/** The MAC fields of a handshake datagram and what each covers; all are views into it. */
export interface MacFields {
  /** What mac1 covers: everything before it. */
  readonly beforeMac1: Uint8Array;
  /** 16 bytes. */
  readonly mac1: Uint8Array;
  /** What mac2 covers: everything before it, mac1 included. */
  readonly beforeMac2: Uint8Array;
  /** 16 bytes. */
  readonly mac2: Uint8Array;
}

/**
 * Views of the MAC fields of an encoded datagram of type 1, 2 or 3, to be read or filled.
 *
 * @param datagram At least 32 bytes long, of a profile with MACs.
 */
export function macFields(datagram: Uint8Array): MacFields {
  const mac2At = datagram.length - MAC_LENGTH;
  const mac1At = mac2At - MAC_LENGTH;
  return {
    beforeMac1: datagram.subarray(0, mac1At),
    mac1: datagram.subarray(mac1At, mac2At),
    beforeMac2: datagram.subarray(0, mac2At),
    mac2: datagram.subarray(mac2At),
  };
}

/**
 * Encodes type 4.
 *
 * @throws {RangeError} when the profile has no cookies, or nonce or cookie have another length.
 */
export function encodeCookie(fields: Omit<Cookie, "kind">): Uint8Array {
  const at = OFFSET.cookie;
  const length = DATAGRAM_LENGTH[fields.profile].cookie;
  if (length === 0) throw new RangeError(`Cannot encode cookie: ${fields.profile} has none`);
  requireLength("nonce", fields.nonce, XNONCE_LENGTH);
  requireLength("sealed", fields.sealed, SEALED_COOKIE_LENGTH);
  const datagram = new Uint8Array(length);
  writeHeader(datagram, DATAGRAM_TYPE.cookie, fields.profile);
  writeU32Le(datagram, at.receiver, fields.receiverIndex);
  datagram.set(fields.nonce, at.nonce);
  datagram.set(fields.sealed, at.sealed);
  return datagram;
}

/**
 * Whether a datagram is well-formed transport data; only then may {@linkcode dataReceiverIndex}
 * and {@linkcode dataCounter} be asked. Allocates nothing.
 *
 * A counter of 2**53 or more is malformed: the limits stop every honest sender long before.
 */
export function isData(datagram: Uint8Array): boolean {
  return datagram.length >= DATA_HEADER_LENGTH + TAG_LENGTH &&
    datagram[0] === DATAGRAM_TYPE.data &&
    (datagram[1]! | datagram[2]! | datagram[3]!) === 0 &&
    readU32Le(datagram, OFFSET.data.counter + 4) < 0x20_0000;
}

/** Receiver index of transport data. */
export function dataReceiverIndex(datagram: Uint8Array): number {
  return readU32Le(datagram, OFFSET.data.receiver);
}

/** Counter of transport data, below 2**53. */
export function dataCounter(datagram: Uint8Array): number {
  return readU64Le(datagram, OFFSET.data.counter);
}

/**
 * Writes the 16 header bytes of transport data.
 *
 * @param counter `[0, 2**53)`.
 * @param out Written from `outOffset` on; must have room for 16 bytes.
 */
export function writeDataHeader(
  receiverIndex: number,
  counter: number,
  out: Uint8Array,
  outOffset = 0,
): void {
  writeU32Le(out, outOffset, DATAGRAM_TYPE.data);
  writeU32Le(out, outOffset + OFFSET.data.receiver, receiverIndex);
  writeU64Le(out, outOffset + OFFSET.data.counter, counter);
}

function decodeInitiation(datagram: Uint8Array): Initiation | undefined {
  const profile = checkedProfile(datagram, "initiation");
  if (profile === undefined) return undefined;
  return {
    kind: "initiation",
    ...noiseFields(datagram, profile, OFFSET.initiation.noise),
    header: datagram.subarray(0, INITIATION_HEADER_LENGTH),
  };
}

function decodeReply(
  datagram: Uint8Array,
  kind: "response" | "third",
): Response | Third | undefined {
  const profile = checkedProfile(datagram, kind);
  if (profile === undefined) return undefined;
  return {
    kind,
    ...noiseFields(datagram, profile, OFFSET[kind].noise),
    receiverIndex: readU32Le(datagram, OFFSET[kind].receiver),
  };
}

function decodeCookie(datagram: Uint8Array): Cookie | undefined {
  const at = OFFSET.cookie;
  const profile = checkedProfile(datagram, "cookie");
  if (profile === undefined) return undefined;
  return {
    kind: "cookie",
    profile,
    receiverIndex: readU32Le(datagram, at.receiver),
    nonce: datagram.subarray(at.nonce, at.sealed),
    sealed: datagram.subarray(at.sealed),
  };
}

function encodeReply(kind: "response" | "third", fields: ReplyFields): Uint8Array {
  const datagram = newNoiseDatagram(kind, fields);
  writeU32Le(datagram, OFFSET[kind].sender, fields.senderIndex);
  writeU32Le(datagram, OFFSET[kind].receiver, fields.receiverIndex);
  return datagram;
}

/** Header and Noise message in place, indices and MACs still zero. */
function newNoiseDatagram(kind: HandshakeKind, fields: InitiationFields): Uint8Array {
  const length = DATAGRAM_LENGTH[fields.profile][kind];
  if (length === 0) throw new RangeError(`Cannot encode ${kind}: ${fields.profile} has none`);
  const noiseAt = OFFSET[kind].noise;
  requireLength("noise", fields.noise, length - macsLength(fields.profile) - noiseAt);
  const datagram = new Uint8Array(length);
  writeHeader(datagram, DATAGRAM_TYPE[kind], fields.profile);
  datagram.set(fields.noise, noiseAt);
  return datagram;
}

function noiseFields(datagram: Uint8Array, profile: ProfileName, noiseAt: number): NoiseDatagram {
  const mac1At = datagram.length - macsLength(profile);
  const mac2At = Math.min(mac1At + MAC_LENGTH, datagram.length);
  return {
    profile,
    senderIndex: readU32Le(datagram, OFFSET.initiation.sender),
    noise: datagram.subarray(noiseAt, mac1At),
    beforeMac1: datagram.subarray(0, mac1At),
    mac1: datagram.subarray(mac1At, mac2At),
    beforeMac2: datagram.subarray(0, mac2At),
    mac2: datagram.subarray(mac2At),
  };
}

/** The profile of a datagram whose version, profile, zero byte and exact length are right. */
function checkedProfile(
  datagram: Uint8Array,
  kind: HandshakeKind | "cookie",
): ProfileName | undefined {
  const profile = profileOf(datagram);
  const isRight = profile !== undefined && datagram[1] === PROTOCOL_VERSION &&
    datagram[3] === 0 && datagram.length === DATAGRAM_LENGTH[profile][kind];
  return isRight ? profile : undefined;
}

function profileOf(datagram: Uint8Array): ProfileName | undefined {
  return PROFILE_NAMES[datagram[2] ?? 0];
}

function macsLength(profile: ProfileName): number {
  return profile === "pair-interop" ? 0 : 2 * MAC_LENGTH;
}

function writeHeader(out: Uint8Array, type: number, profile: ProfileName): void {
  out[0] = type;
  out[1] = PROTOCOL_VERSION;
  out[2] = PROFILE_ID[profile];
}

/**
 * Refuses a field of another length than the table's.
 *
 * @throws {RangeError} naming the field.
 */
export function requireLength(name: string, bytes: Uint8Array, length: number): void {
  if (bytes.length !== length) {
    throw new RangeError(
      `Cannot encode datagram: ${name} must be ${length} bytes, is ${bytes.length}`,
    );
  }
}
