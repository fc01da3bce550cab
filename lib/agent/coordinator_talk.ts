/**
 * What a node and its coordinator say to each other, and what that changes at the node.
 *
 * What must hold: whatever the coordinator says or fails to say, sessions between known peers go on;
 * a refusal ends a first join, and for a member deletes nothing.
 *
 * @module
 */

import type { Clock } from "../base/clock.ts";
import { logOf } from "../base/log.ts";
import { VERSION } from "../base/version.ts";
import type { TimestampSource } from "../session/timestamp.ts";
import type { Hello } from "../wire/client_message.ts";
import type { Psks, ServerMessage, Welcome } from "../wire/server_message.ts";
import type { AgentOptions } from "./agent_options.ts";
import { CoordinatorLine, type LineEnd } from "./control_client.ts";
import type { DataSide } from "./data_side.ts";
import { AgentError } from "./errors.ts";
import type { Identity } from "./identity.ts";
import { Inviting } from "./inviting.ts";
import type { JoinPlan } from "./joining.ts";
import type { PeerBook } from "./peer_book.ts";
import type { Reach } from "./reach.ts";
import type { RelaySide } from "./relay_side.ts";
import type { RosterCopy } from "./roster_copy.ts";
import type { SshSide } from "./ssh_side.ts";
import type { Standing } from "./standing.ts";
import { WantLimit } from "./want_limit.ts";

const SOFTWARE = `tunnelmesh ${VERSION}`;
const LEAVE_TIMEOUT_MS = 3_000;

const log = logOf("agent");

/** The parts of a node that hear of the coordinator, or are asked what to say to it. */
export interface CoordinatorTalkParts {
  readonly options: AgentOptions;
  readonly clock: Clock;
  readonly plan: JoinPlan;
  readonly identity: Identity;
  readonly standing: Standing;
  readonly timestamps: TimestampSource;
  readonly roster: RosterCopy;
  readonly book: PeerBook;
  readonly data: DataSide;
  readonly reach: Reach;
  readonly relay: RelaySide;
  /** Opened after this; `undefined` until then. */
  readonly ssh: () => SshSide | undefined;
}

/** What the node does about it. */
export interface CoordinatorTalkEvents {
  /** The first mesh PSKs are here: packets may pass. @throws If they cannot. */
  goLive(psks: Psks): void;
  /** The node did not get in, and nothing but another start will change that. */
  refused(failure: AgentError): void;
  /** The node cannot go on. */
  failed(error: unknown): void;
}

/** Keeps the line to the coordinator, and both ends in step. */
export class CoordinatorTalk {
  readonly #parts: CoordinatorTalkParts;
  readonly #events: CoordinatorTalkEvents;
  readonly #line: CoordinatorLine;
  readonly #wants = new WantLimit();
  /** Asks the coordinator for invites. */
  readonly inviting: Inviting;
  #lastFailure: string | undefined;
  #left: PromiseWithResolvers<void> | undefined;

