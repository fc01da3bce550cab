/**
 * A coordinator's rules without sockets, files or time: hub and registry over a memory store, a
 * memory listener and a clock moved by hand. Agents connect by function call.
 *
 * ```
 * SimulatedAgent ⇄ MemoryListener ⇄ ControlHub ⇄ Registry ⇄ MemoryStore
 * ```
 *
 * Messages are queued and delivered by `run()`, so that nothing happens inside anything else.
 *
 * @module
 */

import type { Log, LogFields } from "../../lib/base/log.ts";
import { ControlHub } from "../../lib/coordinator/control_hub.ts";
import type { ControlListener, ListenerEvents } from "../../lib/coordinator/control_listener.ts";
import { Ledger } from "../../lib/coordinator/ledger.ts";
import { type MeshIdentity, openMesh } from "../../lib/coordinator/mesh_identity.ts";
import { PskEpochs } from "../../lib/coordinator/psk_epochs.ts";
import { Registry, type StatementVerifier } from "../../lib/coordinator/registry.ts";
import { CoordinatorSecret } from "../../lib/coordinator/secrets.ts";
import type { Store, TokenRow } from "../../lib/coordinator/store.ts";
import { TokenBook } from "../../lib/coordinator/token_book.ts";
import { generateKeyPair, type KeyPair } from "../../lib/crypto/x25519.ts";
import { parseIpPrefix } from "../../lib/net/ip_prefix.ts";
import type { ClientCredential } from "../../lib/session/control_channel.ts";
import { formatToken } from "../../lib/token/token.ts";
import type { Hello } from "../../lib/wire/client_message.ts";
import { refusalOf } from "../../lib/wire/refusal.ts";
import { FakeClock } from "../fakes/clock.ts";
import { MemoryStore } from "./memory_store.ts";
import { helloOf, SimulatedAgent } from "./simulated_agent.ts";

/** Connections by function call. */
class MemoryListener implements ControlListener {
  readonly #ends = new Map<number, SimulatedAgent>();
  readonly #queue: (() => void)[] = [];
  #events: ListenerEvents | undefined;
  #nextId = 1;
  readonly admitted = new Set<number>();

  start(events: ListenerEvents) {
    this.#events = events;
    return Promise.resolve([]);
  }

  connect(agent: SimulatedAgent, remote: string): void {
    const id = this.#nextId++;
    this.#ends.set(id, agent);
    this.#queue.push(() => {
      this.#events?.opened(id, remote);
      agent.opened({
        send: (message) => {
          const copy = message.slice();
          this.#queue.push(() => this.#ends.has(id) && this.#events?.received(id, copy));
        },
        close: () => this.#queue.push(() => this.#ends.delete(id) && this.#events?.closed(id)),
      });
    });
  }

  send(id: number, message: Uint8Array): void {
    const agent = this.#ends.get(id);
    if (agent !== undefined) this.#queue.push(() => agent.received(message));
  }

  admit(id: number): void {
    this.admitted.add(id);
  }

  close(id: number, code: number, reason: string): void {
    const agent = this.#ends.get(id);
    this.#ends.delete(id);
    if (agent !== undefined) this.#queue.push(() => agent.ended(code, reason));
  }

  stop() {
    return Promise.resolve();
  }

  deliver(): boolean {
    const next = this.#queue.shift();
    next?.();
    return next !== undefined;
  }
}

/** What a {@linkcode MemoryMesh} starts from; parts of another one make it a restart. */
export interface MemoryMeshOptions {
  readonly store?: Store;
  readonly secret?: Uint8Array;
  readonly staticKey?: KeyPair;
  readonly clock?: FakeClock;
  readonly range?: string;
  readonly memberInvites?: boolean;
  readonly verifyStatement?: StatementVerifier;
}

/** A mesh without a machine. */
export class MemoryMesh {
  readonly clock: FakeClock;
  readonly store: Store;
  readonly secretBytes: Uint8Array;
  readonly staticKey: KeyPair;
  readonly mesh: MeshIdentity;
  readonly tokens: TokenBook;
  readonly epochs: PskEpochs;
  readonly registry: Registry;
  readonly ledger: Ledger;
  readonly hub: ControlHub;
  /** What was logged: level and message, with fields. */
  readonly logged: [level: string, message: string, fields: LogFields][] = [];
  readonly #listener = new MemoryListener();
  readonly #memberInvites: boolean;

