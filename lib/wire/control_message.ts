/**
 * The bodies of the control channel (protocol.md §2): JSON objects with a `kind`, what an agent says
 * and what the coordinator says. Addresses and endpoints travel as canonical text; who uses them
 * parses them (lib/net). Keys travel as base64url and are bytes once decoded.
 *
 * ```
 * agent → coordinator    hello, endpoints, ssh, heartbeat, psk-ack, relay-ticket, connect, leave
 * coordinator → agent    welcome, psks, roster, presence, discovery-key, relay-ticket, peer-wants,
 *                        heartbeat
 * ```
 *
 * The order after the handshake: the agent's `hello`; then `welcome`, `psks`, `roster` and `presence`
 * (full) of the coordinator; from then on each as it happens.
 *
 * @module
 */

import {
  blob,
  BOOLEAN,
  bytes,
  type Codec,
  type Fields,
  integer,
  list,
  MessageError,
  NODE_ID,
  object,
  oneOf,
  optional,
  record,
  text,
} from "./json_codec.ts";

export { MessageError } from "./json_codec.ts";

/** One way a node may be reached by datagrams. */
export interface EndpointHint {
  /** `1.2.3.4:5` or `[2001:db8::1]:5`. */
  readonly endpoint: string;
  /** How it was learned: `local`, `discovered` or `mapped`; later versions may know more. */
  readonly source: string;
}

/** The identity statement: this SSH key says that it owns this static key (protocol.md §1). */
export interface Statement {
  /** Binary public key, as in the second column of an OpenSSH public key file. */
  readonly sshPublicKey: Uint8Array;
  /** Binary SSHSIG. */
  readonly signature: Uint8Array;
  /** Unix seconds that were signed. */
  readonly signedAt: number;
}

/** The first body of an agent. */
export interface Hello {
  readonly kind: "hello";
  /** Name and version of the program, such as `tunnelmesh 0.1.0`. */
  readonly software: string;
  /** Operating system, such as `linux`. */
  readonly os?: string;
  /** The name wished for; without one, a member keeps its own. Needed to join. */
  readonly name?: string;
  /** Whether a person chose the name: then a clash is refused instead of given a suffix. */
  readonly nameIsExplicit: boolean;
  /** Needed to join; a member may leave it out. */
  readonly statement?: Statement;
  /** Version of the roster copy held; 0: none. */
  readonly rosterVersion: number;
  /** Lineage of that copy, as {@linkcode Roster.lineage} said. */
  readonly rosterLineage?: string;
  /** Where this node may be reached. */
  readonly endpoints: readonly EndpointHint[];
}

/** The node's endpoints changed: the whole list. */
export interface Endpoints {
  readonly kind: "endpoints";
  readonly endpoints: readonly EndpointHint[];
}

/** How a node reaches others, and may be reached, by SSH (protocol.md §6). */
export interface SshReach {
  /** Binary public keys, one of which its SSH server proves. */
  readonly hostKeys: readonly Uint8Array[];
  /** Binary public key that it connects with. */
  readonly clientKey: Uint8Array;
  /** Where its SSH server is, `[user@]host:port`; none if it has none. */
  readonly endpoints: readonly string[];
}

/** The node's {@linkcode SshReach} changed, or is said for the first time on this connection. */
export interface Ssh extends SshReach {
  readonly kind: "ssh";
}

/** Still there; sent by the agent every `heartbeatMs` of the welcome and answered likewise. */
export interface Heartbeat {
  readonly kind: "heartbeat";
}

/** The mesh PSK of this epoch is stored and can be used. */
export interface PskAck {
  readonly kind: "psk-ack";
  readonly epoch: number;
}

/** This node wants to connect to the relay (protocol.md §6). */
export interface RelayTicketRequest {
  readonly kind: "relay-ticket";
}

/**
 * This node seeks a peer, and wants it to do the same now, so that both open their NATs from inside
 * (protocol.md §6). Nothing comes back; an unknown or absent peer is told nothing.
 */
export interface Connect {
  readonly kind: "connect";
  /** Node id. */
  readonly peer: string;
}

/** This node wants to be removed from the mesh. The coordinator answers by closing with 1000. */
export interface Leave {
  readonly kind: "leave";
}

