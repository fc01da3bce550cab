/**
 * The two messages of a session handshake as datagrams: Noise, header, payload and mac1 together.
 * Knows nothing of peers, timers or keypairs.
 *
 * ```text
 * payload of message 1:  TAI64N 12 │ PSK epoch u32 (mesh only)
 * payload of message 2:  sender index u32 of the response
 * ```
 *
 * @module
 */

import { concatBytes } from "../base/bytes.ts";
import { readU32Le, writeU32Le } from "../base/integers.ts";
import type { CryptoBackend } from "../crypto/backend.ts";
import type { KeyPair } from "../crypto/x25519.ts";
import { HandshakeError } from "../noise/errors.ts";
import { HandshakeState } from "../noise/handshake_state.ts";
import { PROFILES } from "../noise/profiles.ts";
import {
  encodeInitiation,
  encodeResponse,
  type Initiation,
  initiationHeader,
  type Response,
} from "../wire/datagram.ts";
import type { DropReason } from "./actions.ts";
import { writeMac1 } from "./mac.ts";
import type { PskRing } from "./psk_ring.ts";
import { TIMESTAMP_LENGTH } from "./timestamp.ts";

/** Profiles whose handshakes these are. */
export type SessionProfile = "mesh" | "allowed-peers";

/** What all handshakes of a node share. */
export interface HandshakeContext {
  readonly profile: SessionProfile;
  /** 16 bytes. */
  readonly meshId: Uint8Array;
  readonly staticKey: KeyPair;
  /** Held by `mesh` only. */
  readonly psks: PskRing | undefined;
  readonly crypto: CryptoBackend;
}

/** The other side of a handshake. */
export interface Correspondent {
  /** 32 bytes. */
  readonly staticKey: Uint8Array;
  /** From `mac1Key`. */
  readonly mac1Key: Uint8Array;
}

/** What a handshake leaves behind. Arrays are the caller's. */
export interface HandshakeResult {
  /** 32 bytes. */
  readonly sendKey: Uint8Array;
  /** 32 bytes. */
  readonly receiveKey: Uint8Array;
}

/** An initiation that was written and not answered yet. */
export interface WrittenInitiation {
  readonly datagram: Uint8Array;
  readonly handshake: HandshakeState;
}

/** An initiation that is authentic, authorised and about to be answered. */
export interface ReadInitiation<Peer> {
  readonly peer: Peer;
  readonly senderIndex: number;
  /** 12 bytes. */
  readonly timestamp: Uint8Array;
  readonly handshake: HandshakeState;
}

/**
 * Writes message 1.
 *
 * @param attempt Counts the unanswered ones before: each names another PSK epoch.
 */
export function writeInitiation(
  context: HandshakeContext,
  to: Correspondent,
  fields: { senderIndex: number; timestamp: Uint8Array; attempt: number },
): WrittenInitiation {
  const { profile, crypto, psks } = context;
  const header = initiationHeader(profile, fields.senderIndex);
  const epochs = psks?.epochs ?? [];
  const epoch = epochs[fields.attempt % epochs.length];
  const handshake = new HandshakeState({
    protocol: PROFILES[profile].protocol,
    role: "initiator",
    prologue: PROFILES[profile].prologue(context.meshId, header),
    staticKey: context.staticKey,
    remoteStaticKey: to.staticKey,
    presharedKeys: epoch === undefined ? [] : [psks!.get(epoch)!],
    crypto,
  });
  const payload = epoch === undefined
    ? fields.timestamp
    : concatBytes(fields.timestamp, u32(epoch));
  const datagram = encodeInitiation({
    profile,
    senderIndex: fields.senderIndex,
    noise: handshake.writeMessage(payload),
  });
  writeMac1(crypto, to.mac1Key, datagram);
  return { datagram, handshake };
}

/**
 * Reads message 1, whose mac1 was right (docs/protocol.md §4, steps 5 to 8).
 *
 * @param authorise Looks a static key up after one Diffie-Hellman; `undefined`: a stranger, or a
 * disabled peer, and nothing more is computed.
 * @param isFresh Whether a timestamp is greater than all before it of that peer.
 */
