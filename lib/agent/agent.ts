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
import type { TimestampSource } from "../session/timestamp.ts";
import type { UdpPath } from "../transport/transport.ts";
import type { Statement } from "../wire/control_message.ts";
import type { Psks } from "../wire/server_message.ts";
import { agentMethods, pingPeer } from "./agent_methods.ts";
import type { AgentOptions } from "./agent_options.ts";
import { ControlSocketServer } from "./control_socket.ts";
import { CoordinatorTalk } from "./coordinator_talk.ts";
import { DataSide } from "./data_side.ts";
import { reasonOf } from "./errors.ts";
import { type Identity, openIdentity } from "./identity.ts";
import { type JoinPlan, makeStatement, planJoin } from "./joining.ts";
import { readCachedRoster, readMembership } from "./membership.ts";
import { PeerBook, type PeerSink } from "./peer_book.ts";
import { PeerTrust } from "./peer_trust.ts";
import { PinStore } from "./pins.ts";
import { Reach } from "./reach.ts";
import { RelaySide } from "./relay_side.ts";
import { RosterCopy } from "./roster_copy.ts";
import { readPort, writePort } from "./small_files.ts";
import { SshSide } from "./ssh_side.ts";
import { Standing } from "./standing.ts";
import { StateFolder } from "./state_folder.ts";
import { type AgentStatus, agentStatusOf } from "./status.ts";
import { timestampsOf } from "./timestamps.ts";

export type { AgentOptions, CoordinatorSide } from "./agent_options.ts";

/** Control socket in the state folder. */
export const AGENT_SOCKET = "agent.sock";

