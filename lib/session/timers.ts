/**
 * When something is due for a keypair, by its age and by what the data plane wrote down. Pure: the
 * tunnel asks these both to know its next deadline and to decide what to do, so that the two cannot
 * differ.
 *
 * @module
 */

import type { Keypair } from "./keypair.ts";
import { RETRY_JITTER_MS, RETRY_WAITS_MS, type SessionLimits, UNCONFIRMED_MS } from "./limits.ts";

/**
 * How long an initiation waits for its response.
 *
 * @param attempt How many went unanswered before it.
 * @param chance `[0, 1)`, for the jitter.
 */
export function retryWaitMs(attempt: number, chance: number): number {
  const last = RETRY_WAITS_MS.length - 1;
  return RETRY_WAITS_MS[Math.min(attempt, last)]! + chance * RETRY_JITTER_MS;
}

/** When a fresh handshake is due in place of a keypair in use; `Infinity` while it is not. */
export function rekeyAt(keypair: Keypair, limits: SessionLimits): number {
  const { isInitiator, activity, createdAt } = keypair;
  if (!isInitiator) return Infinity;
  // Before the peer has used it, it may still be unconfirmed there, and would be replaced.
  if (activity.receivedAt === -Infinity) return Infinity;
  const messages = Math.max(activity.sendCounter, activity.receiveCounter + 1);
  if (messages >= limits.rekeyAfterMessages) return -Infinity;
  const dueAt = createdAt + limits.rekeyAfterMs;
  return Math.max(activity.sentAt, activity.payloadReceivedAt) > dueAt ? dueAt : Infinity;
}

/** What {@linkcode keepaliveAt} depends on besides the keypair. */
export interface KeepaliveState {
  /** When the last one was asked for; it need not have been sent. */
  readonly lastAt: number;
  /** Until when to send them although nothing was received; `-Infinity` for not at all. */
  readonly persistentUntil: number;
}

/** When an empty datagram is due, to say that packets arrived or to keep the way open. */
export function keepaliveAt(
  { activity, createdAt }: Keypair,
  limits: SessionLimits,
  { lastAt, persistentUntil }: KeepaliveState,
): number {
  const passiveAt = activity.payloadReceivedAt > activity.sentAt
    ? Math.max(activity.unacknowledgedSince, lastAt) + limits.keepaliveMs
    : Infinity;
  const persistentAt = Math.max(activity.sentAt, createdAt, lastAt) + limits.persistentKeepaliveMs;
  return persistentAt <= persistentUntil ? Math.min(passiveAt, persistentAt) : passiveAt;
}

/** When a keypair is taken out: its time is long over, or nobody has confirmed it. */
export function endsAt({ createdAt, isConfirmed }: Keypair, limits: SessionLimits): number {
  const { wipeAfterMs, rejectAfterMs } = limits;
  return createdAt + (isConfirmed ? wipeAfterMs : Math.min(UNCONFIRMED_MS, rejectAfterMs));
}