  /** @throws {AgentError} `usage` if the URL is none. Nothing happens before `start`. */
  constructor(parts: CoordinatorTalkParts, events: CoordinatorTalkEvents) {
    this.#parts = parts;
    this.#events = events;
    const { options, plan, identity, standing, clock, timestamps } = parts;
    const dial = options.inCoordinator?.dial;
    this.#line = new CoordinatorLine({
      url: plan.coordinatorUrl,
      tlsVerify: options.tlsVerify ?? false,
      coordinatorKey: plan.coordinatorKey,
      meshId: plan.meshId,
      staticKey: identity.staticKey,
      credential: () => standing.credential,
      clock,
      ...(dial === undefined ? {} : { dial }),
      events: {
        opened: () => parts.relay.prepare(),
        hello: () => this.#hello(),
        authenticated: (unixSeconds) => timestamps.raise(unixSeconds * 1000),
        message: (message) => this.#take(message),
        disconnected: (end) => this.#disconnected(end),
      },
    });
    this.inviting = new Inviting({
      clock,
      plan,
      isAtCoordinator: options.inCoordinator !== undefined,
      mesh: () => standing.welcome.mesh,
      isConnected: () => this.#line.isConnected,
      send: (message) => this.#line.send(message),
    });
  }

  /** Whether the coordinator has welcomed this node, on a connection that still stands. */
  get isConnected(): boolean {
    return this.#line.isConnected;
  }

  /** Why the line is down; `undefined` while it is up. */
  get failure(): AgentError | undefined {
    return this.#line.failure;
  }

  /** Opens the line, and opens it again whenever it breaks. */
  start(): void {
    this.#line.start();
  }

  /** Stops for good. Safe to call twice. */
  close(): void {
    this.#line.close();
  }

  /** The network changed. @param isElsewhere Whether the present connection cannot have survived. */
  networkChanged(isElsewhere: boolean): void {
    this.#line.networkChanged(isElsewhere);
  }

  /** Asks for a ticket of the relay. @returns `false` if the line is down. */
  askTicket(): boolean {
    return this.#line.send({ kind: "relay-ticket" });
  }

  /** Tells where this node can be reached. */
  sayReach(): void {
    this.#line.send({ kind: "endpoints", endpoints: this.#parts.reach.endpoints });
    this.saySshReach();
  }

  /** Tells how this node is reached by SSH; the coordinator knows whether that is news. */
  saySshReach(): void {
    const reach = this.#parts.ssh()?.reach(this.#parts.reach.hints);
    if (reach !== undefined) this.#line.send({ kind: "ssh", ...reach });
  }

  /** Tells that a session with a peer is wanted, if that helps and may be said so often. */
  sayWanted(peer: string): void {
    const { book, clock } = this.#parts;
    if (book.isPresent(peer) && this.#wants.take(peer, clock.now())) {
      this.#line.send({ kind: "connect", peer });
    }
  }

  /**
   * Asks to be removed from the mesh.
   *
   * @returns When the coordinator has done it.
   * @throws {AgentError} `unreachable` if the coordinator cannot be told.
   */
  async leave(): Promise<void> {
    const { clock } = this.#parts;
    this.#left ??= Promise.withResolvers();
    if (!this.#line.send({ kind: "leave" })) throw cannotLeave();
    const at = clock.now() + LEAVE_TIMEOUT_MS;
    const cancel = clock.schedule(at, () => this.#left?.reject(cannotLeave()));
    try {
      await this.#left.promise;
    } finally {
      cancel();
      this.#left = undefined;
    }
  }

  #hello(): Hello {
    const { name } = this.#parts.options;
    const { lineage, version } = this.#parts.roster;
    const { isStranger, introduction } = this.#parts.standing;
    return {
      kind: "hello",
      software: SOFTWARE,
      os: Deno.build.os,
      ...(name === undefined && !isStranger ? {} : { name: name ?? Deno.hostname() }),
      nameIsExplicit: name !== undefined,
      ...introduction,
      rosterVersion: version,
      ...(lineage === undefined ? {} : { rosterLineage: lineage }),
      endpoints: this.#parts.reach.endpoints,
    };
  }

  #take(message: ServerMessage): void {
    const { book, data, reach, relay } = this.#parts;
    switch (message.kind) {
      case "welcome":
        return this.#welcomed(message);
      case "psks":
        return this.#takePsks(message);
      case "roster":
        return book.applyRoster(message);
      case "presence":
        return book.applyPresence(message);
      case "discovery-key":
        return reach.setCredential(message.discovery);
      case "relay-ticket":
        return relay.transport.takeTicket(message.ticket);
      case "invite":
      case "invite-refused":
        return this.inviting.take(message);
      case "peer-wants": {
        const { nodeId, endpoints } = message;
        book.applyPresence({
          kind: "presence",
          full: false,
          online: [{ nodeId, endpoints }],
          offline: [],
        });
        return data.device?.peerWants(nodeId);
      }
    }
  }

  #welcomed(welcome: Welcome): void {
    const { data, standing, timestamps, plan, reach, relay } = this.#parts;
    const before = data.device === undefined ? undefined : standing.welcome;
    this.#lastFailure = undefined;
    timestamps.raise(welcome.unixMs);
    try {
      standing.takeWelcome(welcome);
    } catch (error) {
      return this.#events.failed(error);
    }
    log.info("Connected to the coordinator", { url: plan.coordinatorUrl, name: welcome.name });
    if (before !== undefined && placeOf(before) !== placeOf(welcome)) {
      const why = "the coordinator gave this node other addresses";
      return this.#events.failed(
        new AgentError("failed", `Cannot go on: ${why}; start it again`),
      );
    }
    data.setMesh(welcome.mesh);
    reach.welcomed(welcome);
    this.saySshReach();
    relay.welcomed();
  }

  #takePsks(psks: Psks): void {
    const { data, roster } = this.#parts;
    const isKept = roster.setPsks(psks);
    if (data.device !== undefined) {
      data.setPsks(psks);
    } else {
      try {
        this.#events.goLive(psks);
      } catch (error) {
        return this.#events.failed(error);
      }
    }
    const epoch = psks.next?.epoch ?? psks.current.epoch;
    if (isKept) this.#line.send({ kind: "psk-ack", epoch });
  }

  #disconnected(end: LineEnd): void {
    const { book, data, standing } = this.#parts;
    book.forgetPresence();
    this.inviting.disconnected();
    if (end.hasLeft) return this.#left?.resolve();
    const { failure, refusal, retryMs } = end;
    if (standing.takeRefusal(refusal)) return this.#line.retryNow();
    if (standing.isStranger && data.device === undefined) return this.#events.refused(failure);
    if (this.#lastFailure === failure.message) return;
    this.#lastFailure = failure.message;
    const say = failure.fault === "refused" ? log.error : log.warning;
    say.call(log, "Line to the coordinator is down", {
      reason: failure.message,
      delayMs: Math.round(retryMs),
    });
  }
}

function placeOf({ addresses, mesh }: Welcome): string {
  return [addresses.ipv4, addresses.ipv6, mesh.ipv4Range, mesh.ipv6Range, mesh.binding].join();
}

function cannotLeave(): AgentError {
  return new AgentError(
    "unreachable",
    "Cannot leave the mesh: the coordinator cannot be told; try again when it can be reached",
  );
}
