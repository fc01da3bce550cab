/**
 * The one error class of the handshake layer.
 *
 * @module
 */

/**
 * Why a handshake cannot go on.
 *
 * - `bad-protocol-name`: not a protocol this engine speaks.
 * - `missing-key`: the pattern needs a key or a PSK that was not given.
 * - `unexpected-key`: a key was given that the pattern has no place for.
 * - `bad-key`: a key or PSK of the wrong length.
 * - `not-our-turn`: write where a read is due, or the reverse.
 * - `already-finished`: there is no message left to write or read.
 * - `not-finished`: `split` or `handshakeHash` before the last message.
 * - `already-split`: the transport keys were handed out before.
 * - `message-too-long`: more than 65535 bytes.
 * - `message-too-short`: ends before the fields that its pattern has.
 * - `bad-tag`: a field does not authenticate.
 * - `low-order-point`: a public key that takes no part in the secret (RFC 7748 §6.1).
 * - `refused`: a hook threw; its error is the `cause`.
 * - `nonce-exhausted`: the cipher key has sealed all it may (2^64 - 1 messages).
 */
export type HandshakeFault =
  | "bad-protocol-name"
  | "missing-key"
  | "unexpected-key"
  | "bad-key"
  | "not-our-turn"
  | "already-finished"
  | "not-finished"
  | "already-split"
  | "message-too-long"
  | "message-too-short"
  | "bad-tag"
  | "low-order-point"
  | "refused"
  | "nonce-exhausted";

/**
 * A step of a handshake, or of the transport after it, that failed.
 *
 * The object that threw is as it was before the step: whatever the fault, another message may be
 * tried. Show a peer nothing of this; faults are for the log and the metrics.
 */
export class HandshakeError extends Error {
  /** Always `"HandshakeError"`. */
  override readonly name = "HandshakeError";

  /**
   * Creates an error for one fault.
   *
   * @param fault What went wrong.
   * @param detail What would have been right, for the message.
   * @param options Carries the `cause`, if there is one.
   */
  constructor(readonly fault: HandshakeFault, detail?: string, options?: ErrorOptions) {
    super(
      `Cannot continue the handshake: ${fault}${detail === undefined ? "" : `, ${detail}`}`,
      options,
    );
  }
}