/** What agents say. */
export type ClientMessage =
  | Hello
  | Endpoints
  | Ssh
  | Heartbeat
  | PskAck
  | RelayTicketRequest
  | Connect
  | Leave;

/** Addresses of a node inside the mesh, canonical text. */
export interface NodeAddresses {
  readonly ipv4: string;
  readonly ipv6: string;
}

/** What holds for the whole mesh. */
export interface MeshSettings {
  /** 16 bytes. */
  readonly id: Uint8Array;
  /** Prefix that IPv4 addresses come from. */
  readonly ipv4Range: string;
  /** Prefix that IPv6 addresses come from, a ULA /48. */
  readonly ipv6Range: string;
  /** The packet policy in force. */
  readonly policy: "allow-all";
  /** Whether a session is bound to its path (protocol.md §5). */
  readonly binding: "strict" | "roam";
  /** Session limits that are lower than the defaults, by name. */
  readonly limits: Readonly<Record<string, number>>;
}

/** Under which key to ask for the own public endpoint (protocol.md §6). */
export interface DiscoveryCredential {
  /** 8 bytes. */
  readonly id: Uint8Array;
  /** 32 bytes. */
  readonly key: Uint8Array;
}

/** The first body of the coordinator: who you are. */
export interface Welcome {
  readonly kind: "welcome";
  readonly nodeId: string;
  readonly name: string;
  readonly addresses: NodeAddresses;
  /** 32 bytes; the credential of every later connection. Keep it before using anything else. */
  readonly memberPsk: Uint8Array;
  readonly mesh: MeshSettings;
  /** UDP ports of the coordinator that answer discovery, none if it has none. */
  readonly udpPorts: readonly number[];
  readonly discovery: DiscoveryCredential;
  /** Coordinator's time, unix milliseconds. */
  readonly unixMs: number;
  /** How often to send a heartbeat; three missed ones mean offline. */
  readonly heartbeatMs: number;
  /** Software of the coordinator. */
  readonly software: string;
}

/** A mesh PSK with its epoch. */
export interface EpochPsk {
  readonly epoch: number;
  /** 32 bytes. */
  readonly psk: Uint8Array;
}

/** The mesh PSKs in force; replaces what was known. */
export interface Psks {
  readonly kind: "psks";
  readonly previous?: EpochPsk;
  readonly current: EpochPsk;
  readonly next?: EpochPsk;
}

/** A member as every other member sees it. */
export interface NodeRecord {
  readonly nodeId: string;
  readonly name: string;
  /** X25519 public key, 32 bytes; its SHA-256 is the node id. */
  readonly staticKey: Uint8Array;
  readonly addresses: NodeAddresses;
  readonly statement: Statement;
  /** Last known; fresher ones come by `presence`. */
  readonly endpoints: readonly EndpointHint[];
  readonly os?: string;
  /** Absent until the node has said it. */
  readonly ssh?: SshReach;
}

/**
 * A change of the roster, the receiver itself included. `full` replaces the copy held; otherwise
 * `upserts` and `removes` change it. A long full roster comes in several bodies: the first is `full`,
 * all but the last have `version` 0.
 */
export interface Roster {
  readonly kind: "roster";
  /** Version of the copy once this body is applied; 0: incomplete, do not keep as a version. */
  readonly version: number;
  /** Which history the version counts in; another one after a restore. */
  readonly lineage: string;
  readonly full: boolean;
  readonly upserts: readonly NodeRecord[];
  /** Node ids. */
  readonly removes: readonly string[];
}

/** A node that is connected, and where it says it may be reached. */
export interface OnlineNode {
  readonly nodeId: string;
  readonly endpoints: readonly EndpointHint[];
}

/** Who is connected. `full`: everybody not in `online` is offline. Not versioned, never stored. */
export interface Presence {
  readonly kind: "presence";
  readonly full: boolean;
  /** Nodes that came online or changed their endpoints. */
  readonly online: readonly OnlineNode[];
  /** Node ids. */
  readonly offline: readonly string[];
}

/** A fresh discovery key, before the one held grows too old. */
export interface DiscoveryKey {
  readonly kind: "discovery-key";
  readonly discovery: DiscoveryCredential;
}

