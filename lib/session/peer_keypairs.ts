/**
 * How the keypairs of one peer begin and end: their indices, keys and places together, and what the
 * data plane is told. Which of them is sent with is for keypair_slots.ts and the tunnel to say.
 *
 * @module
 */

import type { Action } from "./actions.ts";
import type { HandshakeResult } from "./handshake_messages.ts";
import type { IndexTable } from "./index_table.ts";
import { type Keypair, newKeypair, retireKeypair } from "./keypair.ts";
import type { KeypairSlots, Slot } from "./keypair_slots.ts";
import type { SessionLimits } from "./limits.ts";
import type { Path } from "./path.ts";
import { endsAt } from "./timers.ts";
import { whyNotSend } from "./transport_keys.ts";

/** Who wipes the keys of a keypair: this layer, or the data plane when it carries out `retire`. */
export type Wiping = "at-once" | "by-data-plane";

/** What they work with; its fields may be replaced by their owner. */
export interface KeypairsContext {
  readonly indices: IndexTable<unknown>;
  readonly limits: SessionLimits;
}

/** The keypairs of one peer, from the handshake to the wiping. */
export class PeerKeypairs {
  readonly #nodeId: string;
  readonly #slots: KeypairSlots;
  readonly #context: KeypairsContext;

  /** Starts with none. */
  constructor(nodeId: string, slots: KeypairSlots, context: KeypairsContext) {
    this.#nodeId = nodeId;
    this.#slots = slots;
    this.#context = context;
  }

  /** The keypair to send with, if it may be sent with now. */
  usable(now: number): Keypair | undefined {
    const keypair = this.#slots.current?.keypair;
    if (keypair === undefined) return undefined;
    return whyNotSend(keypair, this.#context.limits, now) === undefined ? keypair : undefined;
  }

  /**
   * Makes a keypair, and makes room for it.
   *
   * @param paths The initiator's is bound to one; the responder's may be confirmed by several.
   */
  add(
    keys: HandshakeResult,
    indices: { readonly local: number; readonly remote: number },
    paths: { readonly bound: Path } | { readonly candidates: readonly Path[] },
    now: number,
    out: Action[],
  ): Slot {
    const isInitiator = "bound" in paths;
    const slot = this.#slots.add(newKeypair({
      peer: this.#nodeId,
      localIndex: indices.local,
      remoteIndex: indices.remote,
      isInitiator,
      createdAt: now,
      sendKey: keys.sendKey,
      receiveKey: keys.receiveKey,
      path: isInitiator ? paths.bound : undefined,
      unconfirmedPaths: isInitiator ? [] : paths.candidates,
    }));
    const { surplus } = this.#slots;
    if (surplus !== undefined) this.retire(surplus, out);
    return slot;
  }

  /** Takes a keypair out of use for good, from this moment on. */
  retire({ keypair }: Slot, out: Action[], wiping: Wiping = "at-once"): void {
    this.#slots.remove(keypair);
    this.#context.indices.free(keypair.localIndex);
    if (wiping === "at-once") retireKeypair(keypair);
    out.push({ kind: "retire", keypair });
  }

  /** Takes all of them out. */
  retireAll(out: Action[], wiping: Wiping): void {
    for (const slot of [...this.#slots.all]) this.retire(slot, out, wiping);
  }

  /** Takes out those whose time is over. */
  retireAged(now: number, out: Action[]): void {
    for (const slot of [...this.#slots.all]) {
      if (now >= endsAt(slot.keypair, this.#context.limits)) this.retire(slot, out);
    }
  }

  /** When {@linkcode retireAged} has to be called next; `Infinity` if there is none. */
  nextAgedAt(): number {
    let at = Infinity;
    for (const { keypair } of this.#slots.all) {
      at = Math.min(at, endsAt(keypair, this.#context.limits));
    }
    return at;
  }
}
