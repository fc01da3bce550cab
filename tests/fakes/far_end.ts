/**
 * The far end of a keypair made without a handshake, sealing and opening by the plain AEAD call: a
 * slow twin of what a data plane does.
 *
 * @module
 */

import { openChaCha, sealChaCha } from "../../lib/crypto/aead.ts";
import { type Keypair, newActivity } from "../../lib/session/keypair.ts";
import type { Path } from "../../lib/session/path.ts";
import { seededBytes } from "./random.ts";

/** What a {@linkcode FarEnd} is made of. */
export interface FarEndOptions {
  /** Node id of the far end. */
  readonly peer: string;
  /** Tells its keys and indices from those of others. */
  readonly seed: number;
  readonly createdAt: number;
  /** The bound path; left out: the keypair is unconfirmed. */
  readonly path?: Path;
  /** Paths that may confirm it. */
  readonly unconfirmedPaths?: readonly Path[];
}

/** The peer's side of a keypair; `keypair` is ours. */
export class FarEnd {
  readonly keypair: Keypair;
  readonly #sendKey: Uint8Array;
  readonly #receiveKey: Uint8Array;
  #counter = 0;

  constructor(options: FarEndOptions) {
    const bytes = seededBytes(options.seed);
    this.#sendKey = bytes(32);
    this.#receiveKey = bytes(32);
    this.keypair = {
      peer: options.peer,
      localIndex: 0x8000_0000 + options.seed,
      remoteIndex: 0x4000_0000 + options.seed,
      isInitiator: options.path !== undefined,
      createdAt: options.createdAt,
      sendKey: this.#receiveKey.slice(),
      receiveKey: this.#sendKey.slice(),
      path: options.path,
      unconfirmedPaths: options.unconfirmedPaths ?? [],
      isConfirmed: options.path !== undefined,
      isRetired: false,
      activity: newActivity(),
    };
  }

  /** Seals a plaintext for the data plane, with the next counter or any other. */
  seal(plaintext: Uint8Array, counter: number = this.#counter): Uint8Array {
    this.#counter = Math.max(this.#counter, counter + 1);
    const header = new Uint8Array(16);
    const view = new DataView(header.buffer);
    view.setUint8(0, 5);
    view.setUint32(4, this.keypair.localIndex, true);
    view.setBigUint64(8, BigInt(counter), true);
    const sealed = sealChaCha(this.#sendKey, nonceOf(header), header, plaintext);
    return Uint8Array.from([...header, ...sealed]);
  }

  /** Opens what the data plane sealed; `undefined` if it is not for this keypair. */
  open(datagram: Uint8Array): { counter: number; plaintext: Uint8Array } | undefined {
    const view = new DataView(datagram.buffer, datagram.byteOffset, datagram.length);
    if (datagram.length < 32 || view.getUint32(0, true) !== 5) return undefined;
    if (view.getUint32(4, true) !== this.keypair.remoteIndex) return undefined;
    const header = datagram.subarray(0, 16);
    const nonce = nonceOf(header);
    const plaintext = openChaCha(this.#receiveKey, nonce, header, datagram.subarray(16));
    return plaintext && { counter: Number(view.getBigUint64(8, true)), plaintext };
  }
}

function nonceOf(header: Uint8Array): Uint8Array {
  return Uint8Array.from([0, 0, 0, 0, ...header.subarray(8, 16)]);
}
