/**
 * The receiving half of a keypair in the ingress worker: the one owner of its replay window.
 *
 * @module
 */

import type { PacketOpener } from "../../../ffi/libcrypto.ts";
import { ReplayWindow } from "../../session/replay_window.ts";
import type { IngressPeer } from "./ingress_peer.ts";
import type { KeypairFacts } from "./messages.ts";
import { SharedKeypair } from "./shared_state.ts";
import type { PathWords } from "./path_words.ts";

/** What the ingress worker holds of a keypair. */
export class ReceiveKeys {
  readonly localIndex: number;
  readonly createdAt: number;
  readonly peer: IngressPeer;
  readonly opener: PacketOpener;
  readonly shared: SharedKeypair;
  readonly window = new ReplayWindow();
  isConfirmed: boolean;
  /** The bound path, or before confirmation those that may confirm. */
  paths: readonly PathWords[];
  /** Plaintexts that wait for the control thread to confirm; `undefined` once it has. */
  waiting: Uint8Array[] | undefined;

  constructor(
    facts: KeypairFacts,
    peer: IngressPeer,
    opener: PacketOpener,
    o: { readonly isConfirmed: boolean; readonly paths: readonly PathWords[] },
  ) {
    this.localIndex = facts.localIndex;
    this.createdAt = facts.createdAt;
    this.shared = new SharedKeypair(facts.block);
    this.peer = peer;
    this.opener = opener;
    this.isConfirmed = o.isConfirmed;
    this.paths = o.paths;
  }
}
