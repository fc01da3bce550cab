/**
 * How long and for how many messages a session may live, and when its timers fire (docs/protocol.md
 * §5). Data only.
 *
 * @module
 */

import type { BucketRate } from "./token_bucket.ts";

/** Limits and timers of every session. Times are milliseconds. */
export interface SessionLimits {
  /** Age at which the initiator of a keypair that is in use starts a fresh handshake. */
  readonly rekeyAfterMs: number;
  /** Age from which a keypair neither seals nor opens. */
  readonly rejectAfterMs: number;
  /** Age at which a keypair's keys are wiped. */
  readonly wipeAfterMs: number;
  /** Messages sealed after which the initiator of a keypair starts a fresh handshake. */
  readonly rekeyAfterMessages: number;
  /** Messages after which a keypair neither seals nor opens. */
  readonly rejectAfterMessages: number;
  /** How long a handshake may go unanswered, fresh attempts included, before giving up. */
  readonly giveUpAfterMs: number;
  /** Silence after receiving packets, before a keepalive says that they arrived. */
  readonly keepaliveMs: number;
  /** Silence before a persistent keepalive, where a peer wants them or a NAT needs them. */
  readonly persistentKeepaliveMs: number;
  /** After how long a path that carries less than the interface gives is tried for more. */
  readonly raiseMtuAfterMs: number;
}

/** The figures of the specification. */
export const DEFAULT_LIMITS: SessionLimits = {
  rekeyAfterMs: 120_000,
  rejectAfterMs: 180_000,
  wipeAfterMs: 540_000,
  rekeyAfterMessages: 2 ** 48,
  rejectAfterMessages: 2 ** 50,
  giveUpAfterMs: 90_000,
  keepaliveMs: 10_000,
  persistentKeepaliveMs: 25_000,
  raiseMtuAfterMs: 600_000,
};

/** Fewest messages that a keypair must be allowed: below this nothing but handshakes would pass. */
const MIN_MESSAGES = 16;

/**
 * Lowers some limits; none may be raised.
 *
 * @param lowered What shall differ from the specification, by name. Other names are ignored: they
 * are from a later version.
 * @returns A complete set.
 * @throws {RangeError} when a value is above the specification's, not a positive integer, or they
 * are out of order (rekey ≤ reject ≤ wipe).
 */
export function lowerLimits(lowered: Readonly<Record<string, number>>): SessionLimits {
  const limits: Record<keyof SessionLimits, number> = { ...DEFAULT_LIMITS };
  for (const name of Object.keys(DEFAULT_LIMITS) as (keyof SessionLimits)[]) {
    const value = lowered[name];
    if (value === undefined) continue;
    const lowest = name.endsWith("Messages") ? MIN_MESSAGES : 1;
    if (!Number.isInteger(value) || value < lowest || value > DEFAULT_LIMITS[name]) {
      throw new RangeError(
        `Cannot set limit ${name}: must be an integer from ${lowest} to ${
          DEFAULT_LIMITS[name]
        }, is ${value}`,
      );
    }
    limits[name] = value;
  }
  requireOrder(limits, ["rekeyAfterMs", "rejectAfterMs", "wipeAfterMs"]);
  requireOrder(limits, ["rekeyAfterMessages", "rejectAfterMessages"]);
  return limits;
}

function requireOrder(limits: SessionLimits, names: (keyof SessionLimits)[]): void {
  for (let i = 1; i < names.length; i++) {
    const [lower, upper] = [names[i - 1]!, names[i]!];
    if (limits[lower] > limits[upper]) {
      throw new RangeError(`Cannot set limits: ${lower} must not be above ${upper}`);
    }
  }
}

/**
 * Waits before a fresh handshake after an unanswered one: the first, the second, …; the last one
 * for all that follow. Jitter is added.
 */
export const RETRY_WAITS_MS: readonly number[] = [1_000, 2_000, 4_000, 5_000];
/** Most that jitter adds to such a wait, so that two ends do not stay in step. */
export const RETRY_JITTER_MS = 333;
/** How long an initiation that seeks a better path is repeated and waited for. */
export const SEEK_MS = 3_000;
/** How long a repeated initiation gets the same response again (§4, 2a). */
export const REPEAT_ANSWER_MS = 5_000;
/** Keypairs per peer, unconfirmed ones included. */
export const MAX_KEYPAIRS = 4;
/** UDP sources that may confirm one keypair. */
export const MAX_UDP_SOURCES = 4;
/** Least wait for an answer to something sent, before an echo asks for one. */
export const MIN_SILENCE_MS = 1_000;
/** Least wait for the answer to that echo: with the other one less than two seconds in all. */
export const MIN_ANSWER_MS = 750;
/** Either wait in round trips. */
export const SILENCE_ROUND_TRIPS = 3;
/** Initiations to strayed sources: so many at most per peer… */
export const HEAL_TRIES = 3;
/** …in this time… */
export const HEAL_INTERVAL_MS = 5_000;
/** …and this far apart. */
export const HEAL_AGAIN_MS = 250;
/** The same for all peers together: so many per second. */
export const HEALS_PER_SECOND = 10;

// What strangers may cost (§4).

/** Handshakes computed per second for whoever has not shown that he receives where he sends from. */
export const STRANGER_HANDSHAKES: BucketRate = { perSecond: 200, burst: 50 };
/** The same for whoever has: by mac2, or by sending over a stream. */
export const PROVEN_HANDSHAKES: BucketRate = { perSecond: 1_000, burst: 250 };
/** Handshakes and repeated answers of one source: an IPv4 address, an IPv6 /64, a stream. */
export const SOURCE_HANDSHAKES: BucketRate = { perSecond: 20, burst: 40 };
/** A cookie holds in the period in which it was made, and in the next. */
export const COOKIE_BUCKET_MS = 120_000;
/** How long cookies are made with one secret. */
export const COOKIE_SECRET_MS = 86_400_000;

// Ours, because the specification leaves them open.

/**
 * Sources whose limits are remembered, of either kind. The budgets above let no more come in the
 * two seconds that a source's bucket takes to fill.
 */
export const MAX_SOURCES = 8_192;

/**
 * How long a responder keeps a keypair that nobody confirmed. An initiator that got the response
 * notices within about two seconds that its datagrams do not arrive.
 */
export const UNCONFIRMED_MS = 30_000;
/**
 * How long after the last packet a session is kept through a NAT: somebody who comes back to his shell
 * shall find it as he left it. What is not used for longer is let go.
 */
export const KEEP_USED_MS = 300_000;
/** How often activity that the data plane wrote down is looked at, while a keypair is usable. */
export const WATCH_INTERVAL_MS = 1_000;
