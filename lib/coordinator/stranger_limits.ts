/**
 * What connections that have not proven anything may cost: how many at once, how fast from one
 * source, for how long.
 *
 * @module
 */

import {
  formatIpAddress,
  isLoopback,
  normalizeIpAddress,
  parseIpAddress,
} from "../net/ip_address.ts";

/** The limits. */
export interface StrangerLimits {
  /** Unproven connections at once. @default {256} */
  readonly maxStrangers: number;
  /** New connections per second from one IPv4 address or IPv6 /64, after the burst. @default {10} */
  readonly perSecond: number;
  /** @default {60} */
  readonly burst: number;
  /** An unproven connection is closed after this long. @default {10000} */
  readonly timeoutMs: number;
}

/** Numbers that a busy office behind one NAT does not notice. */
export const DEFAULT_STRANGER_LIMITS: StrangerLimits = {
  maxStrangers: 256,
  perSecond: 10,
  burst: 60,
  timeoutMs: 10_000,
};

/** Buckets kept; past it, full ones go first, then all. */
const MAX_SOURCES = 16_384;

/** Token buckets by source. Loopback is free: there a reverse proxy speaks for many. */
export class StrangerGate {
  readonly #limits: StrangerLimits;
  readonly #buckets = new Map<string, { tokens: number; at: number }>();
  #strangers = 0;

  constructor(limits: StrangerLimits) {
    this.#limits = limits;
  }

  /** How many unproven connections there are. */
  get strangers(): number {
    return this.#strangers;
  }

  /**
   * Lets a new connection in, or not.
   *
   * @param hostname Address it comes from, as text.
   * @param now Milliseconds that never step back.
   */
  enter(hostname: string, now: number): boolean {
    if (this.#strangers >= this.#limits.maxStrangers) return false;
    const source = sourceOf(hostname);
    if (source !== undefined && !this.#spend(source, now)) return false;
    this.#strangers++;
    return true;
  }

  /** A connection that was let in has proven itself, or is gone before it did. */
  leave(): void {
    this.#strangers--;
  }

  #spend(source: string, now: number): boolean {
    const { perSecond, burst } = this.#limits;
    if (this.#buckets.size >= MAX_SOURCES) this.#sweep(now);
    const bucket = this.#buckets.get(source) ?? { tokens: burst, at: now };
    const tokens = Math.min(burst, bucket.tokens + (now - bucket.at) / 1000 * perSecond);
    const isLet = tokens >= 1;
    // A refusal costs nothing, or a source that keeps trying would never get in again.
    this.#buckets.set(source, { tokens: isLet ? tokens - 1 : tokens, at: now });
    return isLet;
  }

  #sweep(now: number): void {
    const { perSecond, burst } = this.#limits;
    for (const [source, { tokens, at }] of this.#buckets) {
      if (tokens + (now - at) / 1000 * perSecond >= burst) this.#buckets.delete(source);
    }
    if (this.#buckets.size >= MAX_SOURCES) this.#buckets.clear();
  }
}

/** What counts as one source; `undefined`: not limited. */
function sourceOf(hostname: string): string | undefined {
  let address;
  try {
    address = normalizeIpAddress(parseIpAddress(hostname.replace(/%.*$/, "")));
  } catch {
    return "unknown";
  }
  if (isLoopback(address)) return undefined;
  return formatIpAddress(address.length === 4 ? address : address.fill(0, 8));
}
