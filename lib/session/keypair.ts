/**
 * The transport keys that one handshake left behind, and what is known of their use.
 *
 * @module
 */

import { wipe } from "../base/bytes.ts";
import type { Path } from "./path.ts";

/**
 * One keypair, shared between the session layer, which decides about it, and the data plane, which
 * uses it. The session layer writes the decisions, the data plane the activity.
 */
export interface Keypair {
  /** The peer it belongs to, by node id (64 hex digits). */
  readonly peer: string;
  /** Receiver index of what arrives, chosen by us; unsigned 32 bits. */
  readonly localIndex: number;
  /** Receiver index of what we send, chosen by the peer; unsigned 32 bits. */
  readonly remoteIndex: number;
  /** Whether this node wrote message 1 of its handshake. */
  readonly isInitiator: boolean;
  /** When the handshake completed here, on the scale of `Clock.now`. */
  readonly createdAt: number;
  /** Key for what we send, 32 bytes; zeros once retired. */
  readonly sendKey: Uint8Array;
  /** Key for what arrives, 32 bytes; zeros once retired. */
  readonly receiveKey: Uint8Array;
  /**
   * The path it is bound to. `undefined` only on a responder before the first data datagram
   * authenticates; then the paths in `unconfirmedPaths` may confirm it.
   */
  path: Path | undefined;
  /** Paths the initiation came by, at most four UDP sources, plus relay and SSH. */
  unconfirmedPaths: readonly Path[];
  /** `true` from completion on the initiator, from the first authentic data on the responder. */
  isConfirmed: boolean;
  /** `true` once retired; nothing may be sealed or opened with it. */
  isRetired: boolean;
  /** Written by the data plane, read by the session layer's timers. */
  readonly activity: KeypairActivity;
}

/**
 * What the data plane did with a keypair. Instants are `-Infinity` until they happen. Each field
 * has one writer: the sending side or the receiving side.
 */
export interface KeypairActivity {
  /** Sending side: last datagram sealed and sent, of any kind. */
  sentAt: number;
  /** Sending side: last inner packet sealed (no keepalive, no control). */
  payloadSentAt: number;
  /** Sending side: the first inner packet sealed since the last datagram that authenticated. */
  unansweredSince: number;
  /** Receiving side: last datagram that authenticated, of any kind. */
  receivedAt: number;
  /** Receiving side: last inner packet that authenticated (no keepalive, no control). */
  payloadReceivedAt: number;
  /** Receiving side: the first inner packet that authenticated since anything was sent. */
  unacknowledgedSince: number;
  /** Sending side: counter that the next sealed datagram gets, and so how many were sealed. */
  sendCounter: number;
  /** Receiving side: highest counter that authenticated, -1 before the first. */
  receiveCounter: number;
}

/** What a keypair is made of when its handshake completes. */
export type KeypairFields = Omit<Keypair, "isConfirmed" | "isRetired" | "activity">;

/**
 * Makes a keypair that was not used yet: an initiator's is confirmed, a responder's is not. As JSON
 * it shows no key.
 *
 * @param fields The keys are owned from now on.
 */
export function newKeypair(fields: KeypairFields): Keypair {
  const keypair: Keypair = {
    ...fields,
    isConfirmed: fields.isInitiator,
    isRetired: false,
    activity: newActivity(),
  };
  // Not enumerable, so that a copy for another thread can be made of the rest.
  return Object.defineProperty(keypair, "toJSON", {
    value: () => ({ peer: fields.peer, localIndex: fields.localIndex }),
  });
}

/** The activity of a keypair that was not used yet. */
export function newActivity(): KeypairActivity {
  return {
    sentAt: -Infinity,
    payloadSentAt: -Infinity,
    unansweredSince: -Infinity,
    receivedAt: -Infinity,
    payloadReceivedAt: -Infinity,
    unacknowledgedSince: -Infinity,
    sendCounter: 0,
    receiveCounter: -1,
  };
}

/** Ends a keypair for good: it neither seals nor opens, and its keys are zeros. Repeatable. */
export function retireKeypair(keypair: Keypair): void {
  keypair.isRetired = true;
  wipe(keypair.sendKey);
  wipe(keypair.receiveKey);
}
