/**
 * Writes the files by which two machines that have paired form a network of their own (allow-list
 * mode): each names the other, and nobody else. Pure.
 *
 * ```
 * listener   first address, listens      allowedPeers: the dialler
 * dialler    second address, any port    allowedPeers: the listener, with its endpoint
 * ```
 *
 * @module
 */

import { concatBytes, toBase64, toHex } from "../base/bytes.ts";
import type { IpAddress } from "../net/endpoint.ts";
import { formatIpAddress } from "../net/ip_address.ts";
import { parseAllowedPeers } from "./allowed_peers.ts";
import { parseRange } from "./values.ts";

/** What {@linkcode pairedConfig} makes a file of. */
export interface PairedConfigOptions {
  /** What this node calls itself. */
  readonly ownName: string;
  /** What it calls the other one. */
  readonly peerName: string;
  /** 32 bytes. */
  readonly peerPublicKey: Uint8Array;
  /** Path of this node's private key, as it is to stand in the file. */
  readonly privateKeyFile: string;
  /** 16 bytes, the same at both ends. */
  readonly meshId: Uint8Array;
  /** IPv4 network of the two, as in `10.9.0.0/24`. */
  readonly range: string;
  /** This side: who is dialled, at a port of all addresses; or who dials, and where. */
  readonly side:
    | { readonly kind: "listener"; readonly port: number }
    | { readonly kind: "dialler"; readonly endpoint: string };
}

/** Length of an IPv6 network of the two. */
const IPV6_LENGTH = 64;

/**
 * Makes one end's file.
 *
 * @throws {SyntaxError} If the range is none.
 * @throws {ConfigError} If a name or the endpoint may not stand in such a file.
 */
export function pairedConfig(options: PairedConfigOptions): string {
  const { ownName, peerName, peerPublicKey, privateKeyFile, meshId, side } = options;
  const range = parseRange(options.range);
  const [own, other] = side.kind === "listener" ? [1, 2] : [2, 1];
  const ipv4 = (n: number) => hostOf(range.address, n);
  const ipv6 = (n: number) => hostOf(uniqueLocal(meshId), n);
  const listen = side.kind === "listener" ? `listen: "[::]:${side.port}"\n` : "";
  const dial = side.kind === "dialler"
    ? `\n    endpoint: "${side.endpoint}"\n    keepalive: 25s`
    : "";
  const text = `# The other machine's key was compared by a person when the two were paired.
profile: allowed-peers
name: ${JSON.stringify(ownName)}
meshId: "${toHex(meshId)}"
privateKeyFile: ${JSON.stringify(privateKeyFile)}
${listen}addresses: [${ipv4(own)}/${range.length}, ${ipv6(own)}/${IPV6_LENGTH}]
allowedPeers:
  - name: ${JSON.stringify(peerName)}
    publicKey: ${toBase64(peerPublicKey)}${dial}
    clientIp: ${ipv4(other)}
    allowedIps: [${ipv4(other)}/32, ${ipv6(other)}/128]
`;
  parseAllowedPeers(text, "the file for this pair");
  return text;
}

/** A network that nobody else is likely to use: `fd`, 40 bits of the mesh id, subnet 0 (RFC 4193). */
function uniqueLocal(meshId: Uint8Array): IpAddress {
  return concatBytes(Uint8Array.of(0xfd), meshId.subarray(0, 5), new Uint8Array(10));
}

/** The n-th address of a network, n at most 5. */
function hostOf(network: IpAddress, n: number): string {
  const host = network.slice();
  host[host.length - 1]! |= n;
  return formatIpAddress(host);
}
