/**
 * The search for the best path to one peer: repeats initiations while holes are punched, moves the
 * session to a better path that proved itself, looks again now and then while a worse one is in
 * use.
 *
 * ```text
 *            initiation             answered by a worse path
 *  nothing ─────────────► seeking ───────────────────────────► waiting ──► probe: initiation over
 *     ▲                     │                                     ▲        better paths, both sides
 *     └──── lost ───────────┴── answered by the best kind         └──────────────── in vain
 * ```
 *
 * What it decides goes out through {@linkcode SeekerHost}; sessions move only by completed
 * handshakes, so nothing here can lose a packet.
 *
 * @module
 */

import type { Path } from "../session/path.ts";
import {
  compareKinds,
  comparePaths,
  isBestKind,
  isWorthMoving,
  probeWaitMs,
  SEEK_AGAIN_AT_MS,
  SEEK_AT_MS,
  STABLE_AFTER_MS,
} from "./path_selection.ts";
import type { PathSwitches, SeekerHost } from "./seeker_host.ts";

/** Body of a path report: "I seek a better path now, do so as well". */
export const SEEK_REPORT: Uint8Array = Uint8Array.of(1);

/** Two searches of one peer are at least so far apart, whoever asks for them. */
const MIN_BETWEEN_MS = 500;
/** Initiations that come sooner than this after the first unanswered one still punch holes. */
const PUNCH_FOR_MS = 4_000;
/** A keypair that is so old was heard of by the peer, if its datagrams arrive at all. */
const SETTLE_MS = 250;
const SETTLE_STEP_MS = 25;
/** How long UDP has before ways are wanted that cost a connection. */
const WANT_OTHERS_AFTER_MS = 300;
/** A peer with which no packet was exchanged for so long is idle: it shall cost nothing. */
export const IDLE_AFTER_MS = 60_000;

/** An initiation on its way. */
interface Seek {
  readonly datagram: Uint8Array;
  readonly over: Path | "better" | undefined;
  readonly startedAt: number;
  readonly schedule: readonly number[];
  /** Transmissions so far. */
  sent: number;
  /** When its response came; then it goes on for the sake of better paths. */
  answeredAt: number | undefined;
  cancel: () => void;
}

/** Where a handshake is to go: by one path, by all that are better than the bound one, by all. */
type Target = Path | "better" | "all";

const NOTHING = () => {};

/** The search for the best path to one peer. */
export class PathSeeker {
  readonly #host: SeekerHost;
  #seek: Seek | undefined;
  /** The path in use when last looked at. */
  #path: Path | undefined;
  /** The path by which the peer's initiation was answered, before a session is in use. */
  #answered: Path | undefined;
  #switches = { promotions: 0, demotions: 0, rebinds: 0 };
  #searches = 0;
  #flaps = 0;
  #promotedAt = -Infinity;
  /** Since when no path of the best kind answers. */
  #worseSince: number | undefined;
  #searchedAt = -Infinity;
  /** The proven path that the next initiation is for. */
  #moving: Path | undefined;
  #unansweredSince: number | undefined;
  #probe: { cancel: () => void } | undefined;
  #cancelWant = NOTHING;
  /** The handshake that waits until the peer has been heard. */
  #waiting: { readonly to: Target; readonly cancel: () => void } | undefined;

  /** Nothing is sought yet. */
  constructor(host: SeekerHost) {
    this.#host = host;
  }

  /** How often the path changed. */
  get switches(): PathSwitches {
    return this.#switches;
  }

  /** For how long a better kind than the one in use was sought in vain, in ms. */
  get soughtForMs(): number | undefined {
    return this.#worseSince === undefined ? undefined : this.#now - this.#worseSince;
  }

