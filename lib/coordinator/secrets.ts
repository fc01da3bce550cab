/**
 * Everything that follows from the coordinator secret (protocol.md §1). The secret itself is a file
 * of the state folder and never in the store, so that a stolen database admits nobody.
 *
 * @module
 */

import { concatBytes, utf8 } from "../base/bytes.ts";
import { hkdf } from "../crypto/hkdf.ts";
import { type DiscoveryKey, discoveryKey, newKeyId } from "../session/discovery.ts";
import { joinSecretOf } from "../token/token.ts";

/** The coordinator secret, by what may be had from it. */
export class CoordinatorSecret {
  readonly #secret: Uint8Array;

  /** @param secret 32 bytes; owned from here on. */
  constructor(secret: Uint8Array) {
    if (secret.length !== 32) throw new RangeError("the coordinator secret must be 32 bytes");
    this.#secret = secret;
  }

  /** The mesh PSK of an epoch, 32 bytes. */
  meshPsk(epoch: number): Uint8Array {
    const bytes = new Uint8Array(4);
    new DataView(bytes.buffer).setUint32(0, epoch, true);
    return this.#derive("tunnelmesh psk v1", bytes);
  }

  /** The PSK a member connects with, 32 bytes. */
  memberPsk(staticKey: Uint8Array): Uint8Array {
    return this.#derive("tunnelmesh member v1", staticKey);
  }

  /** The key of a discovery key id (8 bytes), 32 bytes. */
  discoveryKey(keyId: Uint8Array): Uint8Array {
    return discoveryKey(this.#secret, keyId);
  }

  /** A fresh discovery key for one agent. */
  newDiscoveryKey(unixMs: number): DiscoveryKey {
    const keyId = newKeyId(unixMs);
    return { keyId, key: this.discoveryKey(keyId) };
  }

  /** The join secret of a token, 32 bytes. */
  joinSecret(serial: number): Uint8Array {
    return joinSecretOf(this.#secret, serial);
  }

  /** Never the secret. */
  toJSON(): string {
    return "[secret]";
  }

  #derive(label: string, context: Uint8Array): Uint8Array {
    return hkdf(this.#secret, { info: concatBytes(utf8(label), context) });
  }
}
