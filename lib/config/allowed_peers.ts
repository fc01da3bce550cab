/**
 * The configuration file of allow-list mode: who may connect, with which key, from which addresses.
 * It is the only truth there is: no coordinator adds to it.
 *
 * What must hold: no two peers share a name, a key or an address, so that a packet has one rightful
 * sender; who is disabled counts too, so that enabling somebody never breaks a file that was right.
 *
 * Costs the YAML parser and zod: import it only where there is a file to read.
 *
 * @module
 */

import { isMap, LineCounter, type Node, parseDocument } from "yaml";
import { compareBytes, fromBase64, toHex } from "../base/bytes.ts";
import type { LogLevel } from "../base/log.ts";
import { type KeyPair, keyPairFrom, X25519_LENGTH } from "../crypto/x25519.ts";
import type { Endpoint, IpAddress } from "../net/endpoint.ts";
import { equalIpAddresses, formatIpAddress } from "../net/ip_address.ts";
import {
  formatIpPrefix,
  hostPrefix,
  type IpPrefix,
  prefixContains,
  prefixOf,
} from "../net/ip_prefix.ts";
import {
  ALLOWED_PEERS_SCHEMA,
  type AllowedPeersFile,
  type Listen,
} from "./allowed_peers_schema.ts";
import { ConfigError } from "./errors.ts";
import { parseConfig, readConfig } from "./load.ts";
import { sessionLimitsOf } from "./session_limits.ts";

/** Somebody who may connect. */
export interface AllowedPeer {
  readonly name: string;
  /** 32 bytes. */
  readonly publicKey: Uint8Array;
  readonly enabled: boolean;
  /** Its own addresses in the tunnel: the first one of each family. */
  readonly ipv4: IpAddress | undefined;
  readonly ipv6: IpAddress | undefined;
  /** What it may send from and is routed to. */
  readonly allowedIps: readonly IpPrefix[];
  /** Where to dial it; `undefined`: it dials. */
  readonly endpoint: Endpoint | undefined;
  /** Keep the way open by an empty datagram after so long in ms. */
  readonly keepaliveMs: number | undefined;
  /** Line of the file on which it begins. */
  readonly line: number;
}

/** A configuration file of allow-list mode, checked. */
export interface AllowedPeersConfig {
  /** Path as it was given. */
  readonly file: string;
  /** What this node is called in its own status. */
  readonly name: string | undefined;
  /** 16 bytes, the same at both ends. */
  readonly meshId: Uint8Array;
  /** Where the private key is: a path, or the key itself (32 bytes). */
  readonly privateKey: string | Uint8Array;
  readonly listen: Listen;
  readonly interfaceName: string | undefined;
  readonly mtu: number | undefined;
  /** Own addresses, each with the length of its network. */
  readonly addresses: readonly IpPrefix[];
  /** Everybody in the file, those that are disabled included. */
  readonly peers: readonly AllowedPeer[];
  /** Whether clients reach the internet through this node, under its address. */
  readonly masquerade: boolean;
  /** Whether all traffic of this machine goes through the tunnel, and none beside it. */
  readonly defaultRoute: boolean;
  /** Session limits that are lowered, by their names in `SessionLimits`. */
  readonly limits: Readonly<Record<string, number>>;
  readonly dataPlane: "auto" | "linux" | "portable" | undefined;
  readonly logLevel: LogLevel | undefined;
}

/** 1-based place in a file. */
interface Place {
  readonly line: number;
  readonly col: number;
}

/** Finds the place of what stands at a path of the file. */
type PlaceOf = (path: readonly (string | number)[]) => Place;

/** Any port, both families: a node that only dials need not say where it listens. */
const LISTEN_ANYWHERE: Listen = { port: 0, hasIpv6: true };

const OTHERS_BITS = 0o077;

/**
 * Reads and checks a file.
 *
 * @param file Path of a YAML file.
 * @throws {ConfigError} With the place of the first thing that is wrong; where two peers disagree,
 * with both names and lines.
 */
export async function loadAllowedPeers(file: string): Promise<AllowedPeersConfig> {
  return parseAllowedPeers(await readConfig(file), file);
}

/**
 * Checks the text of a file; see {@linkcode loadAllowedPeers}. Touches nothing but its arguments.
 *
 * @param text YAML.
 * @param file Path to name in errors.
 */
export function parseAllowedPeers(text: string, file: string): AllowedPeersConfig {
  const given = parseConfig(text, file, ALLOWED_PEERS_SCHEMA);
  const placeOf = placesOf(text);
  const fail: Fail = (path, fault) => {
    const { line, col } = placeOf(path);
    throw new ConfigError(file, fault, line, col);
  };
  const peers = given.allowedPeers.map((peer, i) => peerOf(peer, i, placeOf, fail));
  refuseDuplicates(peers, fail);
  refuseOverlaps(peers, fail);
  refuseOwn(given, peers, fail);
  refuseRoutes(given, peers, fail);
  return {
    file,
    name: given.name,
    meshId: given.meshId,
    privateKey: privateKeyOf(given, fail),
    listen: given.listen ?? LISTEN_ANYWHERE,
    interfaceName: given.interface,
    mtu: given.mtu,
    addresses: given.addresses,
    peers,
    masquerade: given.masquerade ?? false,
    defaultRoute: given.defaultRoute ?? false,
    limits: limitsOf(given, peers),
    dataPlane: given.dataPlane,
    logLevel: given.logLevel,
  };
}

