/**
 * What the control thread and the two workers share without messages: whether a keypair may be used,
 * what was done with it, and counters. Each number has one writer.
 *
 * A keypair's block:
 *
 * ```text
 * word 0 (32 bits)  1 while it may be used, 0 once revoked: written by the control thread, read by
 *                   the workers before each seal and open, and after each open
 * double 1…8        the fields of KeypairActivity, in the order of ACTIVITY_FIELDS
 * ```
 *
 * @module
 */

import type { KeypairActivity } from "../../session/keypair.ts";
import { DROP_REASONS, type DropReason } from "../../session/actions.ts";

/** Value of a keypair's first word while it may be used. */
export const LIVE = 1;

/** Fields of the activity with their place, counted in doubles. */
export const ACTIVITY = {
  sentAt: 1,
  payloadSentAt: 2,
  unansweredSince: 3,
  sendCounter: 4,
  receivedAt: 5,
  payloadReceivedAt: 6,
  unacknowledgedSince: 7,
  receiveCounter: 8,
} as const satisfies Record<keyof KeypairActivity, number>;

const KEYPAIR_DOUBLES = 9;

/** One keypair's block, seen from one thread. */
export class SharedKeypair {
  /** To be posted to the workers. */
  readonly buffer: SharedArrayBuffer;
  /** The activity; indices from {@linkcode ACTIVITY}. */
  readonly activity: Float64Array;
  readonly #status: Int32Array;

  /**
   * @param buffer A block that another thread made; without it, one is made and is live.
   */
  constructor(buffer?: SharedArrayBuffer) {
    this.buffer = buffer ?? new SharedArrayBuffer(KEYPAIR_DOUBLES * 8);
    this.activity = new Float64Array(this.buffer);
    this.#status = new Int32Array(this.buffer);
    if (buffer === undefined) Atomics.store(this.#status, 0, LIVE);
  }

  /** Whether it may be used at this moment. */
  get isLive(): boolean {
    return Atomics.load(this.#status, 0) === LIVE;
  }

  /** Ends its use in every thread. */
  revoke(): void {
    Atomics.store(this.#status, 0, 0);
  }

  /** Takes over what the session layer has written down. */
  write(activity: Readonly<KeypairActivity>): void {
    for (const field of FIELDS) this.activity[ACTIVITY[field]] = activity[field];
  }

  /** Shows the session layer what the workers have done. */
  readInto(activity: KeypairActivity): void {
    for (const field of FIELDS) activity[field] = this.activity[ACTIVITY[field]]!;
  }
}

const FIELDS = Object.keys(ACTIVITY) as (keyof KeypairActivity)[];

/** Places in a peer's block, counted in doubles. Egress writes tx and queued, ingress rx. */
export const PEER = { txBytes: 0, txPackets: 1, queued: 2, rxBytes: 3, rxPackets: 4 } as const;
/** Size of a peer's block in bytes. */
export const PEER_BLOCK_SIZE = 5 * 8;

/** Place of each drop reason in a worker's counter block. */
export const DROP_INDEX = Object.fromEntries(
  DROP_REASONS.map((reason, index) => [reason, index]),
) as Readonly<Record<DropReason, number>>;
/** Size of a worker's counter block in bytes. */
export const DROP_BLOCK_SIZE = DROP_REASONS.length * 8;
