/**
 * The sending half of a keypair in the egress worker: the one owner of its send counter.
 *
 * @module
 */

import type { PacketSealer } from "../../../ffi/libcrypto.ts";
import { NO_LIMIT, type PathLimit } from "../path_limit.ts";
import type { KeypairFacts, SendPath } from "./messages.ts";
import type { EgressPeer } from "./egress_peer.ts";
import { ACTIVITY, SharedKeypair } from "./shared_state.ts";

/** What the egress worker holds of a keypair. */
export class SendKeys {
  readonly localIndex: number;
  readonly remoteIndex: number;
  readonly createdAt: number;
  readonly peer: EgressPeer;
  readonly sealer: PacketSealer;
  readonly shared: SharedKeypair;
  /** Counter of the next datagram; the copy in shared memory is for others to read. */
  counter: number;
  /** Where to send; `undefined` while unconfirmed. */
  path: SendPath | undefined;
  /** What fits the path. */
  limit: PathLimit = NO_LIMIT;

  constructor(
    facts: KeypairFacts,
    peer: EgressPeer,
    sealer: PacketSealer,
    path: SendPath | undefined,
  ) {
    this.localIndex = facts.localIndex;
    this.remoteIndex = facts.remoteIndex;
    this.createdAt = facts.createdAt;
    this.shared = new SharedKeypair(facts.block);
    this.counter = this.shared.activity[ACTIVITY.sendCounter]!;
    this.peer = peer;
    this.sealer = sealer;
    this.path = path;
  }
}
