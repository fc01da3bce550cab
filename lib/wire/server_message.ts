/**
 * What the coordinator says on the control channel (protocol.md §2).
 *
 * @module
 */

import {
  type CodecsOf,
  decodeBody,
  encodeBody,
  type EndpointHint,
  ENDPOINTS,
  HEARTBEAT,
  type Heartbeat,
  INVITE_REQUEST,
  MAX_EPOCH,
  SAFE_INTEGER,
  SSH_REACH,
  type SshReach,
  STATEMENT,
  type Statement,
  type UnknownMessage,
} from "./control_message.ts";
import {
  BOOLEAN,
  bytes,
  integer,
  list,
  NODE_ID,
  object,
  oneOf,
  optional,
  record,
  text,
} from "./json_codec.ts";

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
  /** Whether members may ask for invites; absent: they may not. */
  readonly memberInvites?: boolean;
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

/** What the node asked for: with mesh id and coordinator key it is the text of a token. */
export interface Invite {
  readonly kind: "invite";
  /** As it was asked. */
  readonly request: number;
  /** 32 bytes. A secret. */
  readonly joinSecret: Uint8Array;
}

/** Why a member gets no invite. */
export const INVITE_REFUSALS = [
  "not-allowed",
  "too-many",
  "bad-name",
  "reserved-name",
  "storage-failure",
] as const;

/** There is no invite for the node. */
export interface InviteRefused {
  readonly kind: "invite-refused";
  /** As it was asked. */
  readonly request: number;
  readonly reason: typeof INVITE_REFUSALS[number];
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
  | Invite
  | InviteRefused
  | PeerWants
  | Heartbeat;

const MAX_NODES = 100_000;

const ADDRESSES = object<NodeAddresses>({ ipv4: text(15), ipv6: text(39) });
const EPOCH_PSK = object<EpochPsk>({ epoch: integer(0, MAX_EPOCH), psk: bytes(32) });
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

/** What the coordinator may say: kind => layout. */
const CODECS: CodecsOf<ServerMessage> = {
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
      limits: record(integer(0, SAFE_INTEGER), 64),
      memberInvites: optional(BOOLEAN),
    }),
    udpPorts: list(integer(1, 65535), 8),
    discovery: DISCOVERY,
    unixMs: integer(0, SAFE_INTEGER),
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
    version: integer(0, SAFE_INTEGER),
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
  "invite": object<Invite>({
    kind: oneOf("invite"),
    request: INVITE_REQUEST,
    joinSecret: bytes(32),
  }),
  "invite-refused": object<InviteRefused>({
    kind: oneOf("invite-refused"),
    request: INVITE_REQUEST,
    reason: oneOf(...INVITE_REFUSALS),
  }),
  "peer-wants": object<PeerWants>({
    kind: oneOf("peer-wants"),
    nodeId: NODE_ID,
    endpoints: ENDPOINTS,
  }),
  "heartbeat": HEARTBEAT,
};

/** The body of a message of the coordinator; owned by the caller. */
export function encodeServerMessage(message: ServerMessage): Uint8Array {
  return encodeBody(CODECS, message);
}

/**
 * Reads what the coordinator said.
 *
 * @param body Borrowed until the call returns.
 * @throws {MessageError} when the body is no JSON object, or a field is missing or wrong.
 */
export function decodeServerMessage(body: Uint8Array): ServerMessage | UnknownMessage {
  return decodeBody<ServerMessage>(CODECS, body);
}
