/**
 * Where one peer may be found: endpoints that the coordinator names, and those it was reached at.
 *
 * @module
 */

import { type Endpoint, formatEndpoint } from "../net/endpoint.ts";

/** Endpoints remembered beyond those named; a roaming peer leaves one behind per place. */
const MAX_LEARNED = 4;

/** Candidate endpoints of one peer. */
export class Candidates {
  #named: readonly Endpoint[] = [];
  /** By text, the latest last. */
  readonly #learned = new Map<string, Endpoint>();

  /**
   * Replaces the endpoints that the coordinator names.
   *
   * @param endpoints Owned from now on.
   * @returns Those that were unknown.
   */
  name(endpoints: readonly Endpoint[]): Endpoint[] {
    const known = new Set(this.all().map(formatEndpoint));
    this.#named = endpoints;
    return endpoints.filter((endpoint) => !known.has(formatEndpoint(endpoint)));
  }

  /** Remembers where a session was confirmed: it may be the only place a NAT lets us in. */
  learn(endpoint: Endpoint): void {
    const text = formatEndpoint(endpoint);
    this.#learned.delete(text);
    this.#learned.set(text, endpoint);
    if (this.#learned.size <= MAX_LEARNED) return;
    const [oldest] = this.#learned.keys();
    this.#learned.delete(oldest!);
  }

  /** All of them once each: the place it was last reached at first. */
  all(): Endpoint[] {
    const all = new Map<string, Endpoint>();
    for (const [text, endpoint] of [...this.#learned].reverse()) all.set(text, endpoint);
    for (const endpoint of this.#named) {
      const text = formatEndpoint(endpoint);
      if (!all.has(text)) all.set(text, endpoint);
    }
    return [...all.values()];
  }
}