/** How long a node that is live without its coordinator has the thread to itself. */
const LINE_AFTER_LIVE_MS = 50;
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
  readonly #trust: PeerTrust;
  readonly #book: PeerBook;
  readonly #data: DataSide;
  readonly #reach: Reach;
  readonly #relay: RelaySide;
  readonly #talk: CoordinatorTalk;
  readonly #live = Promise.withResolvers<void>();
  readonly #ended = Promise.withResolvers<void>();
  #socket: ControlSocketServer | undefined;
  #ssh: SshSide | undefined;
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
    this.#timestamps = timestampsOf(folder, this.#clock);
    this.#roster = new RosterCopy({
      folder,
      clock: this.#clock,
      cached: plan.membership === undefined ? undefined : readCachedRoster(folder),
      writeFailed: (error) => log.error("Roster not saved", { reason: reasonOf(error) }),
    });
    const { trust: mode } = options;
    this.#trust = new PeerTrust({ pins: PinStore.load(folder), clock: this.#clock, mode });
    this.#data = new DataSide({
      clock: this.#clock,
      port: options.udpPort || readPort(folder),
      isPortChosen: Boolean(options.udpPort),
      interfaceName: options.interfaceName,
      mtu: options.mtu,
      dataPlane: options.dataPlane,
      isForeign: (datagram) => this.#reach.takeStun(datagram),
      onDiscovery: (datagram, path) => this.#discovery(datagram, path),
      onPeerChange: (nodeId) => this.#peerChanged(nodeId),
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
      this.#book = new PeerBook(this.#roster, sink, this.#trust, identity.nodeId);
      this.#reach = new Reach({
        clock: this.#clock,
        data: this.#data,
        url: plan.coordinatorUrl,
        isAtCoordinator: options.inCoordinator !== undefined,
        portMapping: options.portMapping ?? "auto",
        stun: options.stun ?? [],
        changed: () => this.#talk.sayReach(),
        moved: ({ isElsewhere }) => this.#moved(isElsewhere),
        coordinatorFound: (addresses) => this.#book.setCoordinatorAddresses(addresses),
      });
      this.#relay = this.#makeRelay();
      this.#talk = this.#makeTalk();
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
      isConnected: this.#talk.isConnected,
      data: this.#data,
      carriers: {
        relay: { connected: this.#relay.transport.isConnected, ...this.#relay.transport.drops },
        ...(this.#ssh !== undefined && { ssh: { ...this.#ssh.transport.drops } }),
      },
      book: this.#book,
      trust: this.#trust,
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
  ping(peer: string, timeoutMs: number): Promise<unknown> {
    return pingPeer({ book: this.#book, trust: this.#trust, data: this.#data }, peer, timeoutMs);
  }

  /**
   * Takes the node out of its mesh; the process should then end.
   *
   * @throws {AgentError} `unreachable` if the coordinator cannot be told.
   */
  async leave(): Promise<void> {
    await this.#talk.leave();
    this.#roster.discard();
    this.#standing.end();
    this.#after(FAREWELL_MS, () => this.#ended.resolve());
  }

  /** A node that joined but cannot work takes itself out again. */
  async #undoJoin(): Promise<void> {
    if (!this.#standing.hasJoinedNow || !this.#talk.isConnected) return;
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
      this.#after(isLive ? LINE_AFTER_LIVE_MS : 0, () => this.#talk.start());
      await this.#live.promise;
    } catch (error) {
      await this.#undoJoin();
      throw error;
    } finally {
      signal?.removeEventListener("abort", abort);
    }
  }

  async #close(): Promise<void> {
    this.#talk.close();
    this.#socket?.close();
    const unreached = this.#reach.close();
    await this.#data.close();
    await this.#ssh?.close();
    await this.#relay.transport.close();
    await unreached;
    this.#roster.close();
    this.#trust.close();
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
      onWant: (nodeId) => {
        this.#reach.checkMapping();
        this.#talk.sayWanted(nodeId);
      },
    });
    this.#rememberPort();
    this.#book.handOver();
    this.#reach.start();
    const methods = agentMethods({
      status: () => this.status(),
      ping: (peer, timeoutMs) => this.ping(peer, timeoutMs),
      sshChanged: () => {
        this.#ssh?.refreshEndpoint();
        this.#talk.saySshReach();
      },
      leave: () => this.leave(),
      inviting: this.#talk.inviting,
      book: this.#book,
      trust: this.#trust,
      self: () => ({ name, nodeId: this.#identity.nodeId }),
    });
    this.#socket = new ControlSocketServer(this.#folder.path, AGENT_SOCKET, methods);
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

  #makeTalk(): CoordinatorTalk {
    return new CoordinatorTalk({
      options: this.#options,
      clock: this.#clock,
      plan: this.#plan,
      identity: this.#identity,
      standing: this.#standing,
      timestamps: this.#timestamps,
      roster: this.#roster,
      book: this.#book,
      data: this.#data,
      reach: this.#reach,
      relay: this.#relay,
      ssh: () => this.#ssh,
    }, {
      goLive: (psks) => this.#goLive(psks),
      refused: (failure) => this.#live.reject(failure),
      failed: (error) => this.#fail(error),
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
      isInside: this.#options.inCoordinator !== undefined,
      clock: this.#clock,
      askTicket: () => this.#talk.askTicket(),
      peers: () => this.#book.admitted,
      opened: (nodeId, path) => this.#data.device?.pathFound(nodeId, path),
      closed: (nodeId, path) => this.#data.device?.pathLost(nodeId, path),
    });
  }

  #openSsh(): Promise<SshSide> {
    return SshSide.open({
      ...this.#options.ssh,
      folder: this.#folder,
      clock: this.#clock,
      nodes: () => this.#book.admitted,
      ownNodeId: this.#identity.nodeId,
      meshRanges: () => this.#data.meshRanges,
      opened: (nodeId, path) => this.#data.device?.pathFound(nodeId, path),
      closed: (nodeId, path) => this.#data.device?.pathLost(nodeId, path),
    });
  }

  /** Whoever has a session has the key that the roster says it has. */
  #peerChanged(nodeId: string): void {
    const node = this.#book.admitted.get(nodeId);
    if (node === undefined || this.#data.device?.peerStatus(nodeId)?.path === undefined) return;
    this.#trust.heard(node);
  }

  #moved(hasLostAddress: boolean): void {
    // A coordinator's own member reaches it without a network.
    const isElsewhere = hasLostAddress && this.#options.inCoordinator === undefined;
    this.#data.device?.renewSessions();
    this.#ssh?.transport.retryNow();
    // The line first: the relay's ticket comes by the one that is opened now.
    this.#talk.networkChanged(isElsewhere);
    this.#relay.transport.networkChanged(isElsewhere);
  }

  #notes(): string[] {
    const failure = this.#talk.failure;
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