  /** An initiation is to go out, in place of one under way. */
  initiate(datagram: Uint8Array, over: Path | "better" | undefined): void {
    this.#stopSeeking();
    const now = this.#now;
    if (over === undefined) {
      this.#unansweredSince ??= now;
      if (this.#path === undefined) this.#worseSince ??= now;
      this.#wantOthersSoon();
    }
    if (over === undefined && this.#isPunching()) this.#host.askCoordinator();
    this.#searchedAt = now;
    this.#seek = {
      datagram,
      over,
      startedAt: now,
      schedule: over !== undefined || this.#isPunching() ? SEEK_AT_MS : SEEK_AGAIN_AT_MS,
      sent: 0,
      answeredAt: undefined,
      cancel: NOTHING,
    };
    this.#transmit(this.#seek);
  }

  /** An initiation is to go out by one path alone. */
  initiateBy(path: Path, datagram: Uint8Array): void {
    if (this.#moving === path) this.initiate(datagram, path);
    else this.#host.send(datagram, path);
    this.#moving = undefined;
  }

  /**
   * A keypair came into use.
   *
   * @param isOwn Whether by the response to our own initiation.
   */
  used(path: Path, isOwn: boolean): void {
    const now = this.#now;
    this.#unansweredSince = undefined;
    this.#answered = undefined;
    if (this.#seek !== undefined) {
      if (isOwn) this.#seek.answeredAt ??= now;
      else if (!this.#host.isOutstanding(this.#seek.datagram)) this.#stopSeeking();
    }
    this.#count(path, now);
    this.#path = path;
    if (isBestKind(path)) {
      this.#worseSince = undefined;
      this.#stopProbing();
      this.#cancelWant();
      // Copies of the response may still come, so it is not forgotten.
      if (isOwn) this.#seek?.cancel();
      return;
    }
    this.#worseSince ??= now;
    this.#probeLater();
    this.#wantOthersSoon();
  }

  /** The response that was accepted came by another path, too. */
  proven(path: Path): void {
    const seek = this.#seek;
    const bound = this.#host.bound();
    if (bound === undefined) return;
    if (compareKinds(path, bound) > 0) return this.#move(path, SETTLE_MS);
    if (seek?.answeredAt === undefined) return;
    const race = {
      rttMs: seek.answeredAt - seek.startedAt,
      latenessMs: this.#now - seek.answeredAt,
    };
    if (isWorthMoving(bound, path, race)) this.#move(path, Math.max(SETTLE_MS, 2 * race.rttMs));
  }

  /** The peer's initiation was answered by this path: it wants us, so open our NAT for it. */
  answered(path: Path): void {
    if (isBestKind(path)) return;
    this.#answered = path;
    this.#joinIn();
  }

  /** The peer reported about paths. */
  reported(body: Uint8Array): void {
    if (body.length === SEEK_REPORT.length && body[0] === SEEK_REPORT[0]) this.#joinIn();
  }

  /** The coordinator says that the peer wants us. */
  peerWants(): void {
    this.#joinIn();
  }

  /**
   * There are ways that were not there before.
   *
   * @param ways Those.
   */
  found(ways: readonly Path[]): void {
    const seek = this.#seek;
    if (seek !== undefined && this.#host.isOutstanding(seek.datagram)) {
      for (const way of ways) if (this.#isTarget(seek, way)) this.#host.send(seek.datagram, way);
      return;
    }
    const bound = this.#host.bound();
    if (bound === undefined || !ways.some((way) => comparePaths(way, bound) > 0)) return;
    this.#searches = 0;
    this.#search();
  }

  /** This node's network changed: what was learned about paths is void. */
  moved(): void {
    this.#searches = 0;
    this.#flaps = 0;
    this.#move("all", SETTLE_MS);
  }

  /** There is no session any more, or the search for one was given up. */
  lost(): void {
    this.#stopSeeking();
    this.#stopWaiting();
    this.#stopProbing();
    this.#cancelWant();
    this.#path = undefined;
    this.#answered = undefined;
    this.#unansweredSince = undefined;
    this.#searches = 0;
  }

  get #now(): number {
    return this.#host.clock.now();
  }

  /** What a better path has to be better than. */
  get #floor(): Path | undefined {
    return this.#host.bound() ?? this.#answered;
  }

  /** Whether the search for a first session is young enough to be done by both sides. */
  #isPunching(): boolean {
    return this.#now - (this.#unansweredSince ?? this.#now) < PUNCH_FOR_MS;
  }

  #transmit(seek: Seek): void {
    const { datagram, startedAt, schedule } = seek;
    if (seek.answeredAt === undefined && !this.#host.isOutstanding(datagram)) return;
    // A path that was proven need not be among those that are known.
    const ways = seek.over === undefined || seek.over === "better"
      ? this.#host.ways()
      : [seek.over];
    const targets = ways.filter((way) => this.#isTarget(seek, way));
    // Where two are equally fast, the more welcome one is to answer first.
    targets.sort((a, b) => comparePaths(b, a));
    for (const way of targets) this.#host.send(datagram, way);
    seek.sent++;
    const next = schedule[seek.sent];
    if (next === undefined) return;
    seek.cancel = this.#host.clock.schedule(startedAt + next, () => this.#transmit(seek));
  }

  /** Whether an initiation is to go by a way. */
  #isTarget({ over, answeredAt }: Seek, way: Path): boolean {
    if (over !== undefined && over !== "better") {
      return answeredAt === undefined && isSame(way, over);
    }
    const floor = this.#floor;
    if (floor === undefined) return true;
    // Who answered first need not be asked again, nor who is no better.
    if (answeredAt !== undefined) return compareKinds(way, floor) > 0;
    if (over === undefined) return true;
    return comparePaths(way, floor) > 0 || (isBestKind(floor) && isSame(way, floor));
  }

  #stopSeeking(): void {
    this.#seek?.cancel();
    this.#seek = undefined;
  }

