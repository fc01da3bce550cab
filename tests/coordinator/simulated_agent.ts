/**
 * The control side of an agent, enough to join, be told things and go: over a real WebSocket, or
 * over the memory listener.
 *
 * @module
 */

import { generateKeyPair, type KeyPair } from "../../lib/crypto/x25519.ts";
import { type ClientCredential, ControlClient } from "../../lib/session/control_channel.ts";
import { joinPskOf, parseToken, tokenIdOf } from "../../lib/token/token.ts";
import {
  type ClientMessage,
  encodeClientMessage,
  type Hello,
} from "../../lib/wire/client_message.ts";
import {
  decodeServerMessage,
  type NodeRecord,
  type ServerMessage,
} from "../../lib/wire/server_message.ts";

/** The kinds of message that come from the coordinator, by kind. */
export type OfKind<K extends ServerMessage["kind"]> = Extract<ServerMessage, { kind: K }>;

/** A way to the coordinator, as far as an agent sees it. */
export interface Wire {
  send(message: Uint8Array): void;
  close(): void;
}

/** A hello that joins, with a statement that a permissive verifier takes. */
export function helloOf(name: string, change: Partial<Hello> = {}): Hello {
  return {
    kind: "hello",
    software: "tunnelmesh test",
    os: "linux",
    name,
    nameIsExplicit: false,
    statement: {
      sshPublicKey: new TextEncoder().encode(`key of ${name}`),
      signature: new TextEncoder().encode(`signature of ${name}`),
      signedAt: 1_800_000_000,
    },
    rosterVersion: 0,
    endpoints: [{ endpoint: "192.0.2.1:5000", source: "local" }],
    ...change,
  };
}

/** The credential and coordinator key that a token text gives. */
export function credentialOf(token: string): {
  meshId: Uint8Array;
  coordinatorKey: Uint8Array;
  credential: ClientCredential;
} {
  const { meshId, coordinatorKey, joinSecret } = parseToken(token);
  return {
    meshId,
    coordinatorKey,
    credential: { kind: "token", tokenId: tokenIdOf(joinSecret), joinPsk: joinPskOf(joinSecret) },
  };
}

/** What an agent is made of. */
export interface SimulatedAgentOptions {
  readonly token: string;
  readonly hello: Hello;
  readonly staticKey?: KeyPair;
  /** Credential instead of the token's. */
  readonly credential?: ClientCredential;
  /** Only counts what comes after the greeting, so that a thousand of them cost little. */
  readonly isDeaf?: boolean;
}

/** One agent's control connection. */
export class SimulatedAgent {
  readonly staticKey: KeyPair;
  /** Everything the coordinator said, oldest first. */
  readonly heard: ServerMessage[] = [];
  /** The roster as the agent has it. */
  readonly roster = new Map<string, NodeRecord>();
  rosterVersion = 0;
  readonly online = new Set<string>();
  /** Code and reason of the close, once there was one. */
  closed: { code: number; reason: string } | undefined;
  /** Bytes of sealed messages received. */
  receivedBytes = 0;
  /** Every message sent, for replays. */
  readonly sent: Uint8Array[] = [];
  readonly #client: ControlClient;
  readonly #hello: Hello;
  readonly #isDeaf: boolean;
  #wire: Wire | undefined;
  #waiters: { isMet: () => boolean; resolve: () => void }[] = [];

  constructor(options: SimulatedAgentOptions) {
    this.staticKey = options.staticKey ?? generateKeyPair();
    this.#hello = options.hello;
    this.#isDeaf = options.isDeaf ?? false;
    const { meshId, coordinatorKey, credential } = credentialOf(options.token);
    this.#client = new ControlClient({
      meshId,
      coordinatorKey,
      staticKey: this.staticKey,
      credential: options.credential ?? credential,
    });
  }

  /** The wire is open: sends message 1. */
  opened(wire: Wire): void {
    this.#wire = wire;
    this.#send(this.#client.start());
  }

  /** A message came. */
  received(message: Uint8Array): void {
    this.receivedBytes += message.length;
    if (this.#isDeaf && this.said("presence") !== undefined) return this.#settle();
    const { bodies, opened } = this.#client.receive(message);
    if (opened) this.say(this.#hello);
    for (const body of bodies) {
      const said = decodeServerMessage(body);
      if (said.kind === "unknown") throw new TypeError(`unknown kind ${said.named}`);
      this.heard.push(said);
      this.#take(said);
    }
    this.#settle();
  }

  /** The wire was closed. */
  ended(code: number, reason: string): void {
    this.closed = { code, reason };
    this.#settle();
  }

  /** Says something. */
  say(message: ClientMessage): void {
    this.sayBody(encodeClientMessage(message));
  }

  /** Says something that may be no message at all. */
  sayBody(body: Uint8Array): void {
    for (const sealed of this.#client.seal(body)) this.#send(sealed);
  }

  /** Closes from this side. */
  hangUp(): void {
    this.#wire?.close();
  }

  /** The first message of a kind, if one came. */
  said<K extends ServerMessage["kind"]>(kind: K): OfKind<K> | undefined {
    return this.heard.find((message): message is OfKind<K> => message.kind === kind);
  }

  /** The last message of a kind, if one came. */
  lastSaid<K extends ServerMessage["kind"]>(kind: K): OfKind<K> | undefined {
    return this.heard.findLast((message): message is OfKind<K> => message.kind === kind);
  }

  /** The node record of a name in the agent's roster. */
  peer(name: string): NodeRecord | undefined {
    return [...this.roster.values()].find((node) => node.name === name);
  }

  /** Resolves once the condition holds; for real sockets, where time is not the test's. */
  until(isMet: () => boolean): Promise<void> {
    if (isMet()) return Promise.resolve();
    return new Promise((resolve) => this.#waiters.push({ isMet, resolve }));
  }

  #send(message: Uint8Array): void {
    this.sent.push(message);
    this.#wire?.send(message);
  }

  #take(message: ServerMessage): void {
    if (message.kind === "roster") {
      if (message.full) this.roster.clear();
      for (const node of message.upserts) this.roster.set(node.nodeId, node);
      for (const nodeId of message.removes) this.roster.delete(nodeId);
      this.rosterVersion = message.version;
    } else if (message.kind === "presence") {
      if (message.full) this.online.clear();
      for (const { nodeId } of message.online) this.online.add(nodeId);
      for (const nodeId of message.offline) this.online.delete(nodeId);
    }
  }

  #settle(): void {
    const met = this.#waiters.filter(({ isMet }) => isMet());
    this.#waiters = this.#waiters.filter((waiter) => !met.includes(waiter));
    for (const { resolve } of met) resolve();
  }
}
