/**
 * What two machines say to each other after a pairing handshake (docs/protocol.md §8): JSON objects
 * with a `kind`, each in one datagram.
 *
 * ```
 * either      hello, then verdict, then done when all is kept
 * inviter     invite, when both verdicts are yes
 * ```
 *
 * They come from somebody whom nobody has looked at yet: who reads them must expect anything.
 *
 * @module
 */

import { utf8 } from "../base/bytes.ts";
import { BOOLEAN, type Codec, MessageError, object, oneOf, optional, text } from "./json_codec.ts";

/** Who this side says it is, and what it wants. */
export interface PairHello {
  readonly kind: "hello";
  /** What it calls itself: a name proves nothing. */
  readonly name: string;
  /** A network of the two alone, or the other one into this one's mesh. */
  readonly purpose: "static" | "invite";
  /** IPv4 network for the two alone, where this side chooses one. */
  readonly range?: string;
}

/** Whether the person at this side says that the other's fingerprint is right. */
export interface PairVerdict {
  readonly kind: "verdict";
  readonly isConfirmed: boolean;
}

/** What admits the other side to a mesh; a secret. */
export interface PairInvite {
  readonly kind: "invite";
  /** URL of the coordinator. */
  readonly coordinator: string;
  readonly token: string;
}

/** This side has written down all that it keeps. */
export interface PairDone {
  readonly kind: "done";
}

/** Any of them. */
export type PairMessage = PairHello | PairVerdict | PairInvite | PairDone;

/** What may be said: kind => layout. */
const CODECS: {
  readonly [K in PairMessage["kind"]]: Codec<Extract<PairMessage, { kind: K }>>;
} = {
  "hello": object<PairHello>({
    kind: oneOf("hello"),
    name: text(63),
    purpose: oneOf("static", "invite"),
    range: optional(text(18)),
  }),
  "verdict": object<PairVerdict>({ kind: oneOf("verdict"), isConfirmed: BOOLEAN }),
  "invite": object<PairInvite>({ kind: oneOf("invite"), coordinator: text(300), token: text(200) }),
  "done": object<PairDone>({ kind: oneOf("done") }),
};

/** Writes a message. */
export function encodePairMessage(message: PairMessage): Uint8Array {
  const codec: Codec<PairMessage> = CODECS[message.kind];
  return utf8(JSON.stringify(codec.encode(message)));
}

/**
 * Reads a message.
 *
 * @param body Borrowed until the call returns.
 * @returns `undefined` for a kind of a later version.
 * @throws {MessageError} If it is not what its kind says.
 */
export function decodePairMessage(body: Uint8Array): PairMessage | undefined {
  let json: unknown;
  try {
    json = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(body));
  } catch (cause) {
    throw new MessageError("Cannot read pairing message: it is no JSON", { cause });
  }
  const kind = typeof json === "object" && json !== null && "kind" in json ? json.kind : undefined;
  if (typeof kind !== "string") throw new MessageError("Cannot read pairing message: no kind");
  if (!Object.hasOwn(CODECS, kind)) return undefined;
  const codec: Codec<PairMessage> = CODECS[kind as PairMessage["kind"]];
  return codec.decode(json, kind);
}
