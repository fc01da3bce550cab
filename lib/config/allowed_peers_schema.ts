/**
 * What may stand in the configuration file of allow-list mode (profile `allowed-peers`).
 *
 * Single values are judged here; what concerns two places of a file, in `allowed_peers.ts`.
 *
 * @module
 */

import { z } from "zod";
import { fromBase64, fromHex } from "../base/bytes.ts";
import { isLowOrderPoint, X25519_LENGTH } from "../crypto/x25519.ts";
import { type Endpoint, type IpAddress, parseEndpoint } from "../net/endpoint.ts";
import { isUnicast, parseIpAddress } from "../net/ip_address.ts";
import { type IpPrefix, parseIpPrefix } from "../net/ip_prefix.ts";
import { AGENT_SCHEMA, COORDINATOR_SCHEMA, textLike } from "./schema.ts";

/** Length of a mesh id in bytes. */
const MESH_ID_LENGTH = 16;
/** Shortest prefix of an own network: it takes its range away from everything else. */
const SHORTEST_NETWORK = 8;
/** Longest keepalive interval in seconds: the protocol's own figure, which may only be lowered. */
const MAX_KEEPALIVE_SECONDS = 25;

/** Where to listen. */
export interface Listen {
  /** 0 for any. */
  readonly port: number;
  /** Whether IPv6 is used as well as IPv4. */
  readonly hasIpv6: boolean;
}

const MESH_ID = textLike(
  "meshId is 32 hex digits; if all of them are decimal, put them in quotes",
  (text) => exactly(MESH_ID_LENGTH, fromHex, text, "meshId is 32 hex digits"),
);

const PUBLIC_KEY = textLike("a public key is text, base64", (text) => {
  const key = exactly(X25519_LENGTH, fromBase64, text, "a public key is 32 bytes in base64");
  if (isLowOrderPoint(key)) throw new SyntaxError("that public key is a point of low order");
  return key;
});

const PRIVATE_KEY = textLike(
  "a private key is text, base64",
  (text) => exactly(X25519_LENGTH, fromBase64, text, "a private key is 32 bytes in base64"),
);

const LISTEN = textLike(
  "listen is text, as in 0.0.0.0:51820",
  (text): Listen => {
    const match = /^(0\.0\.0\.0|\[::\]):(\d{1,5})$/.exec(text);
    const port = Number(match?.[2]);
    if (match === null || port > 65_535) {
      throw new SyntaxError(
        "listen is 0.0.0.0:PORT for IPv4 alone, or [::]:PORT for IPv6 and IPv4",
      );
    }
    return { port, hasIpv6: match[1] === "[::]" };
  },
);

const OWN_ADDRESS = textLike(
  "an address is text, as in 10.9.0.1/24",
  (text): IpPrefix => {
    const address = parseIpAddress(text.split("/", 1)[0]!);
    requireUnicast(address, text);
    const { length } = parseIpPrefix(text, { hostBits: "mask" });
    if (length < SHORTEST_NETWORK) throw new SyntaxError(`${text} is in too large a network`);
    return { address, length };
  },
);

const CLIENT_IP = textLike("clientIp is an address, as in 10.9.0.2", (text): IpAddress => {
  const address = parseIpAddress(text);
  requireUnicast(address, text);
  return address;
});

const ALLOWED_IP = textLike(
  "an allowed prefix is text, as in 10.9.0.2/32",
  (text): IpPrefix => parseIpPrefix(text),
);

const ENDPOINT = textLike(
  "an endpoint is text, as in 203.0.113.7:51820",
  (text): Endpoint => {
    let endpoint: Endpoint;
    try {
      endpoint = parseEndpoint(text);
    } catch (cause) {
      const rule =
        "an endpoint is an address and a port, as in 203.0.113.7:51820 or [2001:db8::7]:51820";
      throw new SyntaxError(rule, { cause });
    }
    if (endpoint.port === 0) throw new SyntaxError("an endpoint's port is 1 to 65535");
    requireUnicast(endpoint.address, text);
    return endpoint;
  },
);

const KEEPALIVE = textLike(
  "keepalive is a time such as 25s",
  (text) => {
    const seconds = Number(/^(\d{1,3})s$/.exec(text)?.[1]);
    if (seconds >= 1 && seconds <= MAX_KEEPALIVE_SECONDS) return seconds * 1000;
    throw new SyntaxError(`keepalive is 1s to ${MAX_KEEPALIVE_SECONDS}s`);
  },
);

const PEER_NAME = z.string("a name is text").regex(
  /^[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?$/,
  "a name is 1 to 63 letters, digits, dots, hyphens and underscores",
);

const ALLOWED_PEER = z.strictObject({
  name: PEER_NAME,
  publicKey: PUBLIC_KEY,
  enabled: z.boolean("enabled is true or false").optional(),
  clientIp: CLIENT_IP.optional(),
  allowedIps: z.array(ALLOWED_IP, "allowedIps is a list of prefixes").optional(),
  endpoint: ENDPOINT.optional(),
  keepalive: KEEPALIVE.optional(),
}, { error: "an allowed peer has a name, a publicKey and its addresses" });

const FLAG = (name: string) => z.boolean(`${name} is true or false`).optional();

/** The configuration file of `up`. */
export const ALLOWED_PEERS_SCHEMA = z.strictObject({
  profile: z.literal("allowed-peers", "profile is allowed-peers"),
  meshId: MESH_ID,
  name: PEER_NAME.optional(),
  privateKeyFile: z.string("privateKeyFile is a path").min(1, "a path is not empty").optional(),
  privateKey: PRIVATE_KEY.optional(),
  listen: LISTEN.optional(),
  interface: AGENT_SCHEMA.shape.interface,
  mtu: AGENT_SCHEMA.shape.mtu,
  addresses: z.array(OWN_ADDRESS, "addresses is a list such as [10.9.0.1/24]")
    .min(1, "addresses is an empty list"),
  allowedPeers: z.array(ALLOWED_PEER, "allowedPeers is a list of peers"),
  masquerade: FLAG("masquerade"),
  defaultRoute: FLAG("defaultRoute"),
  session: COORDINATOR_SCHEMA.shape.session,
  dataPlane: AGENT_SCHEMA.shape.dataPlane,
  logLevel: AGENT_SCHEMA.shape.logLevel,
});

/** What the schema makes of a file. */
export type AllowedPeersFile = z.output<typeof ALLOWED_PEERS_SCHEMA>;

function exactly(
  length: number,
  decode: (text: string) => Uint8Array,
  text: string,
  rule: string,
): Uint8Array {
  let bytes: Uint8Array | undefined;
  try {
    bytes = decode(text);
  } catch {
    // Said below, without what stood there: it may be half of a key.
  }
  if (bytes?.length !== length) throw new SyntaxError(rule);
  return bytes;
}

function requireUnicast(address: IpAddress, text: string): void {
  if (!isUnicast(address)) throw new SyntaxError(`${text} is no address of a single machine`);
}