/** What lets the node connect to the relay, once, within a minute. */
export interface RelayTicket {
  readonly kind: "relay-ticket";
  /** 32 bytes. A secret. */
  readonly ticket: Uint8Array;
}

/** A peer seeks this node at this moment: seek it as well. */
export interface PeerWants {
  readonly kind: "peer-wants";
  /** Who. */
  readonly nodeId: string;
  /** Where it says it may be reached. */
  readonly endpoints: readonly EndpointHint[];
}

/** What the coordinator says. */
export type ServerMessage =
  | Welcome
  | Psks
  | Roster
  | Presence
  | DiscoveryKey
  | RelayTicket
  | PeerWants
  | Heartbeat;

/** Seconds and versions stay exact in a JSON number. */
const SAFE = Number.MAX_SAFE_INTEGER;
const U32 = 0xffff_ffff;
/** An agent has a handful of addresses; more would only be load for its peers. */
const MAX_ENDPOINTS = 32;
const MAX_NODES = 100_000;

const ENDPOINTS = list(
  object<EndpointHint>({ endpoint: text(64), source: text(16) }),
  MAX_ENDPOINTS,
);
const ADDRESSES = object<NodeAddresses>({ ipv4: text(15), ipv6: text(39) });
const STATEMENT = object<Statement>({
  sshPublicKey: blob(4096), // RSA of 16,384 bits: 2,071
  signature: blob(8192),
  signedAt: integer(0, SAFE),
});
const SSH_FIELDS: Fields<SshReach> = {
  hostKeys: list(blob(4096), 8),
  clientKey: blob(4096),
  endpoints: list(text(330), 32),
};
/** For whoever stores it. */
export const SSH_REACH: Codec<SshReach> = object<SshReach>(SSH_FIELDS);
const EPOCH_PSK = object<EpochPsk>({ epoch: integer(0, U32), psk: bytes(32) });
const DISCOVERY = object<DiscoveryCredential>({ id: bytes(8), key: bytes(32) });
const NODE = object<NodeRecord>({
  nodeId: NODE_ID,
  name: text(63),
  staticKey: bytes(32),
  addresses: ADDRESSES,
  statement: STATEMENT,
  endpoints: ENDPOINTS,
  os: optional(text(32)),
  ssh: optional(SSH_REACH),
});
const HEARTBEAT = object<Heartbeat>({ kind: oneOf("heartbeat") });

/** What an agent may say: kind => layout. */
const CLIENT_CODECS: { readonly [K in ClientMessage["kind"]]: Codec<KindOf<ClientMessage, K>> } = {
  "hello": object<Hello>({
    kind: oneOf("hello"),
    software: text(64),
    os: optional(text(32)),
    name: optional(text(255)),
    nameIsExplicit: BOOLEAN,
    statement: optional(STATEMENT),
    rosterVersion: integer(0, SAFE),
    rosterLineage: optional(text(64)),
    endpoints: ENDPOINTS,
  }),
  "endpoints": object<Endpoints>({ kind: oneOf("endpoints"), endpoints: ENDPOINTS }),
  "ssh": object<Ssh>({ kind: oneOf("ssh"), ...SSH_FIELDS }),
  "heartbeat": HEARTBEAT,
  "psk-ack": object<PskAck>({ kind: oneOf("psk-ack"), epoch: integer(0, U32) }),
  "relay-ticket": object<RelayTicketRequest>({ kind: oneOf("relay-ticket") }),
  "connect": object<Connect>({ kind: oneOf("connect"), peer: NODE_ID }),
  "leave": object<Leave>({ kind: oneOf("leave") }),
};

