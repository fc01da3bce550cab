/**
 * The peers of a node and its tunnels to them: by node id, by static key, and which of them the
 * clock has anything to do for.
 *
 * @module
 */

import { equalBytes, toHex } from "../base/bytes.ts";
import { isLowOrderPoint, X25519_LENGTH } from "../crypto/x25519.ts";
import type { Action } from "./actions.ts";
import { mac1Key } from "./mac.ts";
import type { SessionPeer } from "./session_options.ts";
import { Tunnel } from "./tunnel.ts";
import type { TunnelContext } from "./tunnel_context.ts";

/** All tunnels of one node. */
export class TunnelTable {
  readonly #context: TunnelContext<Tunnel>;
  readonly #byNodeId = new Map<string, Tunnel>();
  readonly #byStaticKey = new Map<string, Tunnel>();
  /** Those with anything to wait for: an idle peer is in no loop. */
  readonly #awake = new Set<Tunnel>();

  /** Starts empty. */
  constructor(context: TunnelContext<Tunnel>) {
    this.#context = context;
  }

  /** The tunnel to a node; `undefined` if it is no peer. */
  get(nodeId: string): Tunnel | undefined {
    return this.#byNodeId.get(nodeId);
  }

  /** The tunnel to whoever has this static key. */
  ofKey(staticKey: Uint8Array): Tunnel | undefined {
    return this.#byStaticKey.get(toHex(staticKey));
  }

  /** All of them, in the order in which they were added. */
  all(): Iterable<Tunnel> {
    return this.#byNodeId.values();
  }

  /**
   * The tunnel to a peer, made if there is none.
   *
   * @throws {RangeError} when the key is not 32 bytes, our own, of low order, or another peer's.
   */
  add(peer: SessionPeer): Tunnel {
    const { nodeId } = peer;
    const known = this.#byNodeId.get(nodeId);
    if (known !== undefined && equalBytes(known.staticKey, peer.staticKey)) return known;
    this.#refuseKey(peer);
    const staticKey = Uint8Array.from(peer.staticKey);
    const to = { nodeId, staticKey, mac1Key: mac1Key(this.#context.crypto, staticKey) };
    const tunnel = new Tunnel(to, this.#context);
    this.#byNodeId.set(nodeId, tunnel);
    this.#byStaticKey.set(toHex(staticKey), tunnel);
    return tunnel;
  }

  /** Forgets a peer; what there is with it is for the caller to end. */
  remove(tunnel: Tunnel): void {
    this.#byNodeId.delete(tunnel.nodeId);
    this.#byStaticKey.delete(toHex(tunnel.staticKey));
    this.#awake.delete(tunnel);
  }

  /** Forgets all peers. */
  clear(): void {
    this.#byNodeId.clear();
    this.#byStaticKey.clear();
    this.#awake.clear();
  }

  /** Called when something happened that may leave a tunnel with a deadline. */
  wake(tunnel: Tunnel): void {
    this.#awake.add(tunnel);
  }

  /** Does what is due by the clock. */
  tick(now: number): Action[] {
    const out: Action[] = [];
    for (const tunnel of this.#awake) {
      if (tunnel.nextDeadlineAt(now) <= now) tunnel.tick(now, out);
      if (tunnel.nextDeadlineAt(now) === Infinity) this.#awake.delete(tunnel);
    }
    return out;
  }

  /** When {@linkcode tick} has to be called next; `Infinity` if every peer is idle. */
  nextDeadlineAt(now: number): number {
    let at = Infinity;
    for (const tunnel of this.#awake) at = Math.min(at, tunnel.nextDeadlineAt(now));
    return at;
  }

  #refuseKey({ nodeId, staticKey }: SessionPeer): void {
    const name = `peer ${nodeId.slice(0, 8)}`;
    if (staticKey.length !== X25519_LENGTH) {
      throw new RangeError(`Cannot add ${name}: its key must be ${X25519_LENGTH} bytes`);
    }
    if (equalBytes(staticKey, this.#context.staticKey.publicKey)) {
      throw new RangeError(`Cannot add ${name}: it has the key of this node itself`);
    }
    if (isLowOrderPoint(staticKey)) {
      throw new RangeError(`Cannot add ${name}: its key is a point of low order`);
    }
    const other = this.ofKey(staticKey)?.nodeId;
    if (other !== undefined) {
      throw new RangeError(`Cannot add ${name}: it has the key of peer ${other.slice(0, 8)}`);
    }
    if (this.#byNodeId.has(nodeId)) {
      throw new RangeError(`Cannot add ${name}: it is there with another key`);
    }
  }
}
