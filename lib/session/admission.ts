/**
 * What a stranger's initiation may cost before any Diffie-Hellman is done for it: steps 3 and 4 of
 * docs/protocol.md §4. What comes here has a right form and a right mac1, which everybody can make
 * who knows this node's public key.
 *
 * ```text
 *             no mac2                                   right mac2, or a stream
 *                │                                               │
 *    strangers' budget, source's limit            budget of the proven, source's limit
 *       │                  │                             │                 │
 *    admitted        cookie to prove it              admitted            drop
 * ```
 *
 * What must hold: nothing is kept of whom a cookie was sent to; who has proven his address shares
 * no bucket with those who may be lying about theirs. So nobody is kept out by spoofing him.
 *
 * @module
 */

import { toHex } from "../base/bytes.ts";
import type { Initiation } from "../wire/datagram.ts";
import type { DropReason } from "./actions.ts";
import { CookieJar, type CookieJarOptions } from "./cookie.ts";
import {
  MAX_SOURCES,
  PROVEN_HANDSHAKES,
  SOURCE_HANDSHAKES,
  STRANGER_HANDSHAKES,
} from "./limits.ts";
import type { Path } from "./path.ts";
import { type BucketRate, TokenBucket, TokenBuckets } from "./token_bucket.ts";

/** Bytes of an IPv6 address that name the network; whoever has it has every address in it. */
const IPV6_NETWORK_LENGTH = 8;

/** Why an initiation is not let through, and the cookie that tells its sender how it would be. */
export interface Refused {
  readonly reason: DropReason;
  /** A datagram of type 4, shorter than any initiation. */
  readonly challenge?: Uint8Array;
}

/** What is shared by those who have proven their source, and by those who have not. */
class Budget {
  readonly handshakes: TokenBucket;
  readonly sources = new TokenBuckets(SOURCE_HANDSHAKES, MAX_SOURCES);

  constructor(rate: BucketRate) {
    this.handshakes = new TokenBucket(rate);
  }
}

/** The price of strangers, for one node. */
export class Admission {
  readonly #jar: CookieJar;
  readonly #strangers = new Budget(STRANGER_HANDSHAKES);
  readonly #proven = new Budget(PROVEN_HANDSHAKES);

  /** Starts with full buckets and a new cookie secret. */
  constructor(options: CookieJarOptions) {
    this.#jar = new CookieJar(options);
  }

  /** Sources whose limits are remembered. */
  get sources(): number {
    return this.#strangers.sources.size + this.#proven.sources.size;
  }

  /**
   * Whether a handshake may be computed for an initiation; takes what it costs.
   *
   * @returns `undefined`: yes.
   */
  refuse(initiation: Initiation, path: Path, now: number): Refused | undefined {
    const budget = this.#budgetOf(initiation, path, now);
    if (budget === undefined) return { reason: "bad-mac2" };
    // Asked for before the source's token and taken after it: neither one source nor an empty
    // budget spends what others need.
    const isThere = budget.handshakes.has(now);
    if (isThere && budget.sources.take(sourceOf(path), now)) {
      budget.handshakes.take(now);
      return undefined;
    }
    if (budget === this.#strangers && path.endpoint !== undefined) {
      return this.challenge(initiation, path, now);
    }
    return { reason: isThere ? "rate-limited" : "dh-budget" };
  }

  /**
   * Refuses an initiation that may come again with proof of where it comes from.
   *
   * @param path With an endpoint.
   */
  challenge(initiation: Initiation, path: Path, now: number): Refused {
    if (path.endpoint === undefined) return { reason: "under-load" };
    return {
      reason: "under-load",
      challenge: this.#jar.challenge(initiation, path.endpoint, now),
    };
  }

  /** The same for an initiation that was answered already, so that no handshake is computed. */
  refuseAgain(initiation: Initiation, path: Path, now: number): DropReason | undefined {
    // Whatever its mac2: the same answer, and no handshake to compute.
    const budget = this.#budgetOf(initiation, path, now) ?? this.#strangers;
    return budget.sources.take(sourceOf(path), now) ? undefined : "rate-limited";
  }

  /** @returns `undefined` if there is a mac2 that is wrong. */
  #budgetOf(initiation: Initiation, path: Path, now: number): Budget | undefined {
    if (initiation.mac2.some((byte) => byte !== 0)) {
      const isProven = path.endpoint !== undefined &&
        this.#jar.isProven(initiation, path.endpoint, now);
      return isProven ? this.#proven : undefined;
    }
    // What comes by a stream comes from where it seems to.
    return path.kind === "udp" ? this.#strangers : this.#proven;
  }
}

/** Whom the limit per source takes for one. */
function sourceOf({ endpoint, key }: Path): string {
  if (endpoint === undefined) return key;
  const { address } = endpoint;
  return toHex(address.length === 4 ? address : address.subarray(0, IPV6_NETWORK_LENGTH));
}