/**
 * Reads the private key that a file names or holds. The file that holds it must be the owner's
 * alone (0600).
 *
 * @throws {ConfigError} If it cannot be read, is open to others, or is no key; never with a part of
 * what stood there.
 */
export function loadPrivateKey(config: AllowedPeersConfig): KeyPair {
  const { file, privateKey } = config;
  if (typeof privateKey !== "string") {
    refuseOpenToOthers(file, file);
    return keyPairFrom(privateKey);
  }
  const folder = file.includes("/") ? file.slice(0, file.lastIndexOf("/") + 1) : "";
  const path = privateKey.startsWith("/") ? privateKey : folder + privateKey;
  refuseOpenToOthers(path, file);
  let bytes: Uint8Array | undefined;
  try {
    bytes = fromBase64(Deno.readTextFileSync(path).trim());
  } catch (cause) {
    if (!(cause instanceof SyntaxError)) throw unreadable(path, file, cause);
  }
  if (bytes?.length === X25519_LENGTH) return keyPairFrom(bytes);
  throw new ConfigError(file, `privateKeyFile "${path}" is not 32 bytes in base64`);
}

/** Ends the reading of a file, with the place of what stands at a path. */
type Fail = (path: readonly (string | number)[], fault: string) => never;

type GivenPeer = AllowedPeersFile["allowedPeers"][number];

function placesOf(text: string): PlaceOf {
  const lines = new LineCounter();
  const document = parseDocument(text, { lineCounter: lines });
  return (path) => {
    for (let length = path.length; length > 0; length--) {
      const node = document.getIn(path.slice(0, length), true) as Node | undefined;
      const at = isMap(node) ? node.items[0]?.key as Node | undefined : node;
      if (at?.range) return lines.linePos(at.range[0]);
    }
    return lines.linePos(0);
  };
}

function peerOf(given: GivenPeer, index: number, placeOf: PlaceOf, fail: Fail): AllowedPeer {
  const { name, publicKey, enabled = true, clientIp, endpoint, keepalive } = given;
  const allowedIps = given.allowedIps ?? (clientIp === undefined ? [] : [hostPrefix(clientIp)]);
  const at = ["allowedPeers", index];
  if (allowedIps.length === 0) {
    return fail(at, `peer "${name}" has no addresses: give it a clientIp, allowedIps or both`);
  }
  if (clientIp !== undefined && !allowedIps.some((prefix) => prefixContains(prefix, clientIp))) {
    const text = formatIpAddress(clientIp);
    return fail([...at, "clientIp"], `clientIp ${text} of "${name}" is not in its allowedIps`);
  }
  const addresses = allowedIps.filter(isHost).map(({ address }) => address);
  if (clientIp !== undefined) addresses.unshift(clientIp);
  return {
    name,
    publicKey,
    enabled,
    ipv4: addresses.find(({ length }) => length === 4),
    ipv6: addresses.find(({ length }) => length === 16),
    allowedIps,
    endpoint,
    keepaliveMs: keepalive,
    line: placeOf(at).line,
  };
}

function isHost({ address, length }: IpPrefix): boolean {
  return length === address.length * 8;
}

function refuseDuplicates(peers: readonly AllowedPeer[], fail: Fail): void {
  const kinds: [key: string, what: string, of: (peer: AllowedPeer) => string][] = [
    ["name", "name", (peer) => peer.name],
    ["publicKey", "public key", (peer) => toHex(peer.publicKey)],
  ];
  for (const [key, what, of] of kinds) {
    const seen = new Map<string, AllowedPeer>();
    for (const [i, peer] of peers.entries()) {
      const first = seen.get(of(peer));
      if (first !== undefined) {
        return fail(
          ["allowedPeers", i, key],
          `"${peer.name}" (line ${peer.line}) has the ${what} of "${first.name}" ` +
            `(line ${first.line}): each peer needs its own`,
        );
      }
      seen.set(of(peer), peer);
    }
  }
}

/** One prefix, and whose it is. */
interface Claim {
  readonly prefix: IpPrefix;
  /** Ordinals of the peer, and of the prefix in its list. */
  readonly peer: number;
  readonly item: number;
}

