/**
 * All control connections: admits them, greets them, keeps every member's copy of roster, presence
 * and PSKs up to date, and notices who is gone.
 *
 * ```
 * opened → message 1 → (nothing is proven yet) → hello → registered or recognised → greeted
 *                                                          welcome, psks, roster, presence
 * ```
 *
 * What changes is told by the announcer (announcer.ts).
 *
 * @module
 */

import type { Clock } from "../base/clock.ts";
import type { Log } from "../base/log.ts";
import type { KeyPair } from "../crypto/x25519.ts";
import { ControlServer, type NamedCredential } from "../session/control_channel.ts";
import { joinPskOf } from "../token/token.ts";
import { type ClientMessage, decodeClientMessage, type Hello } from "../wire/client_message.ts";
import { MessageError } from "../wire/json_codec.ts";
import { encodeServerMessage } from "../wire/server_message.ts";
import { closeOf, RefusalError } from "../wire/refusal.ts";
import { Announcer } from "./announcer.ts";
import { CloneWatch } from "./clone_watch.ts";
import { ControlConnection } from "./control_connection.ts";
import type { ControlListener, ListenerEvents } from "./control_listener.ts";
import { InviteDesk } from "./invite_desk.ts";
import type { MeshIdentity } from "./mesh_identity.ts";
import type { PskEpochs } from "./psk_epochs.ts";
import { nodeIdOf, type Registry } from "./registry.ts";
import { RelayDesk } from "./relay_desk.ts";
import type { CoordinatorSecret } from "./secrets.ts";
import type { NodeRow, NodeState } from "./store.ts";
import type { TokenBook } from "./token_book.ts";
import { HEARTBEAT_MS, WelcomeDesk, type WelcomeSettings } from "./welcome.ts";

/** So many missed heartbeats, and a connection is dead. */
const MISSED_HEARTBEATS = 3;
/** How often deadlines are looked at. */
const TICK_MS = 5_000;
/** How often last-seen times and endpoints are saved. */
const FLUSH_MS = 30_000;
/** A member may send so many messages in a minute; an agent sends about three. */
const MESSAGES_PER_MINUTE = 600;
const DAY_MS = 86_400_000;

/** What a {@linkcode ControlHub} works with. */
export interface ControlHubOptions {
  readonly clock: Clock;
  readonly log: Log;
  readonly listener: ControlListener;
  readonly staticKey: KeyPair;
  readonly mesh: MeshIdentity;
  readonly secret: CoordinatorSecret;
  readonly registry: Registry;
  readonly tokens: TokenBook;
  readonly epochs: PskEpochs;
  /** What every welcome says besides. */
  readonly welcome: WelcomeSettings;
}

/** Counters of a hub, for status and metrics. */
export interface HubCounts {
  joined: number;
  refused: number;
  displaced: number;
  unknownKinds: number;
}

/** All control connections of a coordinator. */
export class ControlHub implements ListenerEvents {
  readonly counts: HubCounts = { joined: 0, refused: 0, displaced: 0, unknownKinds: 0 };
  readonly #o: ControlHubOptions;
  readonly #connections = new Map<number, ControlConnection>();
  readonly #byNode = new Map<string, ControlConnection>();
  readonly #clones = new CloneWatch();
  /** Nodes that were connected since the start: whether they are offline is known. */
  readonly #settled = new Set<string>();
  readonly #startedAt: number;
  readonly #announcer: Announcer;
  readonly #desk: WelcomeDesk;
  readonly #relay: RelayDesk;
  readonly #invites: InviteDesk;
  #cancelTick: () => void;
  #flushedAt: number;
  #minuteStartedAt: number;
  #day: number;
  #isStopped = false;
  readonly #onFailed: (error: Error) => void;

