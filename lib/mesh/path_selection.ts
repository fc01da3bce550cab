/**
 * Which way to a peer is the better one, when to look for a better one, and why there is none. Pure
 * rules, no state.
 *
 * ```text
 *  relay  <  SSH  <  UDP: IPv4 public  <  IPv6 public  <  private (same LAN)
 *  └─ kinds: better, ──┘ └─ asked first, so it wins ──┘ └─ moved to if as ───┘
 *     however slow          if at least as fast            fast, give or take
 * ```
 *
 * @module
 */

import type { IpAddress } from "../net/endpoint.ts";
import type { Path } from "../session/path.ts";
import { isUdpPath } from "../transport/transport.ts";

/**
 * When one initiation goes out, in ms from its first time on: both sides do so at about the same
 * time, and each needs the other's NAT to have been opened from inside.
 */
export const SEEK_AT_MS: readonly number[] = [0, 100, 250, 500, 1_000, 2_000];
/** The same for an initiation that follows unanswered ones: the peer is probably not there. */
export const SEEK_AGAIN_AT_MS: readonly number[] = [0, 250];
/** Waits between searches for a better path while a worse one is in use; the last one repeats. */
export const PROBE_WAITS_MS: readonly number[] = [1_000, 2_000, 5_000, 10_000, 30_000, 60_000];
/** A better path that was lost sooner than this after it was found was not worth the switch. */
export const STABLE_AFTER_MS = 60_000;

/** How much later than the first answer another one counts as equally fast, in ms… */
const TIE_MS = 2;
/** …and in round trips. */
const TIE_ROUND_TRIPS = 0.1;

/** Kinds of paths, the worst first. */
const KINDS: readonly Path["kind"][] = ["relay", "ssh", "udp"];

/** Negative if `a` is of a worse kind than `b`, positive if of a better one. */
export function compareKinds(a: Path, b: Path): number {
  return KINDS.indexOf(a.kind) - KINDS.indexOf(b.kind);
}

/** Whether a better kind than this path's exists at all. */
export function isBestKind(path: Path): boolean {
  return path.kind === KINDS.at(-1);
}

/**
 * Negative if `a` is less welcome than `b`, zero if it makes no difference. Among UDP paths that
 * holds only as long as speed does not tell otherwise.
 */
export function comparePaths(a: Path, b: Path): number {
  return compareKinds(a, b) || familiarity(a) - familiarity(b);
}

/** How fast a path answered, compared with the one that answered first. */
export interface Race {
  /** Round trip of the first answer in ms. */
  readonly rttMs: number;
  /** How much later in ms this one came. */
  readonly latenessMs: number;
}

/** Whether to move from the path that answered first to one that answered the same later. */
export function isWorthMoving(from: Path, to: Path, { rttMs, latenessMs }: Race): boolean {
  const kinds = compareKinds(to, from);
  if (kinds !== 0) return kinds > 0;
  const isAsFast = latenessMs <= Math.max(TIE_MS, TIE_ROUND_TRIPS * rttMs);
  return isAsFast && isNear(to) && !isNear(from);
}

/**
 * How long to wait before the next search for a better path.
 *
 * @param searches Searches in vain so far.
 * @param flaps Better paths in a row that were lost soon after they were found.
 */
export function probeWaitMs(searches: number, flaps: number): number {
  return PROBE_WAITS_MS[Math.min(searches + flaps, PROBE_WAITS_MS.length - 1)]!;
}

/** How the NATs between a node and the world map: what discovery found out. */
export type NatMapping =
  /** Not known. */
  | "unknown"
  /** The world sees an address of the node's own. */
  | "none"
  /** One public port, whatever the destination. */
  | "same"
  /** Another public port per destination: nobody can say which the next one will be. */
  | "varying";

/** What {@linkcode whyNotDirect} goes by. */
export interface DirectFacts {
  /** UDP endpoints of the peer that were tried. */
  readonly candidates: number;
  /** Whether anything came in by UDP since the network last changed; `undefined`: not known. */
  readonly isUdpOpen: boolean | undefined;
  readonly ownNat: NatMapping;
  readonly peerNat: NatMapping;
  /** How long nothing but worse paths answered, in ms; `undefined`: not tried yet. */
  readonly soughtForMs: number | undefined;
}

/** Why a peer is not reached by UDP, for people. */
export function whyNotDirect(facts: DirectFacts): string {
  const { candidates, isUdpOpen, ownNat, peerNat, soughtForMs } = facts;
  if (isUdpOpen === false) return "UDP is blocked here";
  if (candidates === 0) return "the peer has no UDP endpoint that can be reached from here";
  if (soughtForMs === undefined) return "not tried yet";
  if (ownNat === "varying" && peerNat === "varying") return "symmetric NAT at both ends";
  const tried = `no answer on ${candidates} UDP candidate${candidates === 1 ? "" : "s"} for ${
    Math.floor(soughtForMs / 1_000)
  } s`;
  if (ownNat === "varying") return `${tried}; symmetric NAT here`;
  if (peerNat === "varying") return `${tried}; symmetric NAT at the peer`;
  return tried;
}

/** IPv4 outside, IPv6 outside, inside. Links that are no UDP have no such order. */
function familiarity(path: Path): number {
  if (!isUdpPath(path)) return 0;
  if (isNear(path)) return 2;
  return path.endpoint.address.length === 16 ? 1 : 0;
}

/**
 * Whether a path leads through a NAT that forgets it without traffic. Neighbours are reached without
 * one; streams keep themselves alive.
 */
export function isThroughNat(
  path: Path,
  { mapped }: { readonly mapped?: { readonly ipv4: boolean; readonly ipv6: boolean } },
): boolean {
  if (mapped === undefined || !isUdpPath(path) || isNear(path)) return false;
  return path.endpoint.address.length === 4 ? mapped.ipv4 : mapped.ipv6;
}

function isNear(path: Path): boolean {
  return isUdpPath(path) && isPrivateAddress(path.endpoint.address);
}

/** RFC 1918, RFC 4193 and link-local: an address that only a neighbour can use. */
export function isPrivateAddress(address: IpAddress): boolean {
  const [a, b] = [address[0]!, address[1]!];
  if (address.length === 16) return (a & 0xfe) === 0xfc || (a === 0xfe && (b & 0xc0) === 0x80);
  return a === 10 || (a === 172 && (b & 0xf0) === 16) || (a === 192 && b === 168) ||
    (a === 169 && b === 254);
}
