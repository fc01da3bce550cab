/**
 * Node names: single DNS labels (RFC 1123 §2.1), unique in the mesh, compared in lower case.
 *
 * @module
 */

import { RefusalError } from "../wire/refusal.ts";

/** Longest DNS label (RFC 1035 §2.3.4). */
const MAX_LABEL = 63;

/** Names nobody may ask for, and why. */
const RESERVED: readonly [why: string, ...names: string[]][] = [
  ["mean this machine everywhere", "localhost", "localdomain", "ip6-localhost", "broadcasthost"],
  ["are special in DNS (RFC 6761, 6762, 8375)", "local", "invalid", "test", "example", "onion"],
  ["are special in DNS as well", "arpa", "internal", "home", "lan", "corp", "alt"],
  ["are asked for by machines that look for a proxy or gateway", "wpad", "isatap", "gateway"],
  ["belong to the mesh itself", "tunnelmesh", "mesh", "dns", "relay", "any", "all", "self", "none"],
];
const RESERVED_NAMES = new Set(RESERVED.flatMap(([, ...names]) => names));

/** What to do about a wished name. */
export interface NameWish {
  /** As the node sent it. */
  readonly wished: string;
  /** Whether a person chose it: then it is taken as it is or refused. */
  readonly isExplicit: boolean;
  /** Whether another node has this name. */
  readonly isTaken: (name: string) => boolean;
}

/**
 * The name that a node gets.
 *
 * @throws {RefusalError} when an explicit name is invalid, reserved or taken.
 */
export function chooseName(wish: NameWish): string {
  if (wish.isExplicit) return takeExplicit(wish);
  const base = labelOf(wish.wished);
  if (!RESERVED_NAMES.has(base) && !wish.isTaken(base)) return base;
  for (let i = 2;; i++) {
    const suffix = `-${i}`;
    const name = base.slice(0, MAX_LABEL - suffix.length).replace(/-+$/, "") + suffix;
    if (!wish.isTaken(name)) return name;
  }
}

/** The label that a host name stands for: `My_Host.example.org` => `my-host`. */
export function labelOf(hostname: string): string {
  const first = hostname.toLowerCase().split(".")[0]!;
  const label = first.replace(/[^a-z0-9]+/g, "-").slice(0, MAX_LABEL).replace(/^-+|-+$/g, "");
  if (label === "") return "node";
  return isNumeric(label) ? `node-${label}` : label;
}

/** Whether text is a name that a node may have. */
export function isValidName(name: string): boolean {
  return name.length <= MAX_LABEL && /^[a-z0-9]([a-z0-9-]*[a-z0-9])?$/.test(name) &&
    !isNumeric(name);
}

function takeExplicit({ wished, isTaken }: NameWish): string {
  const name = wished.toLowerCase();
  if (!isValidName(name)) throw new RefusalError("bad-name");
  if (RESERVED_NAMES.has(name)) throw new RefusalError("reserved-name");
  if (isTaken(name)) throw new RefusalError("name-taken");
  return name;
}

/** All digits, or hexadecimal as some resolvers read it: would be taken for an IPv4 address. */
function isNumeric(label: string): boolean {
  return /^([0-9]+|0x[0-9a-f]+)$/.test(label);
}
