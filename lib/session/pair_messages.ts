/**
 * The three messages of pairing (Noise XX) as datagrams: Noise, header, payload and mac1 together.
 * Knows nothing of timers, paths or half-open tables.
 *
 * ```text
 *             pair                                         pair-interop
 * message 1   e                                            e
 * message 2   e, ee, s, es; payload: sender index u32      e, ee, s, es; no payload
 * message 3   s, se                                        s, se
 * prologue    partition ‖ header of the initiation         empty
 * MACs        mac1 under a key that everybody knows        none
 * ```
 *
 * Neither side knows the other's key beforehand: what the handshake proves is that whoever is at
 * the other end holds the private key of the fingerprint shown, no more.
 *
 * @module
 */

import { equalBytes } from "../base/bytes.ts";
import { readU32Le, writeU32Le } from "../base/integers.ts";
import type { CryptoBackend } from "../crypto/backend.ts";
import { type KeyPair, X25519_LENGTH } from "../crypto/x25519.ts";
import { HandshakeError } from "../noise/errors.ts";
import { HandshakeState } from "../noise/handshake_state.ts";
import { pairPrologue, PROFILES } from "../noise/profiles.ts";
import {
  DATAGRAM_LENGTH,
  encodeInitiation,
  encodeResponse,
  encodeThird,
  type Initiation,
  initiationHeader,
  type NoiseDatagram,
  type Response,
  type Third,
} from "../wire/datagram.ts";
import type { DropReason } from "./actions.ts";
import { mac1Key, verifyMac1, writeMac1 } from "./mac.ts";

/** Profiles whose handshakes these are. */
export type PairProfile = "pair" | "pair-interop";

/** What stands for the responder's key in mac1 and cookies, since nobody knows it yet. */
export const NO_KEY = new Uint8Array(X25519_LENGTH);

/** What all handshakes of one pairing share. */
export interface PairContext {
  readonly profile: PairProfile;
  /** Names the native partition; of no effect in `pair-interop`. */
  readonly partition: string;
  readonly staticKey: KeyPair;
  /** From {@linkcode pairMac1Key}. */
  readonly mac1Key: Uint8Array;
  readonly crypto: CryptoBackend;
}

/** A message that was written, and the handshake that goes on. */
export interface WrittenPairMessage {
  readonly datagram: Uint8Array;
  readonly handshake: HandshakeState;
}

/** What a complete handshake leaves behind. Arrays are the caller's. */
export interface PairKeys {
  /** 32 bytes. */
  readonly sendKey: Uint8Array;
  /** 32 bytes. */
  readonly receiveKey: Uint8Array;
  /** 32 bytes: the other side's static public key, now proven. */
  readonly remoteStaticKey: Uint8Array;
  /** 32 bytes, the same at both ends of this very handshake and nowhere else. */
  readonly handshakeHash: Uint8Array;
}

/** The key of mac1 in every datagram of a pairing; worth keeping. */
export function pairMac1Key(crypto: CryptoBackend): Uint8Array {
  return mac1Key(crypto, NO_KEY);
}

/** Writes message 1. */
export function writePairInitiation(
  context: PairContext,
  senderIndex: number,
): WrittenPairMessage {
  const { profile } = context;
  const header = initiationHeader(profile, senderIndex);
  const handshake = start(context, "initiator", header);
  const datagram = encodeInitiation({ profile, senderIndex, noise: handshake.writeMessage() });
  return { datagram: sealed(context, datagram), handshake };
}

/** Reads message 1 and writes message 2. */
export function answerPairInitiation(
  context: PairContext,
  initiation: Initiation,
  senderIndex: number,
): WrittenPairMessage | DropReason {
  const { profile } = context;
  const handshake = start(context, "responder", initiation.header);
  try {
    handshake.readMessage(initiation.noise);
    const payload = new Uint8Array(PROFILES[profile].secondPayloadLength);
    if (payload.length > 0) writeU32Le(payload, 0, senderIndex);
    const noise = handshake.writeMessage(payload);
    const receiverIndex = initiation.senderIndex;
    const datagram = encodeResponse({ profile, senderIndex, receiverIndex, noise });
    return { datagram: sealed(context, datagram), handshake };
  } catch (error) {
    handshake.wipe();
    return reasonOf(error);
  }
}

