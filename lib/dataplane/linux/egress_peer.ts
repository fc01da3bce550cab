/**
 * One peer in the egress worker.
 *
 * @module
 */

import { PacketQueue } from "../packet_queue.ts";
import type { SendKeys } from "./send_keys.ts";
import { PEER } from "./shared_state.ts";

/** What packets for a peer need. */
export class EgressPeer {
  readonly id: string;
  /** Indices from `PEER` in shared_state.ts. */
  readonly block: Float64Array;
  /** Packets that wait for a keypair, each with its virtio header. */
  readonly queue = new PacketQueue();
  /** What is sent with. */
  current: SendKeys | undefined;
  /** Whether a keypair was asked for and did not come yet. */
  isWanted = false;

  constructor(id: string, block: SharedArrayBuffer) {
    this.id = id;
    this.block = new Float64Array(block);
  }

  /** Counts packets of this peer that go out. */
  count(packets: number, bytes: number): void {
    this.block[PEER.txPackets]! += packets;
    this.block[PEER.txBytes]! += bytes;
  }

  /** Shows others how many packets wait. */
  showQueue(): void {
    this.block[PEER.queued] = this.queue.length;
  }
}