export function readInitiation<Peer>(
  context: HandshakeContext,
  initiation: Initiation,
  authorise: (staticKey: Uint8Array) => Peer | undefined,
  isFresh: (peer: Peer, timestamp: Uint8Array) => boolean,
): ReadInitiation<Peer> | DropReason {
  const { profile, psks } = context;
  let peer: Peer | undefined;
  let psk: Uint8Array | undefined;
  const handshake = new HandshakeState({
    protocol: PROFILES[profile].protocol,
    role: "responder",
    prologue: PROFILES[profile].prologue(context.meshId, initiation.header),
    staticKey: context.staticKey,
    // Reached in message 2, when message 1 has said which one.
    presharedKeys: psks === undefined ? [] : () => psk!,
    onRemoteStaticKey(key) {
      peer = authorise(key);
      if (peer === undefined) throw new Refusal("unknown-static-key");
    },
    crypto: context.crypto,
  });
  try {
    const payload = handshake.readMessage(initiation.noise, (payload) => {
      if (psks !== undefined) {
        psk = psks.get(readU32Le(payload, TIMESTAMP_LENGTH));
        if (psk === undefined) throw new Refusal("unknown-psk-epoch");
      }
      if (!isFresh(peer!, payload.subarray(0, TIMESTAMP_LENGTH))) {
        throw new Refusal("old-timestamp");
      }
    });
    return {
      peer: peer!,
      senderIndex: initiation.senderIndex,
      timestamp: payload.slice(0, TIMESTAMP_LENGTH),
      handshake,
    };
  } catch (error) {
    handshake.wipe();
    return reasonOf(error);
  }
}

/** Writes message 2, which completes the handshake here, unless the peer's keys forbid it. */
export function writeResponse<Peer>(
  context: HandshakeContext,
  to: Correspondent,
  { handshake, senderIndex: receiverIndex }: ReadInitiation<Peer>,
  senderIndex: number,
): (HandshakeResult & { readonly datagram: Uint8Array }) | DropReason {
  const { profile, crypto } = context;
  let noise: Uint8Array;
  try {
    noise = handshake.writeMessage(u32(senderIndex));
  } catch (error) {
    handshake.wipe();
    return reasonOf(error);
  }
  const datagram = encodeResponse({ profile, senderIndex, receiverIndex, noise });
  writeMac1(crypto, to.mac1Key, datagram);
  return { datagram, ...split(handshake) };
}

/**
 * Reads message 2, whose mac1 was right. A refused one leaves the handshake as it was: the genuine
 * one still completes it.
 */
export function readResponse(
  handshake: HandshakeState,
  response: Response,
): HandshakeResult | DropReason {
  try {
    handshake.readMessage(response.noise, (payload) => {
      // The header is not part of what Noise authenticates in message 2; its payload is.
      if (readU32Le(payload, 0) !== response.senderIndex) throw new Refusal("bad-handshake");
    });
  } catch (error) {
    return reasonOf(error);
  }
  return split(handshake);
}

/** Thrown by hooks, to be found again as the cause of the fault `refused`. */
class Refusal extends Error {
  constructor(readonly reason: DropReason) {
    super(reason);
  }
}

function reasonOf(error: unknown): DropReason {
  if (!(error instanceof HandshakeError)) throw error;
  if (error.cause instanceof Refusal) return error.cause.reason;
  return error.fault === "low-order-point" ? "low-order-point" : "bad-handshake";
}

function split(handshake: HandshakeState): HandshakeResult {
  const { send, receive } = handshake.split();
  const result = { sendKey: send.exportKey(), receiveKey: receive.exportKey() };
  send.wipe();
  receive.wipe();
  return result;
}

function u32(value: number): Uint8Array {
  const bytes = new Uint8Array(4);
  writeU32Le(bytes, 0, value);
  return bytes;
}
