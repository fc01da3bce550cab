/**
 * Addresses inside the mesh. A node has one host number, which gives both of its addresses: the
 * IPv4 range's network plus the number, and the ULA /48's network plus the number.
 *
 * ```
 * IPv4   network bits of the range │ host number
 * IPv6   fd │ 40 bits of SHA-256("tunnelmesh ula v1" ‖ mesh id) │ 48 zero bits │ host number u32
 * ```
 *
 * RFC 4193 wants the 40 bits random, which the mesh id is. Number 0 (network, subnet-router anycast)
 * and the highest (broadcast) are never given away.
 *
 * @module
 */

import { utf8 } from "../base/bytes.ts";
import { sha256 } from "../crypto/hash.ts";
import type { IpAddress } from "../net/endpoint.ts";
import { formatIpAddress } from "../net/ip_address.ts";
import type { IpPrefix } from "../net/ip_prefix.ts";
import type { NodeAddresses } from "../wire/server_message.ts";

/** Where addresses come from unless configured: the shared address space of RFC 6598. */
export const DEFAULT_IPV4_RANGE: IpPrefix = { address: Uint8Array.of(100, 64, 0, 0), length: 10 };

/** Longest IPv4 prefix with room for a mesh: two hosts. */
const MAX_RANGE_LENGTH = 30;

/** Numbers to addresses, for one mesh. */
export class AddressPlan {
  /** The IPv4 range. */
  readonly ipv4Range: IpPrefix;
  /** The ULA /48. */
  readonly ipv6Range: IpPrefix;
  /** Highest host number that may be given away; the lowest is 1. */
  readonly maxHost: number;

  /**
   * @param meshId 16 bytes.
   * @throws {RangeError} when the range is not IPv4, or leaves no room.
   */
  constructor(meshId: Uint8Array, ipv4Range: IpPrefix = DEFAULT_IPV4_RANGE) {
    if (ipv4Range.address.length !== 4) throw new RangeError("the mesh range must be IPv4");
    if (ipv4Range.length > MAX_RANGE_LENGTH || ipv4Range.length < 8) {
      throw new RangeError(`the mesh range must be a prefix of /8 to /${MAX_RANGE_LENGTH}`);
    }
    this.ipv4Range = ipv4Range;
    this.ipv6Range = { address: ulaOf(meshId), length: 48 };
    this.maxHost = 2 ** (32 - ipv4Range.length) - 2;
  }

  /**
   * Both addresses of a host number, as canonical text.
   *
   * @param host `[1, maxHost]`.
   * @throws {RangeError} when it is none that may be given away.
   */
  addressesOf(host: number): NodeAddresses {
    if (!Number.isInteger(host) || host < 1 || host > this.maxHost) {
      throw new RangeError(`Cannot give host number ${host}: not in 1 to ${this.maxHost}`);
    }
    return {
      ipv4: formatIpAddress(withHost(this.ipv4Range.address, host)),
      ipv6: formatIpAddress(withHost(this.ipv6Range.address, host)),
    };
  }
}

function ulaOf(meshId: Uint8Array): IpAddress {
  const address = new Uint8Array(16);
  address[0] = 0xfd;
  address.set(sha256(utf8("tunnelmesh ula v1"), meshId).subarray(0, 5), 1);
  return address;
}

/** Adds the number to the last 32 bits of a network address. */
function withHost(network: IpAddress, host: number): IpAddress {
  const address = network.slice();
  const view = new DataView(address.buffer);
  const at = address.length - 4;
  view.setUint32(at, view.getUint32(at) + host);
  return address;
}
