/**
 * Tells agents which public endpoint their datagrams come from (protocol.md §6, type 6). Keeps
 * nothing per agent; a token bucket bounds what it costs.
 *
 * @module
 */

import type { Clock } from "../base/clock.ts";
import type { Endpoint } from "../net/endpoint.ts";
import { answerAsk, isFreshKeyId } from "../session/discovery.ts";
import type { CoordinatorSecret } from "./secrets.ts";

/** Asks answered per second … */
const PER_SECOND = 500;
/** … after so many at once: a mesh that comes back after a break. */
const BURST = 2000;

/** The coordinator's side of discovery, for any number of sockets. */
export class DiscoveryResponder {
  readonly #secret: CoordinatorSecret;
  readonly #clock: Clock;
  #tokens = BURST;
  #filledAt: number;

  constructor(secret: CoordinatorSecret, clock: Clock) {
    this.#secret = secret;
    this.#clock = clock;
    this.#filledAt = clock.now();
  }

  /**
   * Answers a datagram.
   *
   * @param datagram Borrowed until the call returns.
   * @param source Where it came from; the answer goes there, from the socket it came by.
   * @returns The answer, as long as the ask; `undefined` for anything that is not answered.
   */
  answer(datagram: Uint8Array, source: Endpoint): Uint8Array | undefined {
    return answerAsk(datagram, source, (keyId) => {
      // Asked for only once the datagram has the form of an ask, so garbage costs no token.
      if (!isFreshKeyId(keyId, this.#clock.unixNow()) || !this.#spend()) return undefined;
      return this.#secret.discoveryKey(keyId);
    });
  }

  #spend(): boolean {
    const now = this.#clock.now();
    this.#tokens = Math.min(BURST, this.#tokens + (now - this.#filledAt) / 1000 * PER_SECOND);
    this.#filledAt = now;
    if (this.#tokens < 1) return false;
    this.#tokens--;
    return true;
  }
}
