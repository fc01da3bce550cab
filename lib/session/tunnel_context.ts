/**
 * What tunnels work with and whom they lead to.
 *
 * @module
 */

import type { Answers } from "./answers.ts";
import type { IndexTable } from "./index_table.ts";
import type { InitiatorContext } from "./initiator.ts";

/**
 * What all tunnels of a node share; its fields may be replaced by their owner.
 *
 * @typeParam Tunnel What an index stands for.
 */
export interface TunnelContext<Tunnel> extends InitiatorContext {
  readonly indices: IndexTable<Tunnel>;
  readonly answers: Answers;
}

/** Who a tunnel leads to. */
export interface TunnelPeer {
  readonly nodeId: string;
  /** 32 bytes. */
  readonly staticKey: Uint8Array;
  /** From `mac1Key`. */
  readonly mac1Key: Uint8Array;
}
