/**
 * Transport data of a pairing: counters that only ever go up. What comes late or twice is dropped;
 * there is no window.
 *
 * @see docs/protocol.md §2, replay "increasing"
 * @module
 */

import { wipe } from "../base/bytes.ts";
import { writeU64Le } from "../base/integers.ts";
import type { CryptoBackend } from "../crypto/backend.ts";
import {
  DATA_HEADER_LENGTH,
  dataCounter,
  dataReceiverIndex,
  isData,
  writeDataHeader,
} from "../wire/datagram.ts";
import type { DropReason } from "./actions.ts";
import { DEFAULT_LIMITS } from "./limits.ts";

const NONCE_LENGTH = 12;
const COUNTER_AT = 4;

/** What a {@linkcode PairTransport} works with. */
export interface PairTransportOptions {
  /** 32 bytes; owned from now on. */
  readonly sendKey: Uint8Array;
  /** 32 bytes; owned from now on. */
  readonly receiveKey: Uint8Array;
  /** Receiver index of what comes. */
  readonly localIndex: number;
  /** Receiver index of what goes. */
  readonly remoteIndex: number;
  readonly crypto: CryptoBackend;
}

/** Seals and opens the transport data of one handshake. */
export class PairTransport {
  readonly #options: PairTransportOptions;
  #sendCounter = 0;
  /** The least counter that is taken. */
  #next = 0;

  /** Starts with nothing sent or received. */
  constructor(options: PairTransportOptions) {
    this.#options = options;
  }

  /** Whether anything of the other side was opened. */
  get hasReceived(): boolean {
    return this.#next > 0;
  }

  /**
   * Seals one plaintext into a whole datagram.
   *
   * @param plaintext Borrowed until the call returns.
   * @throws {RangeError} After 2^50 messages.
   */
  seal(plaintext: Uint8Array): Uint8Array {
    const counter = this.#sendCounter;
    if (counter >= DEFAULT_LIMITS.rejectAfterMessages) throw new RangeError("Cannot seal: limit");
    // Spent before it is used: whatever happens below, it does not come again.
    this.#sendCounter++;
    const { crypto, sendKey, remoteIndex } = this.#options;
    const header = new Uint8Array(DATA_HEADER_LENGTH);
    writeDataHeader(remoteIndex, counter, header);
    const ciphertext = crypto.seal(sendKey, nonceOf(counter), header, plaintext);
    const datagram = new Uint8Array(DATA_HEADER_LENGTH + ciphertext.length);
    datagram.set(header);
    datagram.set(ciphertext, DATA_HEADER_LENGTH);
    return datagram;
  }

  /**
   * Opens one datagram.
   *
   * @param datagram Borrowed until the call returns.
   * @returns The plaintext, or why it is dropped, and then nothing has changed.
   */
  open(datagram: Uint8Array): Uint8Array | DropReason {
    if (!isData(datagram)) return "malformed";
    const { crypto, receiveKey, localIndex } = this.#options;
    if (dataReceiverIndex(datagram) !== localIndex) return "unknown-index";
    const counter = dataCounter(datagram);
    if (counter < this.#next) return "replayed";
    if (counter >= DEFAULT_LIMITS.rejectAfterMessages) return "expired-keypair";
    const header = datagram.subarray(0, DATA_HEADER_LENGTH);
    const ciphertext = datagram.subarray(DATA_HEADER_LENGTH);
    const plaintext = crypto.open(receiveKey, nonceOf(counter), header, ciphertext);
    if (plaintext === undefined) return "bad-tag";
    this.#next = counter + 1;
    return plaintext;
  }

  /** Overwrites the keys; only for one that will not be used again. */
  wipe(): void {
    wipe(this.#options.sendKey);
    wipe(this.#options.receiveKey);
    this.#sendCounter = DEFAULT_LIMITS.rejectAfterMessages;
    this.#next = DEFAULT_LIMITS.rejectAfterMessages;
  }

  /** Never a key. */
  toJSON(): string {
    return "PairTransport";
  }
}

function nonceOf(counter: number): Uint8Array {
  const nonce = new Uint8Array(NONCE_LENGTH);
  writeU64Le(nonce, COUNTER_AT, counter);
  return nonce;
}
