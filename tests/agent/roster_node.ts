/**
 * Members as a roster of tests has them.
 *
 * @module
 */

import { toHex } from "../../lib/base/bytes.ts";
import { sha256 } from "../../lib/crypto/hash.ts";
import type { NodeRecord } from "../../lib/wire/server_message.ts";

/**
 * The record of a node that lies nowhere.
 *
 * @param host Last part of its addresses.
 * @param seed What its key is made from.
 */
export function rosterNode(name: string, host: number, seed = name): NodeRecord {
  const staticKey = sha256(new TextEncoder().encode(seed));
  return {
    nodeId: toHex(sha256(staticKey)),
    name,
    staticKey,
    addresses: { ipv4: `100.64.0.${host}`, ipv6: `fd00::${host}` },
    statement: { sshPublicKey: Uint8Array.of(1), signature: Uint8Array.of(2), signedAt: 3 },
    endpoints: [],
  };
}
