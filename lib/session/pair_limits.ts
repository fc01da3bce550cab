/**
 * How long the steps of pairing may take (docs/protocol.md §8). Data only.
 *
 * @module
 */

// From the specification.

/** Message 3, after it was sent first, is repeated after so long, until the responder is heard. */
export const PAIR_REPEATS_MS: readonly number[] = [250, 500, 1_000, 2_000];
/** Handshakes that a responder has answered and that lack message 3. */
export const MAX_HALF_OPEN = 8;
/** How long one of them is kept. */
export const HALF_OPEN_MS = 30_000;

// Ours, because the specification leaves them open.

/** How long message 3 and its copies may go unheard before the initiator starts afresh. */
export const THIRD_UNHEARD_MS = 5_000;
/**
 * How long an initiator goes on after a response that does not authenticate, which somebody else
 * may have sent: long enough for one fresh handshake.
 */
export const MISMATCH_MS = 2_000;
/** Half-open handshakes of one address before a newer one of it takes the place of its oldest. */
export const HALF_OPEN_PER_SOURCE = 2;
/** Copies of message 3 that are answered. */
export const MAX_THIRD_ANSWERS = 40;
/** A message that is not acknowledged is sent again after so long; the last one for all later. */
export const RESEND_MS: readonly number[] = [250, 500, 1_000, 2_000];
/** An empty datagram is sent when nothing was for so long. */
export const PAIR_KEEPALIVE_MS = 5_000;
/** The other side is gone when nothing of it came for so long. */
export const PAIR_SILENCE_MS = 20_000;
