/**
 * The bodies of the control channel (protocol.md §2): JSON objects with a `kind`, what an agent says
 * and what the coordinator says. Addresses and endpoints travel as canonical text; who uses them
 * parses them (lib/net). Keys travel as base64url and are bytes once decoded.
 *
 * ```
 * agent → coordinator    hello, endpoints, ssh, heartbeat, psk-ack, relay-ticket, invite, connect,
 *                        leave
 * coordinator → agent    welcome, psks, roster, presence, discovery-key, relay-ticket, invite,
 *                        invite-refused, peer-wants, heartbeat
 * ```
 *
 * The order after the handshake: the agent's `hello`; then `welcome`, `psks`, `roster` and `presence`
 * (full) of the coordinator; from then on each as it happens.
 *
 * @module
 */

import {
  blob,
  type Codec,
  type Fields,
  integer,
  list,
  MessageError,
  object,
  oneOf,
  text,
} from "./json_codec.ts";

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

/** How a node reaches others, and may be reached, by SSH (protocol.md §6). */
export interface SshReach {
  /** Binary public keys, one of which its SSH server proves. */
  readonly hostKeys: readonly Uint8Array[];
  /** Binary public key that it connects with. */
  readonly clientKey: Uint8Array;
  /** Where its SSH server is, `[user@]host:port`; none if it has none. */
  readonly endpoints: readonly string[];
}

/** Still there; sent by the agent every `heartbeatMs` of the welcome and answered likewise. */
export interface Heartbeat {
  readonly kind: "heartbeat";
}

/** A body of a kind that this version does not know: count it and go on. */
export interface UnknownMessage {
  readonly kind: "unknown";
  /** The kind as it was named, at most 64 characters. */
  readonly named: string;
}

/** Seconds and versions stay exact in a JSON number. */
export const SAFE_INTEGER = Number.MAX_SAFE_INTEGER;
/** An epoch fits four bytes. */
export const MAX_EPOCH = 0xffff_ffff;
/** An agent has a handful of addresses; more would only be load for its peers. */
const MAX_ENDPOINTS = 32;

/** The list of where a node may be reached. */
export const ENDPOINTS = list(
  object<EndpointHint>({ endpoint: text(64), source: text(16) }),
  MAX_ENDPOINTS,
);
/** Layout of a {@linkcode Statement}. */
export const STATEMENT = object<Statement>({
  sshPublicKey: blob(4096), // RSA of 16,384 bits: 2,071
  signature: blob(8192),
  signedAt: integer(0, SAFE_INTEGER),
});
/** Fields of an {@linkcode SshReach}, for the body that says one. */
export const SSH_FIELDS: Fields<SshReach> = {
  hostKeys: list(blob(4096), 8),
  clientKey: blob(4096),
  endpoints: list(text(330), 32),
};
/** Layout of an {@linkcode SshReach}, for whoever stores it or has it in a record. */
export const SSH_REACH: Codec<SshReach> = object<SshReach>(SSH_FIELDS);
/** Layout of the number that a wish for an invite and its answer have in common. */
export const INVITE_REQUEST = integer(0, 0xffff_ffff);
/** Layout of a {@linkcode Heartbeat}, which both sides say. */
export const HEARTBEAT = object<Heartbeat>({ kind: oneOf("heartbeat") });

/** What one side may say: kind => layout. */
export type CodecsOf<M extends { kind: string }> = {
  readonly [K in M["kind"]]: Codec<Extract<M, { kind: K }>>;
};

const utf8Encoder = new TextEncoder();
const utf8Decoder = new TextDecoder("utf-8", { fatal: true });

/**
 * The body of a message; owned by the caller.
 *
 * @throws {TypeError} when no layout has the message's kind.
 */
export function encodeBody<M extends { kind: string }>(
  codecs: { readonly [kind: string]: Codec<unknown> },
  message: M,
): Uint8Array {
  // The table is indexed by the kind that the message was declared with.
  const codec = codecs[message.kind];
  if (codec === undefined) throw new TypeError(`Cannot encode a message of kind "${message.kind}"`);
  return utf8Encoder.encode(JSON.stringify(codec.encode(message)));
}

/**
 * Reads a body.
 *
 * @param body Borrowed until the call returns.
 * @throws {MessageError} when the body is no JSON object, or a field is missing or wrong.
 */
export function decodeBody<M>(
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
