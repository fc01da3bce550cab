/**
 * mac1: proof that the sender of a handshake datagram knows whom it is talking to, for one hash.
 *
 * @see docs/protocol.md §3
 * @module
 */

import { equalBytes, utf8 } from "../base/bytes.ts";
import type { CryptoBackend } from "../crypto/backend.ts";
import { MAC_LENGTH, macFields } from "../wire/datagram.ts";

const MAC1_LABEL = utf8("tunnelmesh mac1 v1");

/**
 * The key of mac1 for datagrams to one receiver; worth keeping.
 *
 * @param receiverStaticKey 32 bytes.
 */
export function mac1Key(crypto: CryptoBackend, receiverStaticKey: Uint8Array): Uint8Array {
  return crypto.sha256(MAC1_LABEL, receiverStaticKey);
}

/** Fills the mac1 field of an encoded datagram of type 1, 2 or 3. */
export function writeMac1(crypto: CryptoBackend, key: Uint8Array, datagram: Uint8Array): void {
  const { beforeMac1, mac1 } = macFields(datagram);
  mac1.set(crypto.keyedBlake2s(key, MAC_LENGTH, beforeMac1));
}

/** Whether the mac1 field of a datagram is right. */
export function verifyMac1(
  crypto: CryptoBackend,
  key: Uint8Array,
  datagram: { readonly beforeMac1: Uint8Array; readonly mac1: Uint8Array },
): boolean {
  return equalBytes(crypto.keyedBlake2s(key, MAC_LENGTH, datagram.beforeMac1), datagram.mac1);
}
