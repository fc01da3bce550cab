/**
 * Writes the files of a server and one client that fit together (allow-list mode). Pure.
 *
 * @module
 */

import { concatBytes, toBase64, toHex } from "../base/bytes.ts";
import type { KeyPair } from "../crypto/x25519.ts";
import type { IpAddress } from "../net/endpoint.ts";
import { formatIpAddress } from "../net/ip_address.ts";
import type { IpPrefix } from "../net/ip_prefix.ts";
import { parseAllowedPeers } from "./allowed_peers.ts";
import { parseRange } from "./values.ts";

/** What {@linkcode configPair} makes files of. */
export interface ConfigPairOptions {
  readonly server: KeyPair;
  readonly client: KeyPair;
  /** 16 bytes, random. */
  readonly meshId: Uint8Array;
  /** Where the client reaches the server, as in `203.0.113.7:51820`. */
  readonly endpoint: string;
  /** What the server calls the client. */
  readonly clientName: string;
  /** IPv4 network of the tunnel, as in `10.9.0.0/24`. */
  readonly range: string;
  /** Whether all traffic of the client goes through the server. */
  readonly hasAllTraffic: boolean;
}

/** Text of the files. */
export interface ConfigPair {
  /** Names `server.key` beside it as the private key. */
  readonly server: string;
  /** Names `client.key` beside it as the private key. */
  readonly client: string;
  /** The client's file with its private key inside: for a QR code. As secret as the key. */
  readonly clientWhole: string;
}

/**
 * Makes a pair of files.
 *
 * @throws {SyntaxError} If the range is none.
 * @throws {ConfigError} If name or endpoint may not stand in such a file.
 */
export function configPair(options: ConfigPairOptions): ConfigPair {
  const { server, client, meshId, endpoint, clientName, hasAllTraffic } = options;
  const range = parseRange(options.range);
  const local = uniqueLocal(meshId);
  const [ipv4, ipv6] = [(n: number) => hostOf(range, n), (n: number) => hostOf(local, n)];
  const head = (name: string, key: string) =>
    `profile: allowed-peers
name: ${name}
meshId: "${toHex(meshId)}"
${key}
`;
  const addresses = (n: number) =>
    `addresses: [${ipv4(n)}/${range.length}, ${ipv6(n)}/${local.length}]\n`;
  const serverText = head("server", "privateKeyFile: server.key") +
    `listen: "[::]:${portOf(endpoint)}"
${addresses(1)}${hasAllTraffic ? "masquerade: true\n" : ""}allowedPeers:
  - name: ${clientName}
    publicKey: ${toBase64(client.publicKey)}
    enabled: true
    clientIp: ${ipv4(2)}
    allowedIps: [${ipv4(2)}/32, ${ipv6(2)}/128]
`;
  const allowed = hasAllTraffic
    ? '[0.0.0.0/0, "::/0"]\n    clientIp: ' + ipv4(1)
    : `[${ipv4(1)}/32, ${ipv6(1)}/128]`;
  const clientText = (key: string) =>
    head(clientName, key) + addresses(2) + (hasAllTraffic ? "defaultRoute: true\n" : "") +
    `allowedPeers:
  - name: server
    publicKey: ${toBase64(server.publicKey)}
    endpoint: "${endpoint}"
    keepalive: 25s
    allowedIps: ${allowed}
`;
  const pair = {
    server: serverText,
    client: clientText("privateKeyFile: client.key"),
    clientWhole: clientText(`privateKey: ${toBase64(client.privateKey)}`),
  };
  for (const [name, text] of Object.entries(pair)) parseAllowedPeers(text, `${name}.yaml`);
  return pair;
}

function portOf(endpoint: string): string {
  return /\d+$/.exec(endpoint)?.[0] ?? "0";
}

/** A network that nobody else is likely to use: `fd`, 40 bits of the mesh id, subnet 0 (RFC 4193). */
function uniqueLocal(meshId: Uint8Array): IpPrefix {
  const address = concatBytes(Uint8Array.of(0xfd), meshId.subarray(0, 5), new Uint8Array(10));
  return { address, length: 64 };
}

/** The n-th address of a network, n at most 5. */
function hostOf({ address }: IpPrefix, n: number): string {
  const host: IpAddress = address.slice();
  host[host.length - 1]! |= n;
  return formatIpAddress(host);
}