  constructor(options: MemoryMeshOptions = {}) {
    this.#memberInvites = options.memberInvites ?? false;
    this.clock = options.clock ?? new FakeClock();
    this.store = options.store ?? new MemoryStore();
    this.secretBytes = options.secret ?? crypto.getRandomValues(new Uint8Array(32));
    this.staticKey = options.staticKey ?? generateKeyPair();
    const secret = new CoordinatorSecret(this.secretBytes);
    this.ledger = new Ledger(this.store);
    const range = options.range === undefined ? undefined : parseIpPrefix(options.range);
    this.mesh = openMesh(this.ledger, this.staticKey.publicKey, range);
    this.tokens = new TokenBook(this.ledger, secret);
    if (this.tokens.current === undefined) this.tokens.rotate(this.clock.unixNow());
    this.epochs = new PskEpochs(this.ledger, secret);
    this.registry = new Registry({
      ledger: this.ledger,
      mesh: this.mesh,
      tokens: this.tokens,
      verifyStatement: options.verifyStatement ?? (() => true),
    });
    const note = (level: string) => (message: string, fields: LogFields = {}) =>
      void this.logged.push([level, message, fields]);
    const log: Log = {
      debug: note("debug"),
      info: note("info"),
      warning: note("warning"),
      error: note("error"),
    };
    this.hub = new ControlHub({
      clock: this.clock,
      log,
      listener: this.#listener,
      staticKey: this.staticKey,
      mesh: this.mesh,
      secret,
      registry: this.registry,
      tokens: this.tokens,
      epochs: this.epochs,
      welcome: {
        software: "test",
        udpPorts: [1, 2],
        mesh: { binding: "strict", limits: {}, memberInvites: this.#memberInvites },
      },
    }, (error) => {
      throw error;
    });
    this.#listener.start(this.hub);
  }

  /** The same coordinator after kill -9: what was not saved is gone. */
  restarted(): MemoryMesh {
    return new MemoryMesh({
      store: this.store,
      secret: this.secretBytes,
      staticKey: this.staticKey,
      clock: this.clock,
      memberInvites: this.#memberInvites,
    });
  }

  /** A token as text. */
  textOf(token: TokenRow): string {
    return formatToken({
      meshId: this.mesh.meshId,
      coordinatorKey: this.staticKey.publicKey,
      joinSecret: this.tokens.joinSecret(token),
    });
  }

  /** The reusable token, as text. */
  get token(): string {
    return this.textOf(this.tokens.current!);
  }

  /** An invite for an hour, as text. @param name Of the node it is for. */
  invite(name?: string): string {
    const now = this.clock.unixNow();
    return this.textOf(this.tokens.invite(now, now + 3_600_000, name));
  }

  /** Delivers what is under way, and lets gathered changes be told. */
  run(ms = 100): void {
    while (this.#listener.deliver());
    this.clock.advance(ms);
    while (this.#listener.deliver());
  }

  /** Connects an agent and delivers. */
  connect(agent: SimulatedAgent): SimulatedAgent {
    this.dial(agent);
    this.run();
    return agent;
  }

  /** Connects an agent; nothing is delivered yet. */
  dial(agent: SimulatedAgent): void {
    this.#listener.connect(agent, "192.0.2.99:1234");
  }

  /** Delivers one message of those under way. @returns Whether there was one. */
  step(): boolean {
    return this.#listener.deliver();
  }

  /** A new node joins. */
  join(
    name: string,
    options: { token?: string; hello?: Partial<Hello>; staticKey?: KeyPair } = {},
  ): SimulatedAgent {
    const { token = this.token, hello, staticKey } = options;
    return this.connect(
      new SimulatedAgent({
        token,
        hello: helloOf(name, hello),
        ...(staticKey === undefined ? {} : { staticKey }),
      }),
    );
  }

  /** A member comes back with its member PSK. */
  reconnect(member: SimulatedAgent, hello: Partial<Hello> = {}, psk?: Uint8Array): SimulatedAgent {
    return this.connect(this.returning(member, hello, psk));
  }

  /** A member that is about to come back with its member PSK. */
  returning(member: SimulatedAgent, hello: Partial<Hello> = {}, psk?: Uint8Array): SimulatedAgent {
    const credential: ClientCredential = {
      kind: "member",
      psk: psk ?? member.said("welcome")!.memberPsk,
    };
    const { name: _, statement: __, ...bare } = helloOf("");
    return new SimulatedAgent({
      token: this.token,
      hello: { ...bare, ...hello },
      staticKey: member.staticKey,
      credential,
    });
  }
}

/** Why an agent was refused; `undefined` if it was not. */
export function refusedFor(agent: SimulatedAgent): string | undefined {
  if (agent.closed === undefined) return undefined;
  return refusalOf(agent.closed.code, agent.closed.reason)?.reason ?? String(agent.closed.code);
}