/** In sorted order a prefix follows those that hold it, so a stack of these finds every overlap. */
function refuseOverlaps(peers: readonly AllowedPeer[], fail: Fail): void {
  const claims = peers.flatMap(({ allowedIps }, peer) =>
    allowedIps.map((prefix, item): Claim => ({ prefix, peer, item }))
  ).sort((a, b) =>
    a.prefix.address.length - b.prefix.address.length ||
    compareBytes(a.prefix.address, b.prefix.address) || a.prefix.length - b.prefix.length
  );
  const around: Claim[] = [];
  for (const claim of claims) {
    while (around.length > 0 && !holds(around.at(-1)!.prefix, claim.prefix)) around.pop();
    const outer = around.at(-1);
    if (outer !== undefined && outer.peer !== claim.peer) {
      const [first, second] = outer.peer < claim.peer ? [outer, claim] : [claim, outer];
      const [one, other] = [peers[first.peer]!, peers[second.peer]!];
      return fail(
        ["allowedPeers", second.peer, "allowedIps", second.item],
        `${formatIpPrefix(second.prefix)} of "${other.name}" (line ${other.line}) overlaps ` +
          `${formatIpPrefix(first.prefix)} of "${one.name}" (line ${one.line}): an address ` +
          "belongs to one peer",
      );
    }
    around.push(claim);
  }
}

function holds(outer: IpPrefix, inner: IpPrefix): boolean {
  return outer.address.length === inner.address.length && prefixContains(outer, inner.address);
}

/** What is this node's own must not be a peer's. */
function refuseOwn(given: AllowedPeersFile, peers: readonly AllowedPeer[], fail: Fail): void {
  const own = given.addresses;
  for (const [i, { address }] of own.entries()) {
    const text = formatIpAddress(address);
    if (own.findIndex((other) => equalIpAddresses(other.address, address)) !== i) {
      fail(["addresses", i], `${text} stands there twice`);
    }
    for (const [at, peer] of peers.entries()) {
      const claims = [peer.ipv4, peer.ipv6];
      if (claims.some((claim) => claim !== undefined && equalIpAddresses(claim, address))) {
        fail(
          ["allowedPeers", at],
          `peer "${peer.name}" (line ${peer.line}) has this node's own address ${text}`,
        );
      }
    }
  }
  for (const [at, { name, endpoint }] of peers.entries()) {
    if (endpoint === undefined) continue;
    const range = own.find((prefix) => prefixContains(networkOf(prefix), endpoint.address));
    if (range !== undefined) {
      fail(
        ["allowedPeers", at, "endpoint"],
        `the endpoint of "${name}" lies inside the tunnel's own ${
          formatIpPrefix(networkOf(range))
        }`,
      );
    }
  }
}

/** The network that an own address is in. */
export function networkOf({ address, length }: IpPrefix): IpPrefix {
  return prefixOf(address, length);
}

/** All traffic goes to one peer or none, and somebody has said so. */
function refuseRoutes(given: AllowedPeersFile, peers: readonly AllowedPeer[], fail: Fail): void {
  const at = peers.findIndex((peer) => peer.allowedIps.some(({ length }) => length === 0));
  if (given.defaultRoute && at < 0) {
    fail(["defaultRoute"], "defaultRoute needs a peer with 0.0.0.0/0 or ::/0 in its allowedIps");
  }
  if (!given.defaultRoute && at >= 0) {
    fail(
      ["allowedPeers", at, "allowedIps"],
      `"${peers[at]!.name}" is allowed every address: say defaultRoute: true as well, or name ` +
        "what is meant",
    );
  }
  if (given.defaultRoute && peers[at]!.endpoint === undefined) {
    fail(["allowedPeers", at], `"${peers[at]!.name}" gets all traffic but has no endpoint`);
  }
}

function privateKeyOf(given: AllowedPeersFile, fail: Fail): string | Uint8Array {
  const { privateKeyFile, privateKey } = given;
  if (privateKeyFile !== undefined && privateKey !== undefined) {
    fail(["privateKey"], "privateKey and privateKeyFile: say one of them");
  }
  return privateKeyFile ?? privateKey ??
    fail([], "privateKeyFile: is missing; tunnelmesh keys --private FILE makes one");
}

/** The shortest keepalive that anybody asks for holds for all: the timer is one. */
function limitsOf(
  given: AllowedPeersFile,
  peers: readonly AllowedPeer[],
): Record<string, number> {
  const limits = sessionLimitsOf(given.session);
  const intervals = peers.flatMap(({ keepaliveMs }) => keepaliveMs ?? []);
  if (intervals.length === 0) return limits;
  const lowest = Math.min(limits.persistentKeepaliveMs ?? Infinity, ...intervals);
  return { ...limits, persistentKeepaliveMs: lowest };
}

function refuseOpenToOthers(path: string, file: string): void {
  let mode: number | null;
  try {
    ({ mode } = Deno.statSync(path));
  } catch (cause) {
    throw unreadable(path, file, cause);
  }
  if (mode === null || (mode & OTHERS_BITS) === 0) return;
  const octal = (mode & 0o777).toString(8).padStart(4, "0");
  throw new ConfigError(
    file,
    `the private key in "${path}" is open to others (mode ${octal}); do chmod 600 ${path}`,
  );
}

function unreadable(path: string, file: string, cause: unknown): ConfigError {
  const why = cause instanceof Deno.errors.NotFound
    ? "there is no such file"
    : cause instanceof Deno.errors.PermissionDenied
    ? "permission denied"
    : String(cause);
  const options = { cause };
  return new ConfigError(file, `private key "${path}": ${why}`, undefined, undefined, options);
}
