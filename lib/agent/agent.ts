/**
 * One node of a mesh as a running thing: everything it is made of, started in order and stopped in
 * reverse.
 *
 * ```
 * lock → identity → TUN and UDP socket → (joined: device live from the disk's copy of the roster)
 *      → control socket → line to the coordinator → (joining: device live after the welcome)
 * ```
 *
 * What must hold: once joined, a node needs neither token nor coordinator to start; whatever the
 * coordinator says or fails to say, sessions between known peers go on.
 *
 * @module
 */

import { type Clock, SYSTEM_CLOCK } from "../base/clock.ts";
import { logOf } from "../base/log.ts";
import { VERSION } from "../base/version.ts";
import { DeviceError } from "../mesh/device_options.ts";
import { TimestampSource } from "../session/timestamp.ts";
import type { UdpPath } from "../transport/transport.ts";
import type { Hello, Psks, ServerMessage, Statement, Welcome } from "../wire/control_message.ts";
import type { AgentOptions } from "./agent_options.ts";
import { CoordinatorLine, type LineEnd } from "./control_client.ts";
import { ControlSocketServer } from "./control_socket.ts";
import { DataSide } from "./data_side.ts";
import { AgentError, reasonOf } from "./errors.ts";
import { type Identity, openIdentity } from "./identity.ts";
import { type JoinPlan, makeStatement, planJoin } from "./joining.ts";
import { readCachedRoster, readMembership } from "./membership.ts";
import { PeerBook, type PeerSink } from "./peer_book.ts";
import { Reach } from "./reach.ts";
import { RelaySide } from "./relay_side.ts";
import { RosterCopy } from "./roster_copy.ts";
import { Standing } from "./standing.ts";
import { SshSide } from "./ssh_side.ts";
import { StateFolder } from "./state_folder.ts";
import { type AgentStatus, agentStatusOf } from "./status.ts";
import { readMark, readPort, writeMark, writePort } from "./small_files.ts";
import { WantLimit } from "./want_limit.ts";

export type { AgentOptions, CoordinatorSide } from "./agent_options.ts";

/** Control socket in the state folder. */
export const AGENT_SOCKET = "agent.sock";

const SOFTWARE = `tunnelmesh ${VERSION}`;
const DEFAULT_PING_TIMEOUT_MS = 5_000;
const MAX_PING_TIMEOUT_MS = 60_000;
/** How long a node that is live without its coordinator has the thread to itself. */
const LINE_AFTER_LIVE_MS = 50;
const LEAVE_TIMEOUT_MS = 3_000;
/** Time for the answer of `leave` to reach the one who asked. */
const FAREWELL_MS = 50;

const log = logOf("agent");

/** A running node. */
export class Agent {
  readonly #options: AgentOptions;
  readonly #clock: Clock;
  readonly #folder: StateFolder;
  readonly #plan: JoinPlan;
  readonly #identity: Identity;
  readonly #standing: Standing;
  readonly #timestamps: TimestampSource;
  readonly #roster: RosterCopy;
  readonly #book: PeerBook;
  readonly #data: DataSide;
  readonly #reach: Reach;
  readonly #wants = new WantLimit();
  readonly #line: CoordinatorLine;
  readonly #relay: RelaySide;
  readonly #live = Promise.withResolvers<void>();
  readonly #ended = Promise.withResolvers<void>();
  #socket: ControlSocketServer | undefined;
  #ssh: SshSide | undefined;
  #lastFailure: string | undefined;
  #left: PromiseWithResolvers<void> | undefined;
  #closed: Promise<void> | undefined;

