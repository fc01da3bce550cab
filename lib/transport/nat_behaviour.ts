/**
 * What is between this node and the Internet, from what several servers saw of one socket, and which
 * endpoints are worth telling peers. Pure.
 *
 * Mapping behaviours are those of RFC 4787 §4.1: a NAT that maps the same for every destination can be
 * punched by anybody, one that maps per destination only by peers whose own filter lets in any port.
 *
 * @module
 */

import { type Endpoint, equalEndpoints, formatEndpoint } from "../net/endpoint.ts";
import { equalIpAddresses, isLinkLocal, isLoopback, isUnicast } from "../net/ip_address.ts";
import { type IpPrefix, prefixContains } from "../net/ip_prefix.ts";

/**
 * Ours: observations further apart than this are not compared, since the NAT may have forgotten its
 * mapping in between, which would look like a mapping per destination.
 */
const COMPARABLE_MS = 10_000;
/** Ours: how many endpoints that servers saw are told of each family; a NAT per destination has many. */
const MOST_DISCOVERED = 4;
/** The control channel takes 32; peers try them all. */
const MOST_CANDIDATES = 24;

/** What one server saw. */
export interface Observation {
  /** Who was asked: one of the coordinator's two UDP ports, or a STUN server. */
  readonly server: Endpoint;
  /** Where the question came from, as the server saw it. */
  readonly seen: Endpoint;
  /** When, on the scale of `Clock.now`. */
  readonly at: number;
}

/**
 * How the NAT maps:
 * - `unknown`: nobody was asked, or nobody answered;
 * - `none`: servers see a local endpoint;
 * - `mapped`: there is a NAT, but only one server answered;
 * - `endpoint-independent`: every server sees the same endpoint;
 * - `address-dependent`, `address-and-port-dependent`: another one for each server, or each port.
 */
export type Mapping =
  | "unknown"
  | "none"
  | "mapped"
  | "endpoint-independent"
  | "address-dependent"
  | "address-and-port-dependent";

/** What is known of one family. */
export interface NatBehaviour {
  /** How it maps. */
  readonly mapping: Mapping;
  /** Whether the port outside is the one inside; `undefined` where nothing was seen. */
  readonly isPortKept: boolean | undefined;
  /** What servers saw, the newest first, without repetitions. */
  readonly seen: readonly Endpoint[];
}

/**
 * Derives the behaviour of one family.
 *
 * @param length 4 for IPv4, 16 for IPv6.
 * @param observations In any order; of other families too. The newest of each server counts.
 * @param local Own endpoints of the same socket.
 */
export function natBehaviour(
  length: 4 | 16,
  observations: readonly Observation[],
  local: readonly Endpoint[],
): NatBehaviour {
  const newest = newestOfEachServer(
    observations.filter((one) => one.seen.address.length === length),
  );
  const [first] = newest;
  if (first === undefined) return { mapping: "unknown", isPortKept: undefined, seen: [] };
  const comparable = newest.filter(({ at }) => first.at - at <= COMPARABLE_MS);
  const isLocal = (endpoint: Endpoint) => local.some((own) => equalEndpoints(own, endpoint));
  return {
    mapping: comparable.every(({ seen }) => isLocal(seen)) ? "none" : mappingOf(comparable),
    isPortKept: comparable.every(({ seen }) => local.some(({ port }) => port === seen.port)),
    seen: distinct(newest.map(({ seen }) => seen)),
  };
}

/** Whether a mapping must be kept alive by traffic. */
export function needsKeepalive({ mapping }: NatBehaviour): boolean {
  return mapping !== "none" && mapping !== "unknown";
}

/** Whether two nodes can expect a direct UDP path, as far as mappings tell (filters are not known). */
export function canPunch(a: NatBehaviour, b: NatBehaviour): boolean {
  return !(isPerDestination(a) && isPerDestination(b));
}

