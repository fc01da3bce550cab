/**
 * The public face of the Noise engine: a handshake by its protocol name.
 *
 * @module
 */

import { type HandshakeKeys, HandshakeState } from "./handshake_state.ts";
import { parseProtocolName } from "./protocol_name.ts";

/** What a {@linkcode Handshake} starts from. */
export interface HandshakeOptions extends HandshakeKeys {
  /**
   * `Noise_` ‖ pattern ‖ `_25519_ChaChaPoly_` ‖ hash. Patterns: NN NK KK IK IX XK XX, each with any
   * ascending set of psk0 to psk3 that it has messages for, joined by `+`. Hashes: SHA256, BLAKE2s.
   */
  readonly protocolName: string;
}

/** One direction of the transport that follows a handshake; each message takes the next nonce. */
export interface TransportCipher {
  /**
   * Seals a message.
   *
   * @param ad Associated data, borrowed until the call returns.
   * @param plaintext At most 65519 bytes, borrowed until the call returns.
   * @returns 16 bytes more than the plaintext.
   * @throws {HandshakeError} `message-too-long`, `nonce-exhausted`.
   */
  encryptWithAd(ad: Uint8Array, plaintext: Uint8Array): Uint8Array;
  /**
   * Opens the next message; a failure leaves the nonce where it was.
   *
   * @param ad Associated data, borrowed until the call returns.
   * @param ciphertext 16 to 65535 bytes, borrowed until the call returns.
   * @returns 16 bytes less than the ciphertext.
   * @throws {HandshakeError} `bad-tag`, `message-too-short`, `message-too-long`, `nonce-exhausted`.
   */
  decryptWithAd(ad: Uint8Array, ciphertext: Uint8Array): Uint8Array;
}

/**
 * One side of a Noise handshake.
 *
 * A call that throws `HandshakeError` leaves the object as it was.
 *
 * @example Two sides in one place
 * ```ts
 * import { Handshake } from "./handshake.ts";
 * import { deepStrictEqual } from "node:assert/strict";
 *
 * const protocolName = "Noise_NNpsk0_25519_ChaChaPoly_BLAKE2s";
 * const presharedKeys = [new Uint8Array(32).fill(7)];
 * const initiator = new Handshake({ protocolName, role: "initiator", presharedKeys });
 * const responder = new Handshake({ protocolName, role: "responder", presharedKeys });
 * responder.readMessage(initiator.writeMessage());
 * initiator.readMessage(responder.writeMessage());
 * deepStrictEqual(initiator.handshakeHash, responder.handshakeHash);
 *
 * const ad = new Uint8Array(0);
 * const sealed = initiator.split().send.encryptWithAd(ad, Uint8Array.of(1, 2, 3));
 * deepStrictEqual(responder.split().receive.decryptWithAd(ad, sealed), Uint8Array.of(1, 2, 3));
 * ```
 */
export class Handshake {
  readonly #state: HandshakeState;

  /**
   * Starts a handshake.
   *
   * @param options Keys are borrowed as long as the handshake lives.
   * @throws {HandshakeError} `bad-protocol-name`, `missing-key`, `unexpected-key`, `bad-key`,
   * `low-order-point`.
   */
  constructor(options: HandshakeOptions) {
    const { protocolName, ...keys } = options;
    this.#state = new HandshakeState({ ...keys, protocol: parseProtocolName(protocolName) });
  }

  /** Whether the last message was written or read. */
  get isComplete(): boolean {
    return this.#state.isComplete;
  }

  /** The handshake hash, 32 bytes, copied; fit for channel binding once the handshake is complete. */
  get handshakeHash(): Uint8Array {
    return this.#state.handshakeHash;
  }

  /**
   * The other side's static key, 32 bytes, copied; `undefined` until it is known. A key that came by
   * message proves nothing before the handshake is complete.
   */
  get remoteStaticKey(): Uint8Array | undefined {
    return this.#state.remoteStaticKey;
  }

  /**
   * Writes the message that is due.
   *
   * @param payload Borrowed until the call returns.
   * @default {new Uint8Array(0)}
   * @returns At most 65535 bytes.
   * @throws {HandshakeError} `not-our-turn`, `already-finished`, `message-too-long`,
   * `low-order-point`, `refused`, `missing-key`, `bad-key`.
   */
  writeMessage(payload?: Uint8Array): Uint8Array {
    return this.#state.writeMessage(payload);
  }

  /**
   * Reads the message that is due.
   *
   * @param message Borrowed until the call returns.
   * @returns The payload.
   * @throws {HandshakeError} `not-our-turn`, `already-finished`, `message-too-long`,
   * `message-too-short`, `bad-tag`, `low-order-point`, `refused`, `missing-key`, `bad-key`.
   */
  readMessage(message: Uint8Array): Uint8Array {
    return this.#state.readMessage(message);
  }

  /**
   * Hands out the transport ciphers of this side, once.
   *
   * @throws {HandshakeError} `not-finished`, `already-split`.
   */
  split(): { send: TransportCipher; receive: TransportCipher } {
    return this.#state.split();
  }
}
