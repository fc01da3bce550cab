/**
 * What the listener's worker and the thread with the registry say to each other, over the worker's
 * own message port, several at a time.
 *
 * @module
 */

import type { ListenAddress, ListenError } from "./control_listener.ts";
import type { HttpListenerOptions } from "./listener.ts";
import type { RefusalReason } from "../wire/refusal.ts";
import type { RelayCounts } from "./relay_hub.ts";

/** From the registry's thread to the worker. */
export type ListenerCommand =
  | { readonly kind: "start"; readonly options: HttpListenerOptions }
  | { readonly kind: "send"; readonly connection: number; readonly message: Uint8Array }
  | { readonly kind: "admit"; readonly connection: number }
  | {
    readonly kind: "close";
    readonly connection: number;
    readonly code: number;
    readonly reason: string;
  }
  | { readonly kind: "relay-add"; readonly nodeIds: readonly string[] }
  | { readonly kind: "relay-remove"; readonly nodeId: string; readonly reason: RefusalReason }
  | { readonly kind: "relay-ticket"; readonly nodeId: string; readonly ticket: Uint8Array }
  | { readonly kind: "stop" };

/** From the worker to the registry's thread. */
export type ListenerReport =
  | { readonly kind: "started"; readonly addresses: readonly ListenAddress[] }
  | { readonly kind: "refused"; readonly fault: ListenError["fault"]; readonly text: string }
  | { readonly kind: "opened"; readonly connection: number; readonly remote: string }
  | { readonly kind: "received"; readonly connection: number; readonly message: Uint8Array }
  | { readonly kind: "closed"; readonly connection: number }
  | { readonly kind: "relay-counts"; readonly counts: RelayCounts }
  | { readonly kind: "failed"; readonly text: string }
  | { readonly kind: "stopped" };

/**
 * Gathers what one turn of the event loop has to say and posts it as one array, since a post costs
 * far more than an entry.
 */
export class Batch<T> {
  #items: T[] = [];
  readonly #post: (items: T[], transfer: Transferable[]) => void;

  constructor(post: (items: T[], transfer: Transferable[]) => void) {
    this.#post = post;
  }

  /** @param item The buffer of a `message` in it is given away. */
  add(item: T): void {
    this.#items.push(item);
    if (this.#items.length === 1) queueMicrotask(() => this.flush());
  }

  /** Posts what is there. */
  flush(): void {
    if (this.#items.length === 0) return;
    const items = this.#items;
    this.#items = [];
    this.#post(items, transferables(items));
  }
}

/** Buffers that hold one message and nothing else; others are copied by the post. */
function transferables(items: readonly unknown[]): Transferable[] {
  const buffers = new Set<ArrayBuffer>();
  for (const item of items) {
    const message = (item as { message?: Uint8Array }).message;
    if (!(message?.buffer instanceof ArrayBuffer)) continue;
    if (message.byteLength === message.buffer.byteLength) buffers.add(message.buffer);
  }
  return [...buffers];
}