  #count(path: Path, now: number): void {
    const before = this.#path;
    if (before === undefined) return;
    const kinds = compareKinds(path, before);
    if (kinds > 0) {
      this.#switches.promotions++;
      this.#promotedAt = now;
      this.#searches = 0;
    } else if (kinds < 0) {
      this.#switches.demotions++;
      this.#flaps = now - this.#promotedAt < STABLE_AFTER_MS ? this.#flaps + 1 : 0;
    } else if (path.key !== before.key) {
      this.#switches.rebinds++;
    }
  }

  /** The peer seeks a path to us at this moment: do so as well. */
  #joinIn(): void {
    if (this.#isSeekingBetter()) return;
    if (this.#floor === undefined) {
      if (this.#seek === undefined || !this.#host.isOutstanding(this.#seek.datagram)) {
        this.#host.renew();
      }
      return;
    }
    if (this.#now - this.#searchedAt >= MIN_BETWEEN_MS) this.#seekBetter();
  }

  /** Whether datagrams still go out to paths better than the one in use. */
  #isSeekingBetter(): boolean {
    const seek = this.#seek;
    return seek !== undefined && seek.sent < seek.schedule.length && this.#floor !== undefined &&
      (seek.over === undefined || seek.over === "better");
  }

  #seekBetter(): void {
    if (this.#hasBetter()) this.#move("better", SETTLE_MS);
  }

  #hasBetter(): boolean {
    const floor = this.#floor;
    return floor !== undefined &&
      this.#host.ways().some((way) => comparePaths(way, floor) > 0);
  }

  /**
   * Starts a handshake over other paths, but not while the peer may hold a keypair of ours that it
   * did not yet hear: the new initiation could overtake the first data and displace that keypair.
   */
  #move(to: Target, settleMs: number): void {
    // What goes everywhere goes there, too.
    if (this.#waiting?.to === "all" && to !== "all") return;
    this.#stopWaiting();
    const now = this.#now;
    this.#searchedAt = now;
    const settledAt = this.#host.unheardSince() + settleMs;
    if (now < settledAt) {
      const at = Math.min(now + SETTLE_STEP_MS, settledAt);
      const cancel = this.#host.clock.schedule(at, () => {
        this.#waiting = undefined;
        if (this.#isWanted(to)) this.#move(to, settleMs);
      });
      this.#waiting = { to, cancel };
      return;
    }
    if (to === "all") return this.#host.renew();
    if (to !== "better") this.#moving = to;
    this.#host.renew(to);
  }

  #stopWaiting(): void {
    this.#waiting?.cancel();
    this.#waiting = undefined;
  }

  /** Whether a handshake that waited is still of use. */
  #isWanted(to: Target): boolean {
    if (to === "all") return true;
    if (to === "better") return this.#hasBetter();
    const bound = this.#host.bound();
    return bound !== undefined && !isSame(to, bound);
  }

  /** A search by both sides. */
  #search(): void {
    this.#host.report(SEEK_REPORT);
    this.#host.askCoordinator();
    this.#host.wantOthers();
    this.#seekBetter();
  }

  #probeLater(): void {
    if (this.#probe !== undefined) return;
    const at = this.#now + probeWaitMs(this.#searches, this.#flaps);
    const cancel = this.#host.clock.schedule(at, () => {
      this.#probe = undefined;
      const bound = this.#host.bound();
      if (bound === undefined || isBestKind(bound)) return;
      if (this.#now - this.#host.usedAt() < IDLE_AFTER_MS) {
        this.#searches++;
        if (!this.#isSeekingBetter()) this.#search();
      }
      this.#probeLater();
    });
    this.#probe = { cancel };
  }

  #stopProbing(): void {
    this.#probe?.cancel();
    this.#probe = undefined;
  }

  #wantOthersSoon(): void {
    this.#cancelWant();
    if (!this.#host.hasOthers) return;
    const cancel = this.#host.clock.schedule(this.#now + WANT_OTHERS_AFTER_MS, () => {
      this.#cancelWant = NOTHING;
      const bound = this.#host.bound();
      const isSeeking = this.#seek !== undefined && this.#host.isOutstanding(this.#seek.datagram);
      if (isSeeking || (bound !== undefined && !isBestKind(bound))) this.#host.wantOthers();
    });
    this.#cancelWant = () => {
      cancel();
      this.#cancelWant = NOTHING;
    };
  }
}

/** The same far end of the same kind: own addresses do not tell ways apart. */
function isSame(a: Path, b: Path): boolean {
  return a.kind === b.kind && a.remote === b.remote;
}
