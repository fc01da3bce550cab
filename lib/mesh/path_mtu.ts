/**
 * How much fits the path to one peer. Paths are taken to carry what the interface gives, until the
 * system has heard of a narrower link, or sealed echoes of that length go unanswered while short ones
 * are answered: not every router says what it drops (RFC 8899, in its spirit).
 *
 * ```text
 *  new UDP path, or used for a while, or sent and nothing heard ──► echo of the size in force
 *                 answered: nothing more │ in vain: search for what fits, and keep to it
 *  smaller than wished for RAISE_AFTER_MS ──► the same with the full size
 * ```
 *
 * Only paths in use are probed. Ways that are streams carry everything.
 *
 * @module
 */

import type { Clock } from "../base/clock.ts";
import { MIN_MTU, NO_LIMIT, type PathLimit, pathLimit } from "../dataplane/path_limit.ts";
import type { Path } from "../session/path.ts";
import { DATA_OVERHEAD } from "../session/transport_keys.ts";
import { MtuSearch } from "./mtu_search.ts";
import { IDLE_AFTER_MS } from "./path_seeker.ts";

/** A new path may be left for a better one at once: only one that lasts is probed. */
const FIRST_AFTER_MS = 100;
/** How often the size in force is tried while packets pass: ours. */
const CHECK_EVERY_MS = 30_000;
/** How long the answer to an echo is waited for at least, and in round trips. */
const MIN_WAIT_MS = 250;
const WAIT_ROUND_TRIPS = 3;
/** Round trip of a path that nothing is known of. */
const ASSUMED_RTT_MS = 250;
/** How often fragments are tried. */
const FRAGMENT_TRIES = 3;
/** Paths whose size is remembered: a peer has a handful. */
const MOST_REMEMBERED = 8;

/** What a {@linkcode PathMtu} works with. */
export interface MtuHost {
  readonly clock: Clock;
  /** Largest packet that the interface gives. */
  readonly mtu: number;
  /** After how long a smaller size is tried to be raised, in ms. */
  readonly raiseAfterMs: () => number;
  /** Largest datagram that fits a path as far as the system knows; costs some system calls. */
  largestDatagram(path: Path): number | undefined;
  /** Tells the system how long a datagram fits a path in one piece: it may have heard of no limit. */
  tellLargest(path: Path, bytes: number): void;
  /** Round trip of the session in use. */
  rttMs(): number | undefined;
  /** When packets last passed; `-Infinity` for never. */
  usedAt(): number;
  /** Sends an echo of this length; in one piece, or in fragments where it does not fit. */
  probe(size: number, how: "whole" | "in-fragments"): void;
  /** The limit of the session in use is another one now. */
  apply(limit: PathLimit): void;
}

/** What is known of one path. */
interface Known {
  /** Largest packet that fits in one piece. */
  size: number;
  passesFragments: boolean;
  /** When more than `size` was tried last. */
  raisedAt: number;
}

const NOTHING = () => {};

/** How much fits the path to one peer. */
export class PathMtu {
  readonly #host: MtuHost;
  readonly #known = new Map<string, Known>();
  /** The UDP path in use. */
  #path: Path | undefined;
  #search: MtuSearch | undefined;
  /** Fragments that were sent and not answered yet. */
  #fragmentsTried: number | undefined;
  #cancelStep = NOTHING;
  #cancelCheck = NOTHING;
  #isCheckDue = false;

  /** No path is in use. */
  constructor(host: MtuHost) {
    this.#host = host;
  }

