/**
 * What is inside transport data, told by the first byte of the plaintext.
 *
 * ```text
 * (empty)                     keepalive
 * 0x4. 0x6.                   an IPv4 or IPv6 packet
 * 0xC. 0xE.                   the same, its TCP or UDP checksum left to the receiver
 * 0x00 │ kind 1 │ body        control:
 *        1 echo               id 8 │ zeros to any length (a longer echo probes the MTU)
 *        2 echo reply         id 8 │ length u16 of the echo's plaintext as it arrived
 *        3 path report        body of the path choice
 *        4 bye                nothing
 * ```
 *
 * All of it comes from an authenticated peer, which may still be faulty or hostile.
 *
 * @module
 */

import { readU16Le, writeU16Le } from "../base/integers.ts";

/** Second byte of a control plaintext. */
export const CONTROL_KIND = { echo: 1, echoReply: 2, pathReport: 3, bye: 4 } as const;

/** Length of the id that ties an echo reply to its echo. */
export const ECHO_ID_LENGTH = 8;
/** Set in the first byte of a packet whose TCP or UDP checksum is partial. */
export const PARTIAL_CHECKSUM_BIT = 0x80;

/** Bytes before the body of a control plaintext. */
const BODY_AT = 2;
const ECHO_MIN_LENGTH = BODY_AT + ECHO_ID_LENGTH;
const ECHO_REPLY_LENGTH = ECHO_MIN_LENGTH + 2;

/** What a plaintext is, before its content is looked at. */
export type PlaintextKind = "keepalive" | "packet" | "partial-packet" | "control";

/** A decoded control plaintext. Arrays are borrowed views. */
export type Control =
  | {
    readonly kind: "echo";
    /** 8 bytes, to be sent back. */
    readonly id: Uint8Array;
    /** Length of the whole plaintext, to be reported back. */
    readonly length: number;
  }
  | {
    readonly kind: "echo-reply";
    /** 8 bytes of the echo it answers. */
    readonly id: Uint8Array;
    /** Length of that echo's plaintext where it arrived. */
    readonly length: number;
  }
  | { readonly kind: "path-report"; readonly body: Uint8Array }
  | { readonly kind: "bye" }
  /** A kind of a later version: ignored, and counted. */
  | { readonly kind: "unknown"; readonly code: number };

/**
 * Tells plaintexts apart by their first byte. Allocates nothing.
 *
 * @returns `undefined` for what no rule covers: to be dropped.
 */
export function plaintextKind(plaintext: Uint8Array): PlaintextKind | undefined {
  if (plaintext.length === 0) return "keepalive";
  switch (plaintext[0]! >> 4) {
    case 0x4:
    case 0x6:
      return "packet";
    case 0xc:
    case 0xe:
      return "partial-packet";
    default:
      return plaintext[0] === 0 ? "control" : undefined;
  }
}

/**
 * Decodes a control plaintext.
 *
 * @returns `undefined` if it is no control plaintext, or its body does not fit its kind.
 */
export function decodeControl(plaintext: Uint8Array): Control | undefined {
  if (plaintext.length < BODY_AT || plaintext[0] !== 0) return undefined;
  const { length } = plaintext;
  const code = plaintext[1]!;
  switch (code) {
    case CONTROL_KIND.echo:
      if (length < ECHO_MIN_LENGTH || !isZero(plaintext, ECHO_MIN_LENGTH)) return undefined;
      return { kind: "echo", id: plaintext.subarray(BODY_AT, ECHO_MIN_LENGTH), length };
    case CONTROL_KIND.echoReply:
      if (length !== ECHO_REPLY_LENGTH) return undefined;
      return {
        kind: "echo-reply",
        id: plaintext.subarray(BODY_AT, ECHO_MIN_LENGTH),
        length: readU16Le(plaintext, ECHO_MIN_LENGTH),
      };
    case CONTROL_KIND.pathReport:
      return { kind: "path-report", body: plaintext.subarray(BODY_AT) };
    case CONTROL_KIND.bye:
      return length === BODY_AT ? { kind: "bye" } : undefined;
    default:
      return { kind: "unknown", code };
  }
}

/**
 * Encodes an echo.
 *
 * @param id 8 bytes that nobody else can guess; copied.
 * @param length Length of the whole plaintext, 10 to 65535: filled with zeros.
 * @throws {RangeError} when either is out of range.
 */
export function encodeEcho(id: Uint8Array, length: number = ECHO_MIN_LENGTH): Uint8Array {
  requireEchoId(id);
  if (!Number.isInteger(length) || length < ECHO_MIN_LENGTH || length > 0xffff) {
    throw new RangeError(
      `Cannot encode echo: length must be ${ECHO_MIN_LENGTH} to 65535, is ${length}`,
    );
  }
  const plaintext = new Uint8Array(length);
  plaintext[1] = CONTROL_KIND.echo;
  plaintext.set(id, BODY_AT);
  return plaintext;
}

/**
 * Encodes the reply to an echo.
 *
 * @param id The echo's 8 bytes; copied.
 * @param length Length of the echo's plaintext as it arrived, 0 to 65535.
 * @throws {RangeError} when either is out of range.
 */
export function encodeEchoReply(id: Uint8Array, length: number): Uint8Array {
  requireEchoId(id);
  if (!Number.isInteger(length) || length < 0 || length > 0xffff) {
    throw new RangeError(`Cannot encode echo reply: length must be 0 to 65535, is ${length}`);
  }
  const plaintext = new Uint8Array(ECHO_REPLY_LENGTH);
  plaintext[1] = CONTROL_KIND.echoReply;
  plaintext.set(id, BODY_AT);
  writeU16Le(plaintext, ECHO_MIN_LENGTH, length);
  return plaintext;
}

/** Encodes a path report; `body` is copied. */
export function encodePathReport(body: Uint8Array): Uint8Array {
  const plaintext = new Uint8Array(BODY_AT + body.length);
  plaintext[1] = CONTROL_KIND.pathReport;
  plaintext.set(body, BODY_AT);
  return plaintext;
}

/** Encodes a bye: the sender is going, its sessions with it. */
export function encodeBye(): Uint8Array {
  return Uint8Array.of(0, CONTROL_KIND.bye);
}

function requireEchoId(id: Uint8Array): void {
  if (id.length !== ECHO_ID_LENGTH) {
    throw new RangeError(`Cannot encode echo: id must be ${ECHO_ID_LENGTH} bytes, is ${id.length}`);
  }
}

function isZero(bytes: Uint8Array, from: number): boolean {
  for (let i = from; i < bytes.length; i++) if (bytes[i] !== 0) return false;
  return true;
}
