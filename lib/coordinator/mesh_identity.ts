/**
 * What a mesh is, once and for all: its id, its coordinator's key, its address range.
 *
 * @module
 */

import { equalBytes, fromHex, toHex } from "../base/bytes.ts";
import { randomBytes } from "../crypto/random.ts";
import { equalPrefixes, formatIpPrefix, type IpPrefix, parseIpPrefix } from "../net/ip_prefix.ts";
import { AddressPlan, DEFAULT_IPV4_RANGE } from "./addresses.ts";
import type { Ledger } from "./ledger.ts";

/** The mesh of a ledger. */
export interface MeshIdentity {
  /** 16 bytes. */
  readonly meshId: Uint8Array;
  readonly addresses: AddressPlan;
}

/** The state folder and what was asked for do not fit together; the message says what to do. */
export class MeshMismatchError extends Error {
  override readonly name = "MeshMismatchError";
}

/**
 * Reads the mesh of a ledger, or founds one in an empty ledger.
 *
 * @param coordinatorKey Static public key of this coordinator, 32 bytes.
 * @param ipv4Range The range asked for; without one, the mesh's own or 100.64.0.0/10.
 * @throws {MeshMismatchError} when the ledger is of another coordinator key or range.
 * @throws {RangeError} when the range cannot be one.
 */
export function openMesh(
  ledger: Ledger,
  coordinatorKey: Uint8Array,
  ipv4Range: IpPrefix | undefined,
): MeshIdentity {
  const meshId = ledger.setting("mesh-id");
  if (meshId === undefined) return found(ledger, coordinatorKey, ipv4Range ?? DEFAULT_IPV4_RANGE);
  if (!equalBytes(fromHex(ledger.setting("coordinator-key") ?? ""), coordinatorKey)) {
    throw new MeshMismatchError(
      "the registry belongs to a coordinator with another static key; put both files of one " +
        "backup in place with coordinator restore",
    );
  }
  const stored = parseIpPrefix(ledger.setting("ipv4-range") ?? "");
  if (ipv4Range !== undefined && !equalPrefixes(ipv4Range, stored)) {
    throw new MeshMismatchError(
      `the mesh has the range ${formatIpPrefix(stored)} and its nodes keep their addresses; ` +
        "leave --range out, or found a new mesh in another state folder",
    );
  }
  const id = fromHex(meshId);
  return { meshId: id, addresses: new AddressPlan(id, stored) };
}

function found(ledger: Ledger, coordinatorKey: Uint8Array, ipv4Range: IpPrefix): MeshIdentity {
  const meshId = randomBytes(16);
  const addresses = new AddressPlan(meshId, ipv4Range);
  ledger.commit({
    settings: {
      "mesh-id": toHex(meshId),
      "coordinator-key": toHex(coordinatorKey),
      "ipv4-range": formatIpPrefix(ipv4Range),
      "lineage": toHex(randomBytes(8)),
      "roster-version": "0",
      "next-host": "1",
      "psk-current": "1",
    },
  });
  return { meshId, addresses };
}