/** Whether it maps differently for each destination. */
export function isPerDestination({ mapping }: NatBehaviour): boolean {
  return mapping === "address-dependent" || mapping === "address-and-port-dependent";
}

/** An endpoint where this node may be reached. */
export interface Candidate {
  readonly endpoint: Endpoint;
  /** Own address; port mapped on request (PCP, NAT-PMP, UPnP); what a server saw. */
  readonly source: "local" | "mapped" | "discovered";
}

/** What candidates are made of. */
export interface CandidateSources {
  /** Endpoints of own addresses. */
  readonly local: readonly Endpoint[];
  /** Ports that the gateway forwards to this node. */
  readonly mapped: readonly Endpoint[];
  /** Per family, in any order. */
  readonly behaviours: readonly NatBehaviour[];
  /** Ranges of the mesh: a datagram to one would go through the mesh that it carries. */
  readonly meshRanges: readonly IpPrefix[];
}

/**
 * Lists the endpoints worth telling peers, in the order of usefulness: local ones, ports mapped on
 * request (good for everybody), ones that servers saw. An endpoint that is several of these is told
 * once, as the first.
 *
 * @returns At most 24.
 */
export function candidates(sources: CandidateSources): Candidate[] {
  const discovered = sources.behaviours.flatMap(({ seen }) => seen.slice(0, MOST_DISCOVERED));
  const all: Candidate[] = [
    ...sources.local.map((endpoint) => ({ endpoint, source: "local" } as const)),
    ...sources.mapped.map((endpoint) => ({ endpoint, source: "mapped" } as const)),
    ...discovered.map((endpoint) => ({ endpoint, source: "discovered" } as const)),
  ];
  const byText = new Map<string, Candidate>();
  for (const candidate of all) {
    const { address } = candidate.endpoint;
    const isUseful = isUnicast(address) && !isLoopback(address) && !isLinkLocal(address) &&
      !sources.meshRanges.some((range) => prefixContains(range, address));
    const text = formatEndpoint(candidate.endpoint);
    if (isUseful && !byText.has(text)) byText.set(text, candidate);
  }
  // Local ones can be many; what lies beyond a NAT must not fall off the end for them.
  const outside = [...byText.values()].filter(({ source }) => source !== "local");
  const inside = [...byText.values()].filter(({ source }) => source === "local");
  return [...inside.slice(0, Math.max(0, MOST_CANDIDATES - outside.length)), ...outside]
    .slice(0, MOST_CANDIDATES);
}

/** The last word of each server, the newest first. */
function newestOfEachServer(observations: readonly Observation[]): Observation[] {
  const newest = new Map<string, Observation>();
  for (const one of [...observations].sort((a, b) => b.at - a.at)) {
    const server = formatEndpoint(one.server);
    if (!newest.has(server)) newest.set(server, one);
  }
  return [...newest.values()];
}

function mappingOf(observations: readonly Observation[]): Mapping {
  if (observations.length < 2) return "mapped";
  const pairs = observations.flatMap((a, at) =>
    observations.slice(at + 1).map((b) => ({
      isSameAddress: equalIpAddresses(a.server.address, b.server.address),
      isSameMapping: equalEndpoints(a.seen, b.seen),
    }))
  );
  if (pairs.every(({ isSameMapping }) => isSameMapping)) return "endpoint-independent";
  const dependsOnPort = pairs.some((pair) => pair.isSameAddress && !pair.isSameMapping);
  // Without two ports of one address the stricter of the two cannot be told apart: assume it.
  const isPortTested = pairs.some(({ isSameAddress }) => isSameAddress);
  return dependsOnPort || !isPortTested ? "address-and-port-dependent" : "address-dependent";
}

function distinct(endpoints: readonly Endpoint[]): Endpoint[] {
  const byText = new Map(endpoints.map((endpoint) => [formatEndpoint(endpoint), endpoint]));
  return [...byText.values()];
}