  /** @param onFailed Called when the listener cannot go on; the coordinator then ends. */
  constructor(options: ControlHubOptions, onFailed: (error: Error) => void) {
    this.#o = options;
    this.#onFailed = onFailed;
    const { clock, registry, mesh, secret } = options;
    this.#announcer = new Announcer({ clock, registry, members: this.#byNode });
    this.#desk = new WelcomeDesk({ clock, mesh, secret, settings: options.welcome });
    this.#relay = new RelayDesk(
      options.listener.relay,
      [...registry.members()].map(({ nodeId }) => nodeId),
    );
    const isAllowed = options.welcome.mesh.memberInvites === true;
    this.#invites = new InviteDesk({ clock, log: options.log, tokens: options.tokens, isAllowed });
    const now = clock.now();
    this.#startedAt = now;
    this.#flushedAt = now;
    this.#minuteStartedAt = now;
    this.#day = this.#today();
    this.#cancelTick = clock.schedule(now + TICK_MS, () => this.#tick());
  }

  /** Whether a member is connected. */
  isOnline(nodeId: string): boolean {
    return this.#byNode.has(nodeId);
  }

  /** How many members are connected. */
  get onlineCount(): number {
    return this.#byNode.size;
  }

  /** Where a member's connection comes from. */
  remoteOf(nodeId: string): string | undefined {
    return this.#byNode.get(nodeId)?.remote;
  }

  /** @inheritdoc */
  opened(id: number, remote: string): void {
    const server = new ControlServer({
      staticKey: this.#o.staticKey,
      meshId: this.#o.mesh.meshId,
      unixNow: () => this.#o.clock.unixNow(),
      lookup: (credential, clientKey) => this.#pskOf(credential, clientKey),
    });
    const { listener, clock } = this.#o;
    const connection = new ControlConnection({ id, remote, server, listener, now: clock.now() });
    this.#connections.set(id, connection);
  }

  /** @inheritdoc */
  received(id: number, message: Uint8Array): void {
    const connection = this.#connections.get(id);
    if (connection === undefined) return;
    connection.heardAt = this.#o.clock.now();
    try {
      const { bodies, toSend, opened } = connection.server.receive(message);
      for (const answer of toSend) this.#o.listener.send(id, answer);
      if (opened) this.#o.listener.admit(id);
      for (const body of bodies) {
        if (!this.#connections.has(id)) return; // a body before it ended the connection
        this.#handle(connection, decodeClientMessage(body));
      }
    } catch (error) {
      this.#refuse(connection, this.#refusalOf(error));
    }
  }

  /** @inheritdoc */
  closed(id: number): void {
    const connection = this.#connections.get(id);
    if (connection !== undefined) this.#forget(connection);
  }

  /** @inheritdoc */
  failed(error: Error): void {
    this.#onFailed(error);
  }

  /** Tells every connected member the PSKs in force. */
  tellPsks(): void {
    const body = encodeServerMessage(this.#o.epochs.psks());
    for (const connection of this.#byNode.values()) connection.sendBodies([body]);
  }

  /**
   * Disables, enables or removes a member. Who is none then has no connection when this returns, and
   * the others are told at once.
   *
   * @throws {RefusalError} `not-a-member`, `storage-failure`; nothing has changed then.
   */
  setState(nodeId: string, state: NodeState): void {
    const { name } = this.#o.registry.setState(nodeId, state);
    this.#o.log.info("the state of a member was set", { peer: nodeId, name, status: state });
    if (state !== "active") {
      this.#relay.expel(nodeId, state);
      const connection = this.#byNode.get(nodeId);
      if (connection !== undefined) this.#refuse(connection, new RefusalError(state));
    }
    this.#announcer.rosterChanged();
  }

  /** Closes every connection and saves what is unsaved. */
  stop(): void {
    if (this.#isStopped) return;
    this.#isStopped = true;
    this.#cancelTick();
    this.#announcer.stop();
    const { code, reason } = closeOf(new RefusalError("shutdown"));
    for (const connection of this.#connections.values()) {
      this.#o.listener.close(connection.id, code, reason);
      if (connection.nodeId !== undefined) {
        this.#o.registry.touch(connection.nodeId, this.#o.clock.unixNow());
      }
    }
    this.#connections.clear();
    this.#byNode.clear();
    this.#flush();
  }

  #pskOf(credential: NamedCredential, clientKey: Uint8Array): Uint8Array {
    if (credential.kind === "member") {
      this.#o.registry.requireMember(clientKey);
      return this.#o.secret.memberPsk(clientKey);
    }
    const unixMs = this.#o.clock.unixNow();
    const token = this.#o.tokens.admitting(credential.tokenId, nodeIdOf(clientKey), unixMs);
    return joinPskOf(this.#o.tokens.joinSecret(token));
  }

  #handle(connection: ControlConnection, message: ReturnType<typeof decodeClientMessage>): void {
    if (++connection.messages > MESSAGES_PER_MINUTE) throw new RefusalError("busy");
    if (connection.nodeId === undefined) {
      if (message.kind !== "hello") throw new RefusalError("bad-message");
      return this.#greet(connection, message);
    }
    if (message.kind === "unknown") this.counts.unknownKinds++;
    else this.#handleMember(connection, connection.nodeId, message);
  }

  #handleMember(connection: ControlConnection, nodeId: string, message: ClientMessage): void {
    const { registry, epochs, clock } = this.#o;
    switch (message.kind) {
      case "hello":
        throw new RefusalError("bad-message");
      case "heartbeat":
        return connection.send(message);
      case "endpoints":
        registry.touch(nodeId, clock.unixNow(), message.endpoints);
        return this.#announcer.presenceChanged(nodeId);
      case "ssh":
        if (registry.setSsh(nodeId, message)) this.#announcer.rosterChanged();
        return;
      case "psk-ack":
        connection.ackedEpoch = Math.max(connection.ackedEpoch, message.epoch);
        if (epochs.pending !== undefined) this.#advanceEpochs();
        return;
      case "relay-ticket":
        return this.#giveRelayTicket(connection, nodeId);
      case "invite":
        return connection.send(this.#invites.answer(nodeId, message));
      case "connect":
        return this.#byNode.get(message.peer)?.send({
          kind: "peer-wants",
          nodeId,
          endpoints: registry.node(nodeId)?.endpoints ?? [],
        });
      case "leave":
        registry.setState(nodeId, "removed");
        this.#relay.expel(nodeId, "removed");
        this.#o.log.info("a node left the mesh", { peer: nodeId });
        this.#forget(connection);
        this.#o.listener.close(connection.id, 1000, "left the mesh");
        return this.#announcer.rosterChanged();
    }
  }

  /** Everything that message 1 must not do happens here: the client has proven itself. */
  #greet(connection: ControlConnection, hello: Hello): void {
    const { log } = this.#o;
    const nodeId = nodeIdOf(connection.server.client.staticKey);
    if (this.#clones.isRefused(nodeId, this.#o.clock.now())) throw new RefusalError("cloned");
    const node = this.#admit(connection, hello);
    this.#displaceOlder(nodeId);
    connection.nodeId = nodeId;
    this.#byNode.set(nodeId, connection);
    this.#relay.admit(nodeId);
    this.#settled.add(nodeId);
    log.info("a node connected", { peer: nodeId, name: node.name, endpoint: connection.remote });
    connection.send(this.#desk.welcomeOf(node), this.#o.epochs.psks());
    this.#announcer.greet(connection, hello.rosterVersion, hello.rosterLineage);
    this.#announcer.presenceChanged(nodeId);
  }

  #giveRelayTicket(connection: ControlConnection, nodeId: string): void {
    const ticket = this.#relay.ticketFor(nodeId);
    if (ticket !== undefined) connection.send({ kind: "relay-ticket", ticket });
  }

  /** Ends the node's older connection; the new one too if this is how clones behave. */
  #displaceOlder(nodeId: string): void {
    const older = this.#byNode.get(nodeId);
    if (older === undefined) return;
    this.counts.displaced++;
    if (!this.#clones.displaced(nodeId, this.#o.clock.now())) {
      return this.#refuse(older, new RefusalError("newer-connection"));
    }
    this.#o.log.warning("cloned state folder: two machines use the key of one node", {
      peer: nodeId,
      endpoint: older.remote,
    });
    this.#refuse(older, new RefusalError("cloned"));
    throw new RefusalError("cloned");
  }

  #admit(connection: ControlConnection, hello: Hello): NodeRow {
    const { registry, clock, log } = this.#o;
    const { staticKey, credential } = connection.server.client;
    const unixMs = clock.unixNow();
    if (credential.kind === "member") return registry.connect(staticKey, hello, unixMs);
    const { node, tookOver } = registry.join({
      staticKey,
      tokenId: credential.tokenId,
      hello,
      unixMs,
      isInUse: (nodeId) => this.#isInUse(nodeId),
    });
    this.counts.joined++;
    log.info("a node joined the mesh", { peer: node.nodeId, name: node.name });
    if (tookOver !== undefined) {
      this.#relay.expel(tookOver, "removed");
      log.warning("a node took over name and addresses of an offline one with the same SSH key", {
        peer: node.nodeId,
        name: node.name,
        reason: `replaces ${tookOver}`,
      });
    }
    return node;
  }

  /** Connected, or of unknown state because this process started too recently to know. */
  #isInUse(nodeId: string): boolean {
    if (this.#byNode.has(nodeId)) return true;
    const isSettling = this.#o.clock.now() - this.#startedAt < MISSED_HEARTBEATS * HEARTBEAT_MS;
    return isSettling && !this.#settled.has(nodeId);
  }

  #today(): number {
    return Math.max(0, Math.floor(this.#o.clock.unixNow() / DAY_MS));
  }

  #tick(): void {
    const now = this.#o.clock.now();
    for (const connection of [...this.#connections.values()]) {
      if (now - connection.heardAt > MISSED_HEARTBEATS * HEARTBEAT_MS) {
        this.#refuse(connection, new RefusalError("timeout"));
      }
    }
    if (now - this.#minuteStartedAt >= 60_000) {
      this.#minuteStartedAt = now;
      for (const connection of this.#connections.values()) connection.messages = 0;
    }
    this.#advanceEpochs();
    if (this.#today() !== this.#day) {
      this.#day = this.#today();
      for (const connection of this.#byNode.values()) {
        connection.send({ kind: "discovery-key", discovery: this.#desk.discovery() });
      }
    }
    if (now - this.#flushedAt >= FLUSH_MS) this.#flush();
    this.#clones.sweep(now);
    this.#cancelTick = this.#o.clock.schedule(now + TICK_MS, () => this.#tick());
  }

  #advanceEpochs(): void {
    const { epochs, clock, log } = this.#o;
    const pending = epochs.pending ?? 0;
    const isAcknowledged = this.#byNode.size > 0 &&
      [...this.#byNode.values()].every((connection) => connection.ackedEpoch >= pending);
    try {
      if (epochs.advance(clock.unixNow(), isAcknowledged)) this.tellPsks();
    } catch (error) {
      log.error("cannot save the PSK epochs; trying again", { error: textOf(error) });
    }
  }

  #flush(): void {
    this.#flushedAt = this.#o.clock.now();
    try {
      this.#o.registry.flush();
    } catch (error) {
      this.#o.log.error("cannot save last-seen times; trying again", { error: textOf(error) });
    }
  }

  #refusalOf(error: unknown): RefusalError {
    if (error instanceof RefusalError) return error;
    if (error instanceof MessageError) return new RefusalError("bad-message", error.message);
    return new RefusalError("internal", undefined, { cause: error });
  }

  #refuse(connection: ControlConnection, refusal: RefusalError): void {
    this.counts.refused++;
    const fields = {
      reason: refusal.reason,
      endpoint: connection.remote,
      ...(connection.nodeId === undefined ? {} : { peer: connection.nodeId }),
      ...(refusal.cause === undefined ? {} : { error: textOf(refusal.cause) }),
    };
    const isOurFault = refusal.reason === "internal" || refusal.reason === "storage-failure";
    if (isOurFault) this.#o.log.error("a control connection failed here", fields);
    else this.#o.log.info("a control connection was refused", fields);
    this.#forget(connection);
    const { code, reason } = closeOf(refusal);
    this.#o.listener.close(connection.id, code, reason);
  }

  #forget(connection: ControlConnection): void {
    this.#connections.delete(connection.id);
    const { nodeId } = connection;
    if (nodeId === undefined || this.#byNode.get(nodeId) !== connection) return;
    this.#byNode.delete(nodeId);
    this.#o.registry.touch(nodeId, this.#o.clock.unixNow());
    this.#announcer.presenceChanged(nodeId);
  }
}

function textOf(error: unknown): string {
  const cause = error instanceof RefusalError ? error.cause ?? error : error;
  return cause instanceof Error ? cause.message : String(cause);
}
