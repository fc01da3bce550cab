/**
 * Asks public STUN servers, from the very socket used for data, which endpoint its datagrams come
 * from: the twin of discovery at the coordinator, for meshes that have such servers in their config.
 *
 * A server is believed no more than anybody: what it says is a candidate, never a binding. An answer
 * is taken from whom it was asked for, once, in time, by its 96 random bits.
 *
 * @module
 */

import { toHex } from "../base/bytes.ts";
import { randomBytes } from "../crypto/random.ts";
import {
  decodeStunResponse,
  encodeStunRequest,
  isStunDatagram,
  STUN_TRANSACTION_LENGTH,
} from "../wire/stun.ts";
import { ANSWER_WITHIN_MS, type ObservedEndpoint } from "./discovery.ts";

/** Asks without an answer that are remembered at once; ours: more than any round of asking needs. */
const MAX_OUTSTANDING = 64;

/** What a server saw, and which. */
export interface StunAnswer<Server> {
  /** As passed to {@linkcode StunAsks.ask}. */
  readonly server: Server;
  /** Where the ask came from. */
  readonly seen: ObservedEndpoint;
}

/** Remembers what was asked, and takes one answer to each, in time. */
export class StunAsks<Server> {
  readonly #random: (length: number) => Uint8Array;
  readonly #outstanding = new Map<string, { server: Server; at: number }>();

  /** @param random Source of random bytes; tests pass their own. */
  constructor(random: (length: number) => Uint8Array = randomBytes) {
    this.#random = random;
  }

  /**
   * Builds an ask, to be sent once.
   *
   * @param server Whom it goes to; comes back with the answer.
   * @param now On the scale of `Clock.now`.
   */
  ask(server: Server, now: number): Uint8Array {
    const transaction = this.#random(STUN_TRANSACTION_LENGTH);
    this.#outstanding.set(toHex(transaction), { server, at: now });
    if (this.#outstanding.size > MAX_OUTSTANDING) {
      const [oldest] = this.#outstanding.keys();
      this.#outstanding.delete(oldest!);
    }
    return encodeStunRequest(transaction);
  }

  /**
   * Takes an answer.
   *
   * @param datagram Any datagram; borrowed. Costs next to nothing unless it looks like STUN and an
   * ask is outstanding.
   * @param now On the scale of `Clock.now`.
   * @returns `undefined` for anything but the first answer to an ask of the last five seconds.
   */
  receive(datagram: Uint8Array, now: number): StunAnswer<Server> | undefined {
    if (this.#outstanding.size === 0 || !isStunDatagram(datagram)) return undefined;
    const response = decodeStunResponse(datagram);
    if (response === undefined) return undefined;
    const transaction = toHex(response.transaction);
    const asked = this.#outstanding.get(transaction);
    this.#outstanding.delete(transaction);
    if (asked === undefined || response.mapped === undefined) return undefined;
    return now - asked.at <= ANSWER_WITHIN_MS
      ? { server: asked.server, seen: response.mapped }
      : undefined;
  }
}