  private constructor(parts: {
    options: AgentOptions;
    folder: StateFolder;
    plan: JoinPlan;
    identity: Identity;
    statement: Statement;
  }) {
    const { options, folder, plan, identity } = parts;
    this.#options = options;
    this.#clock = options.clock ?? SYSTEM_CLOCK;
    this.#folder = folder;
    this.#plan = plan;
    this.#identity = identity;
    this.#standing = new Standing(folder, plan, parts.statement);
    // Nobody may be waiting for either; who is gets the reason all the same.
    this.#live.promise.catch(() => {});
    this.#ended.promise.catch(() => {});
    this.#timestamps = new TimestampSource({
      unixNow: () => this.#clock.unixNow(),
      mark: readMark(folder),
      persist: (mark) => {
        try {
          writeMark(folder, mark);
        } catch (error) {
          log.error("Timestamp not saved", { reason: reasonOf(error) });
          throw error; // then the next handshake tries again
        }
      },
    });
    this.#roster = new RosterCopy({
      folder,
      clock: this.#clock,
      cached: plan.membership === undefined ? undefined : readCachedRoster(folder),
      writeFailed: (error) => log.error("Roster not saved", { reason: reasonOf(error) }),
    });
    this.#data = new DataSide({
      clock: this.#clock,
      port: options.udpPort || readPort(folder),
      isPortChosen: Boolean(options.udpPort),
      interfaceName: options.interfaceName,
      mtu: options.mtu,
      dataPlane: options.dataPlane,
      isForeign: (datagram) => this.#reach.takeStun(datagram),
      onDiscovery: (datagram, path) => this.#discovery(datagram, path),
      onFailed: (error) => this.#fail(error),
    });
    try {
      const sink: PeerSink = {
        upsertPeer: (node, candidates) => {
          this.#data.upsertPeer(node, candidates);
          this.#ssh?.upsertPeer(node);
        },
        removePeer: (node) => {
          this.#data.removePeer(node);
          this.#ssh?.removePeer(node.nodeId);
          this.#relay.transport.removePeer(node.nodeId);
        },
      };
      this.#book = new PeerBook(this.#roster, sink, identity.nodeId);
      this.#reach = new Reach({
        clock: this.#clock,
        data: this.#data,
        url: plan.coordinatorUrl,
        isAtCoordinator: options.inCoordinator !== undefined,
        portMapping: options.portMapping ?? "auto",
        stun: options.stun ?? [],
        changed: () => {
          this.#line.send({ kind: "endpoints", endpoints: this.#reach.endpoints });
          this.#saySshReach();
        },
        moved: ({ isElsewhere }) => this.#moved(isElsewhere),
        coordinatorFound: (addresses) => this.#book.setCoordinatorAddresses(addresses),
      });
      this.#line = this.#makeLine();
      this.#relay = this.#makeRelay();
    } catch (error) {
      this.#data.close();
      throw error;
    }
  }

  /**
   * Starts a node.
   *
   * @returns When the node is live: its interface is up, and it reaches the peers it knows of.
   * @throws {AgentError} With what is missing or was refused; nothing is left behind then.
   */
  static async start(options: AgentOptions): Promise<Agent> {
    const folder = StateFolder.open(options.state);
    let agent: Agent | undefined;
    try {
      for (const warning of folder.warnings) log.warning(warning);
      const plan = planJoin(options, readMembership(folder));
      const { sshKeyPath, passphrase } = options;
      const isMember = plan.membership !== undefined;
      const identity = await openIdentity(folder, isMember ? {} : { sshKeyPath, passphrase });
      const now = (options.clock ?? SYSTEM_CLOCK).unixNow();
      const statement = plan.membership?.statement ??
        await makeStatement(identity, plan.meshId, now);
      agent = new Agent({ options, folder, plan, identity, statement });
      agent.#ssh = await agent.#openSsh();
      await agent.#start();
      return agent;
    } catch (error) {
      await agent?.close();
      folder.close();
      throw error;
    }
  }

  /** Resolves when the node has left its mesh, rejects when it cannot go on. */
  get ended(): Promise<void> {
    return this.#ended.promise;
  }

  /** How the node stands. */
  status(): AgentStatus {
    return agentStatusOf({
      welcome: this.#standing.welcome,
      nodeId: this.#identity.nodeId,
      url: this.#plan.coordinatorUrl,
      isConnected: this.#line.isConnected,
      data: this.#data,
      book: this.#book,
      endpoints: this.#reach.hints.map(({ endpoint }) => endpoint),
      notes: this.#notes(),
      clock: this.#clock,
    });
  }

  /**
   * Asks a peer through its sealed session.
   *
   * @param peer Name, mesh address or node id.
   * @param timeoutMs How long to wait for the answer.
   * @throws {AgentError} `unreachable` if none came, `failed` if there is no such peer.
   */
  async ping(peer: string, timeoutMs: number): Promise<unknown> {
    const node = this.#book.find(peer);
    const device = this.#data.device!;
    try {
      const rttMs = await device.ping(node.nodeId, { timeoutMs });
      const path = device.peerStatus(node.nodeId)?.path ?? { kind: "none" };
      return { name: node.name, nodeId: node.nodeId, rttMs, path };
    } catch (error) {
      if (!(error instanceof DeviceError)) throw error;
      const fault = error.fault === "no-answer" ? "unreachable" : "failed";
      throw new AgentError(fault, `Cannot ping "${node.name}": ${error.fault}`, { cause: error });
    }
  }

  /**
   * Takes the node out of its mesh; the process should then end.
   *
   * @throws {AgentError} `unreachable` if the coordinator cannot be told.
   */
  async leave(): Promise<void> {
    this.#left ??= Promise.withResolvers();
    if (!this.#line.send({ kind: "leave" })) throw cannotLeave();
    const cancel = this.#after(LEAVE_TIMEOUT_MS, () => this.#left?.reject(cannotLeave()));
    try {
      await this.#left.promise;
    } finally {
      cancel();
      this.#left = undefined;
    }
    this.#roster.discard();
    this.#standing.end();
    this.#after(FAREWELL_MS, () => this.#ended.resolve());
  }

  /** A node that joined but cannot work takes itself out again. */
  async #undoJoin(): Promise<void> {
    if (!this.#standing.hasJoinedNow || !this.#line.isConnected) return;
    try {
      await this.leave();
    } catch (error) {
      log.debug("Join not undone", { reason: reasonOf(error) });
    }
  }

  /** Stops the node and undoes what it did to this machine. Safe to call twice. */
  close(): Promise<void> {
    return this.#closed ??= this.#close();
  }

  async #start(): Promise<void> {
    const { signal } = this.#options;
    const abort = () => this.#live.reject(signal?.reason);
    signal?.addEventListener("abort", abort, { once: true });
    if (signal?.aborted) abort();
    try {
      if (!this.#standing.isStranger && this.#roster.psks !== undefined) {
        this.#goLive(this.#roster.psks);
        this.#reach.findCoordinator();
      }
      // Loading the WebSocket client keeps the thread busy; peers that are known already come first.
      const isLive = this.#data.device !== undefined;
      this.#after(isLive ? LINE_AFTER_LIVE_MS : 0, () => this.#line.start());
      await this.#live.promise;
    } catch (error) {
      await this.#undoJoin();
      throw error;
    } finally {
      signal?.removeEventListener("abort", abort);
    }
  }

  async #close(): Promise<void> {
    this.#line.close();
    this.#socket?.close();
    const unreached = this.#reach.close();
    await this.#data.close();
    await this.#ssh?.close();
    await this.#relay.transport.close();
    await unreached;
    this.#roster.close();
    this.#folder.close();
  }

  /** From here on packets pass. */
  #goLive(psks: Psks): void {
    const { mesh, addresses, name } = this.#standing.welcome;
    this.#data.goLive({
      staticKey: this.#identity.staticKey,
      mesh,
      addresses,
      psks,
      timestamps: this.#timestamps,
      carriers: { ssh: this.#ssh?.transport, relay: this.#relay.transport },
      onWant: (nodeId) => this.#sayWanted(nodeId),
    });
    this.#rememberPort();
    this.#book.handOver();
    this.#reach.start();
    this.#socket = new ControlSocketServer(this.#folder.path, AGENT_SOCKET, {
      status: () => this.status(),
      peers: () => this.status().peers,
      ping: ({ peer, timeoutMs }) => this.ping(String(peer), pingTimeoutOf(timeoutMs)),
      "ssh-changed": () => {
        this.#ssh?.refreshEndpoint();
        this.#saySshReach();
      },
      leave: () => this.leave().then(() => ({ left: true })),
    });
    log.info("Node is up", {
      name,
      interface: this.#data.interfaceName,
      address: addresses.ipv4,
      port: this.#data.port,
    });
    if (mesh.policy === "allow-all") log.info("Packet policy is allow-all: all members may talk");
    for (const note of this.#familyNotes()) log.warning(note);
    this.#live.resolve();
  }

  #makeLine(): CoordinatorLine {
    const { coordinatorUrl: url, coordinatorKey, meshId } = this.#plan;
    const dial = this.#options.inCoordinator?.dial;
    return new CoordinatorLine({
      url,
      tlsVerify: this.#options.tlsVerify ?? false,
      coordinatorKey,
      meshId,
      staticKey: this.#identity.staticKey,
      credential: () => this.#standing.credential,
      clock: this.#clock,
      ...(dial === undefined ? {} : { dial }),
      events: {
        hello: () => this.#hello(),
        authenticated: (unixSeconds) => this.#timestamps.raise(unixSeconds * 1000),
        message: (message) => this.#take(message),
        disconnected: (end) => this.#disconnected(end),
      },
    });
  }

  #hello(): Hello {
    const { name } = this.#options;
    const { lineage } = this.#roster;
    const { isStranger } = this.#standing;
    return {
      kind: "hello",
      software: SOFTWARE,
      os: Deno.build.os,
      ...(name === undefined && !isStranger ? {} : { name: name ?? Deno.hostname() }),
      nameIsExplicit: name !== undefined,
      ...this.#standing.introduction,
      rosterVersion: this.#roster.version,
      ...(lineage === undefined ? {} : { rosterLineage: lineage }),
      endpoints: this.#reach.endpoints,
    };
  }

  #take(message: ServerMessage): void {
    switch (message.kind) {
      case "welcome":
        return this.#welcomed(message);
      case "psks":
        return this.#takePsks(message);
      case "roster":
        return this.#book.applyRoster(message);
      case "presence":
        return this.#book.applyPresence(message);
      case "discovery-key":
        return this.#reach.setCredential(message.discovery);
      case "relay-ticket":
        return this.#relay.transport.takeTicket(message.ticket);
      case "peer-wants": {
        const { nodeId, endpoints } = message;
        this.#book.applyPresence({
          kind: "presence",
          full: false,
          online: [{ nodeId, endpoints }],
          offline: [],
        });
        return this.#data.device?.peerWants(nodeId);
      }
    }
  }

  #welcomed(welcome: Welcome): void {
    const before = this.#data.device === undefined ? undefined : this.#standing.welcome;
    this.#lastFailure = undefined;
    this.#timestamps.raise(welcome.unixMs);
    try {
      this.#standing.takeWelcome(welcome);
    } catch (error) {
      return this.#fail(error);
    }
    log.info("Connected to the coordinator", {
      url: this.#plan.coordinatorUrl,
      name: welcome.name,
    });
    if (before !== undefined && placeOf(before) !== placeOf(welcome)) {
      const why = "the coordinator gave this node other addresses";
      return this.#fail(new AgentError("failed", `Cannot go on: ${why}; start it again`));
    }
    this.#data.setMesh(welcome.mesh);
    this.#reach.welcomed(welcome);
    this.#saySshReach();
    this.#relay.welcomed();
  }

  #takePsks(psks: Psks): void {
    const isKept = this.#roster.setPsks(psks);
    if (this.#data.device !== undefined) {
      this.#data.setPsks(psks);
    } else {
      try {
        this.#goLive(psks);
      } catch (error) {
        return this.#fail(error);
      }
    }
    const epoch = psks.next?.epoch ?? psks.current.epoch;
    if (isKept) this.#line.send({ kind: "psk-ack", epoch });
  }

  #disconnected(end: LineEnd): void {
    this.#book.forgetPresence();
    if (end.hasLeft) return this.#left?.resolve();
    const { failure, refusal, retryMs } = end;
    if (this.#standing.takeRefusal(refusal)) return this.#line.retryNow();
    if (this.#standing.isStranger && this.#data.device === undefined) {
      return this.#live.reject(failure);
    }
    if (this.#lastFailure === failure.message) return;
    this.#lastFailure = failure.message;
    const say = failure.fault === "refused" ? log.error : log.warning;
    say.call(log, "Line to the coordinator is down", {
      reason: failure.message,
      delayMs: Math.round(retryMs),
    });
  }

  #discovery(datagram: Uint8Array, path: UdpPath): void {
    const answer = this.#options.inCoordinator?.answerDiscovery(datagram, path.endpoint);
    if (answer !== undefined) this.#data.send(answer, path);
    else this.#reach.takeDiscovery(datagram, path.endpoint);
  }

  #makeRelay(): RelaySide {
    return new RelaySide({
      url: this.#plan.coordinatorUrl,
      tlsVerify: this.#options.tlsVerify ?? false,
      clock: this.#clock,
      askTicket: () => this.#line.send({ kind: "relay-ticket" }),
      peers: () => this.#roster.nodes,
      opened: (nodeId, path) => this.#data.device?.pathFound(nodeId, path),
      closed: (nodeId, path) => this.#data.device?.pathLost(nodeId, path),
    });
  }

  #openSsh(): Promise<SshSide> {
    return SshSide.open({
      ...this.#options.ssh,
      folder: this.#folder,
      clock: this.#clock,
      nodes: () => this.#roster.nodes,
      ownNodeId: this.#identity.nodeId,
      meshRanges: () => this.#data.meshRanges,
      opened: (nodeId, path) => this.#data.device?.pathFound(nodeId, path),
      closed: (nodeId, path) => this.#data.device?.pathLost(nodeId, path),
    });
  }

  #sayWanted(peer: string): void {
    if (this.#book.isPresent(peer) && this.#wants.take(peer, this.#clock.now())) {
      this.#line.send({ kind: "connect", peer });
    }
  }

  /** Tells the coordinator how this node is reached by SSH; it knows whether that is news. */
  #saySshReach(): void {
    const reach = this.#ssh?.reach(this.#reach.hints);
    if (reach !== undefined) this.#line.send({ kind: "ssh", ...reach });
  }

  #moved(hasLostAddress: boolean): void {
    // A coordinator's own member reaches it without a network.
    const isElsewhere = hasLostAddress && this.#options.inCoordinator === undefined;
    this.#data.device?.renewSessions();
    this.#ssh?.transport.retryNow();
    this.#relay.transport.networkChanged(isElsewhere);
    this.#line.networkChanged(isElsewhere);
  }

  #notes(): string[] {
    const failure = this.#line.failure;
    return [
      ...this.#familyNotes(),
      ...this.#reach.notes,
      ...(failure === undefined ? [] : [failure.message]),
    ];
  }

  #familyNotes(): string[] {
    return this.#data.hasIpv6 ? [] : ["IPv6 is off on this machine: the mesh works by IPv4 only"];
  }

  #fail(error: unknown): void {
    this.#live.reject(error);
    this.#ended.reject(error);
  }

  #after(ms: number, callback: () => void): () => void {
    return this.#clock.schedule(this.#clock.now() + ms, callback);
  }

  #rememberPort(): void {
    try {
      writePort(this.#folder, this.#data.port);
    } catch (error) {
      log.error("UDP port not saved", { reason: reasonOf(error) });
    }
  }
}

function placeOf({ addresses, mesh }: Welcome): string {
  return [addresses.ipv4, addresses.ipv6, mesh.ipv4Range, mesh.ipv6Range, mesh.binding].join();
}

function pingTimeoutOf(value: unknown): number {
  const isGood = typeof value === "number" && value > 0 && value <= MAX_PING_TIMEOUT_MS;
  return isGood ? value : DEFAULT_PING_TIMEOUT_MS;
}

function cannotLeave(): AgentError {
  return new AgentError(
    "unreachable",
    "Cannot leave the mesh: the coordinator cannot be told; try again when it can be reached",
  );
}