  /** What fits the path in use. */
  get limit(): PathLimit {
    const known = this.#current;
    if (known === undefined || known.size >= this.#host.mtu) return NO_LIMIT;
    return pathLimit(known.size, known.passesFragments);
  }

  /** A keypair is about to be used on a path: {@linkcode limit} is that of this path now. */
  used(path: Path): void {
    if (path.key === this.#path?.key) return this.#checkLater();
    this.lost();
    if (path.kind !== "udp") return;
    this.#path = path;
    const known = this.#known.get(path.key) ??
      { size: this.#host.mtu, passesFragments: true, raisedAt: this.#now };
    this.#known.delete(path.key);
    this.#known.set(path.key, known);
    for (const oldest of this.#known.keys()) {
      if (this.#known.size <= MOST_REMEMBERED) break;
      this.#known.delete(oldest);
    }
    known.size = Math.min(known.size, this.#ceiling(path));
    this.#checkLater(FIRST_AFTER_MS);
  }

  /** There is no session any more. */
  lost(): void {
    this.#stopSearch();
    this.#cancelCheck();
    this.#isCheckDue = false;
    this.#path = undefined;
  }

  /** Something was sent and nothing came: perhaps because it was too large. */
  unanswered(): void {
    if (this.#search === undefined && this.#current !== undefined) {
      this.#begin(this.#current.size, true);
    }
    this.#checkLater();
  }

  /** The system refused a datagram as too large for the path in use. */
  refused(): void {
    const known = this.#current;
    if (known === undefined) return;
    const ceiling = this.#ceiling(this.#path!);
    if (ceiling >= known.size) return;
    known.raisedAt = this.#now;
    this.#settle(ceiling);
    this.#begin(known.size, true);
  }

  /** The peer got an echo of this size by a path. */
  fits(path: Path, size: number): void {
    if (path.key !== this.#path?.key) return;
    if (this.#fragmentsTried !== undefined && size === MIN_MTU) return this.#fragmentsPass(true);
    const search = this.#search;
    if (search === undefined) return;
    search.answered(size);
    if (search.isAnswered) this.#step(search);
  }

  get #now(): number {
    return this.#host.clock.now();
  }

  get #current(): Known | undefined {
    return this.#path && this.#known.get(this.#path.key);
  }

  /** The most that can fit: what the interface gives, less if the system knows better. */
  #ceiling(path: Path): number {
    const largest = this.#host.largestDatagram(path);
    if (largest === undefined || largest <= DATA_OVERHEAD) return this.#host.mtu;
    return Math.min(this.#host.mtu, largest - DATA_OVERHEAD);
  }

  #checkLater(afterMs = Math.min(CHECK_EVERY_MS, this.#host.raiseAfterMs())): void {
    if (this.#path === undefined || this.#isCheckDue) return;
    this.#isCheckDue = true;
    this.#cancelCheck = this.#host.clock.schedule(this.#now + afterMs, () => {
      this.#isCheckDue = false;
      // An idle peer costs nothing: the next use of the session looks again.
      if (this.#now - this.#host.usedAt() >= IDLE_AFTER_MS) return;
      this.#check();
      this.#checkLater();
    });
  }

  #check(): void {
    const known = this.#current!;
    if (this.#search !== undefined || this.#fragmentsTried !== undefined) return;
    const ceiling = this.#ceiling(this.#path!);
    if (ceiling < known.size) return this.refused();
    const isRaise = ceiling > known.size &&
      this.#now - known.raisedAt >= this.#host.raiseAfterMs();
    if (isRaise) known.raisedAt = this.#now;
    this.#begin(isRaise ? ceiling : known.size, false);
  }

  #begin(wanted: number, isDoubtful: boolean): void {
    this.#stopSearch();
    const headers = this.#path!.endpoint?.address.length === 16 ? 48 : 28;
    this.#search = new MtuSearch({ wanted, overhead: headers + DATA_OVERHEAD, isDoubtful });
    this.#step(this.#search);
  }

  #step(search: MtuSearch): void {
    this.#cancelStep();
    const sizes = search.step();
    this.#learn(search, sizes === undefined);
    if (sizes === undefined) return this.#searched();
    for (const size of sizes) this.#host.probe(size, "whole");
    this.#after(() => this.#step(search));
  }

  /** Takes what a search has found out so far. */
  #learn({ proven, refuted }: MtuSearch, isOver: boolean): void {
    const known = this.#current!;
    if (proven > known.size) {
      if (isOver || refuted !== undefined) this.#settle(proven);
    } else if (proven > 0 && refuted !== undefined && refuted <= known.size) {
      known.raisedAt = this.#now;
      this.#settle(proven);
    }
  }

  #settle(size: number): void {
    const known = this.#current!;
    const before = this.limit;
    known.size = size;
    const { limit } = this;
    if (limit.mtu !== before.mtu || limit.whole !== before.whole) this.#host.apply(limit);
  }

  #searched(): void {
    this.#search = undefined;
    const known = this.#current!;
    if (known.size >= MIN_MTU || known.size <= 0) {
      known.passesFragments = true;
      return;
    }
    this.#host.tellLargest(this.#path!, known.size + DATA_OVERHEAD);
    this.#tryFragments(0);
  }

  #tryFragments(tried: number): void {
    if (tried >= FRAGMENT_TRIES) return this.#fragmentsPass(false);
    this.#fragmentsTried = tried;
    this.#host.probe(MIN_MTU, "in-fragments");
    this.#after(() => this.#tryFragments(tried + 1));
  }

  #fragmentsPass(does: boolean): void {
    this.#cancelStep();
    this.#fragmentsTried = undefined;
    const known = this.#current!;
    if (known.passesFragments === does) return;
    known.passesFragments = does;
    this.#host.apply(this.limit);
  }

  #after(act: () => void): void {
    const rttMs = this.#host.rttMs() ?? ASSUMED_RTT_MS;
    const at = this.#now + Math.max(MIN_WAIT_MS, WAIT_ROUND_TRIPS * rttMs);
    this.#cancelStep = this.#host.clock.schedule(at, act);
  }

  #stopSearch(): void {
    this.#cancelStep();
    this.#search = undefined;
    this.#fragmentsTried = undefined;
  }
}
