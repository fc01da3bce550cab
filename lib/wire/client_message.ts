/**
 * What an agent says on the control channel (protocol.md §2).
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
  SSH_FIELDS,
  type SshReach,
  STATEMENT,
  type Statement,
  type UnknownMessage,
} from "./control_message.ts";
import { BOOLEAN, integer, NODE_ID, object, oneOf, optional, text } from "./json_codec.ts";

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
  /** Lineage of that copy, as `lineage` of the coordinator's roster said. */
  readonly rosterLineage?: string;
  /** Where this node may be reached. */
  readonly endpoints: readonly EndpointHint[];
}

/** The node's endpoints changed: the whole list. */
export interface Endpoints {
  readonly kind: "endpoints";
  readonly endpoints: readonly EndpointHint[];
}

/** The node's {@linkcode SshReach} changed, or is said for the first time on this connection. */
export interface Ssh extends SshReach {
  readonly kind: "ssh";
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

/** This node wants to invite somebody into the mesh; an `invite` or `invite-refused` comes back. */
export interface InviteRequest {
  readonly kind: "invite";
  /** By which the answer is known, u32. */
  readonly request: number;
  /** Name of the node that it is for. */
  readonly name: string;
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
  | InviteRequest
  | Connect
  | Leave;

/** What an agent may say: kind => layout. */
const CODECS: CodecsOf<ClientMessage> = {
  "hello": object<Hello>({
    kind: oneOf("hello"),
    software: text(64),
    os: optional(text(32)),
    name: optional(text(255)),
    nameIsExplicit: BOOLEAN,
    statement: optional(STATEMENT),
    rosterVersion: integer(0, SAFE_INTEGER),
    rosterLineage: optional(text(64)),
    endpoints: ENDPOINTS,
  }),
  "endpoints": object<Endpoints>({ kind: oneOf("endpoints"), endpoints: ENDPOINTS }),
  "ssh": object<Ssh>({ kind: oneOf("ssh"), ...SSH_FIELDS }),
  "heartbeat": HEARTBEAT,
  "psk-ack": object<PskAck>({ kind: oneOf("psk-ack"), epoch: integer(0, MAX_EPOCH) }),
  "relay-ticket": object<RelayTicketRequest>({ kind: oneOf("relay-ticket") }),
  "invite": object<InviteRequest>({
    kind: oneOf("invite"),
    request: INVITE_REQUEST,
    name: text(63),
  }),
  "connect": object<Connect>({ kind: oneOf("connect"), peer: NODE_ID }),
  "leave": object<Leave>({ kind: oneOf("leave") }),
};

/** The body of a message of an agent; owned by the caller. */
export function encodeClientMessage(message: ClientMessage): Uint8Array {
  return encodeBody(CODECS, message);
}

/**
 * Reads what an agent said.
 *
 * @param body Borrowed until the call returns.
 * @throws {MessageError} when the body is no JSON object, or a field is missing or wrong.
 */
export function decodeClientMessage(body: Uint8Array): ClientMessage | UnknownMessage {
  return decodeBody<ClientMessage>(CODECS, body);
}