/** What the coordinator may say: kind => layout. */
const SERVER_CODECS: { readonly [K in ServerMessage["kind"]]: Codec<KindOf<ServerMessage, K>> } = {
  "welcome": object<Welcome>({
    kind: oneOf("welcome"),
    nodeId: NODE_ID,
    name: text(63),
    addresses: ADDRESSES,
    memberPsk: bytes(32),
    mesh: object<MeshSettings>({
      id: bytes(16),
      ipv4Range: text(18),
      ipv6Range: text(43),
      policy: oneOf("allow-all"),
      binding: oneOf("strict", "roam"),
      limits: record(integer(0, SAFE), 64),
    }),
    udpPorts: list(integer(1, 65535), 8),
    discovery: DISCOVERY,
    unixMs: integer(0, SAFE),
    heartbeatMs: integer(1, 3_600_000),
    software: text(64),
  }),
  "psks": object<Psks>({
    kind: oneOf("psks"),
    previous: optional(EPOCH_PSK),
    current: EPOCH_PSK,
    next: optional(EPOCH_PSK),
  }),
  "roster": object<Roster>({
    kind: oneOf("roster"),
    version: integer(0, SAFE),
    lineage: text(64),
    full: BOOLEAN,
    upserts: list(NODE, MAX_NODES),
    removes: list(NODE_ID, MAX_NODES),
  }),
  "presence": object<Presence>({
    kind: oneOf("presence"),
    full: BOOLEAN,
    online: list(object<OnlineNode>({ nodeId: NODE_ID, endpoints: ENDPOINTS }), MAX_NODES),
    offline: list(NODE_ID, MAX_NODES),
  }),
  "discovery-key": object<DiscoveryKey>({ kind: oneOf("discovery-key"), discovery: DISCOVERY }),
  "relay-ticket": object<RelayTicket>({ kind: oneOf("relay-ticket"), ticket: bytes(32) }),
  "peer-wants": object<PeerWants>({
    kind: oneOf("peer-wants"),
    nodeId: NODE_ID,
    endpoints: ENDPOINTS,
  }),
  "heartbeat": HEARTBEAT,
};

type KindOf<M extends { kind: string }, K extends string> = Extract<M, { kind: K }>;

/** A body of a kind that this version does not know: count it and go on. */
export interface UnknownMessage {
  readonly kind: "unknown";
  /** The kind as it was named, at most 64 characters. */
  readonly named: string;
}

/** The body of a message of an agent; owned by the caller. */
export function encodeClientMessage(message: ClientMessage): Uint8Array {
  return encode(CLIENT_CODECS, message);
}

/** The body of a message of the coordinator; owned by the caller. */
export function encodeServerMessage(message: ServerMessage): Uint8Array {
  return encode(SERVER_CODECS, message);
}

/**
 * Reads what an agent said.
 *
 * @param body Borrowed until the call returns.
 * @throws {MessageError} when the body is no JSON object, or a field is missing or wrong.
 */
export function decodeClientMessage(body: Uint8Array): ClientMessage | UnknownMessage {
  return decode<ClientMessage>(CLIENT_CODECS, body);
}

/**
 * Reads what the coordinator said.
 *
 * @param body Borrowed until the call returns.
 * @throws {MessageError} when the body is no JSON object, or a field is missing or wrong.
 */
export function decodeServerMessage(body: Uint8Array): ServerMessage | UnknownMessage {
  return decode<ServerMessage>(SERVER_CODECS, body);
}

const utf8Encoder = new TextEncoder();
const utf8Decoder = new TextDecoder("utf-8", { fatal: true });

function encode<M extends { kind: string }>(
  codecs: { readonly [kind: string]: Codec<unknown> },
  message: M,
): Uint8Array {
  // The table is indexed by the kind that the message was declared with.
  const codec = codecs[message.kind];
  if (codec === undefined) throw new TypeError(`Cannot encode a message of kind "${message.kind}"`);
  return utf8Encoder.encode(JSON.stringify(codec.encode(message)));
}

function decode<M>(
  codecs: { readonly [kind: string]: Codec<M> },
  body: Uint8Array,
): M | UnknownMessage {
  let json: unknown;
  try {
    json = JSON.parse(utf8Decoder.decode(body));
  } catch {
    throw new MessageError("Cannot read a control message: it is not JSON");
  }
  if (typeof json !== "object" || json === null || !Object.hasOwn(json, "kind")) {
    throw new MessageError("Cannot read a control message: it has no kind");
  }
  const { kind } = json as { kind: unknown };
  if (typeof kind !== "string") {
    throw new MessageError("Cannot read a control message: its kind is no text");
  }
  const codec = Object.hasOwn(codecs, kind) ? codecs[kind] : undefined;
  if (codec === undefined) return { kind: "unknown", named: kind.slice(0, 64) };
  return codec.decode(json, kind);
}