/**
 * Reads message 2 and writes message 3, which completes the handshake here. A refused response
 * leaves the handshake as it was: the genuine one still completes it.
 *
 * @returns `bad-handshake` for what does not authenticate, as a response of another partition;
 * `unknown-static-key` for this node's own key.
 */
export function writeThird(
  context: PairContext,
  handshake: HandshakeState,
  response: Response,
  senderIndex: number,
): (PairKeys & { readonly datagram: Uint8Array }) | DropReason {
  const { profile } = context;
  try {
    handshake.readMessage(response.noise, (payload) => {
      // The header is not part of what Noise authenticates in message 2; its payload is.
      if (payload.length > 0 && readU32Le(payload, 0) !== response.senderIndex) {
        throw new Refusal("bad-handshake");
      }
    });
    const noise = handshake.writeMessage();
    const receiverIndex = response.senderIndex;
    const datagram = encodeThird({ profile, senderIndex, receiverIndex, noise });
    return { datagram: sealed(context, datagram), ...split(handshake) };
  } catch (error) {
    return reasonOf(error);
  }
}

/** Reads message 3. A refused one leaves the handshake as it was. */
export function readThird(handshake: HandshakeState, third: Third): PairKeys | DropReason {
  try {
    handshake.readMessage(third.noise);
    return split(handshake);
  } catch (error) {
    return reasonOf(error);
  }
}

/** Whether the mac1 of a handshake datagram is right; `pair-interop` has none. */
export function isPairMac1(context: PairContext, datagram: NoiseDatagram): boolean {
  if (!hasMacs(context.profile)) return true;
  return verifyMac1(context.crypto, context.mac1Key, datagram);
}

/** Whether a profile's datagrams have MACs, and with them cookies. */
export function hasMacs(profile: PairProfile): boolean {
  return DATAGRAM_LENGTH[profile].cookie > 0;
}

/** Thrown by hooks, to be found again as the cause of the fault `refused`. */
class Refusal extends Error {
  constructor(readonly reason: DropReason) {
    super(reason);
  }
}

function start(
  { profile, partition, staticKey, crypto }: PairContext,
  role: "initiator" | "responder",
  header: Uint8Array,
): HandshakeState {
  return new HandshakeState({
    protocol: PROFILES[profile].protocol,
    role,
    prologue: profile === "pair"
      ? pairPrologue(partition, header)
      : PROFILES[profile].prologue(NO_KEY, header),
    staticKey,
    onRemoteStaticKey(key) {
      if (equalBytes(key, staticKey.publicKey)) throw new Refusal("unknown-static-key");
    },
    crypto,
  });
}

function sealed({ profile, crypto, mac1Key }: PairContext, datagram: Uint8Array): Uint8Array {
  if (hasMacs(profile)) writeMac1(crypto, mac1Key, datagram);
  return datagram;
}

function split(handshake: HandshakeState): PairKeys {
  const { handshakeHash, remoteStaticKey } = handshake;
  const { send, receive } = handshake.split();
  const keys = { sendKey: send.exportKey(), receiveKey: receive.exportKey() };
  send.wipe();
  receive.wipe();
  return { ...keys, handshakeHash, remoteStaticKey: remoteStaticKey! };
}

function reasonOf(error: unknown): DropReason {
  if (!(error instanceof HandshakeError)) throw error;
  if (error.cause instanceof Refusal) return error.cause.reason;
  return error.fault === "low-order-point" ? "low-order-point" : "bad-handshake";
}
