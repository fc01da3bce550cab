/**
 * A node in allow-list mode as a running thing (profile `allowed-peers`): no coordinator, no roster,
 * the configuration file is all it goes by.
 *
 * ```
 * lock → private key → TUN and UDP socket → addresses, device → routes, masquerading
 *      → control socket → the file is watched
 * ```
 *
 * @module
 */

import { Poller } from "../../ffi/poller.ts";
import { openUdpSocket, type UdpLinux } from "../../ffi/udp_linux.ts";
import { type Clock, SYSTEM_CLOCK } from "../base/clock.ts";
import { logOf } from "../base/log.ts";
import {
  type AllowedPeersConfig,
  loadAllowedPeers,
  loadPrivateKey,
} from "../config/allowed_peers.ts";
import type { KeyPair } from "../crypto/x25519.ts";
import { LinuxPlane } from "../dataplane/linux/linux_plane.ts";
import { Device } from "../mesh/device.ts";
import { DEFAULT_MTU, DeviceError } from "../mesh/device_options.ts";
import { formatEndpoint, type IpAddress } from "../net/endpoint.ts";
import { ANY_IPV4, ANY_IPV6 } from "../route/inner_addresses.ts";
import { lowerLimits } from "../session/limits.ts";
import { TimestampSource } from "../session/timestamp.ts";
import { ControlSocketServer } from "./control_socket.ts";
import type { DataPlaneWish } from "./data_plane_choice.ts";
import { AgentError, reasonOf } from "./errors.ts";
import { watchFile } from "./file_watch.ts";
import { refuseInvites } from "./inviting.ts";
import { Masquerade } from "./masquerade.ts";
import { readMark, readPort, writeMark, writePort } from "./small_files.ts";
import { StateFolder } from "./state_folder.ts";
import { StaticInterface } from "./static_interface.ts";
import { devicePeersOf, nodeIdOf, StaticPolicy } from "./static_policy.ts";
import { nodeMetrics } from "./metrics.ts";
import { type StaticStatus, staticStatusOf } from "./static_status.ts";
import { toAgentError } from "./syscall_fault.ts";
import { fileTrustMethods } from "./trust_methods.ts";

const log = logOf("agent");

/** Control socket in the state folder: the same as a mesh node's, so that the same commands ask it. */
const AGENT_SOCKET = "agent.sock";
/** There while all traffic goes through the tunnel, and after a crash. */
const DEFAULT_ROUTE_MARK = "default_route";
const DEFAULT_PING_TIMEOUT_MS = 5_000;
const MAX_PING_TIMEOUT_MS = 60_000;

/** What a person wants of a node in allow-list mode. */
export interface StaticNodeOptions {
  /** The policy at the start. */
  readonly config: AllowedPeersConfig;
  /** State folder. */
  readonly state: string;
  /** @default the configuration's, else `auto` */
  readonly dataPlane?: DataPlaneWish | undefined;
  /** @default {SYSTEM_CLOCK} */
  readonly clock?: Clock | undefined;
}

/** A running node. */
export class StaticNode {
  readonly #clock: Clock;
  readonly #folder: StateFolder;
  readonly #staticKey: KeyPair;
  readonly #policy: StaticPolicy;
  readonly #poller: Poller;
  readonly #interface: StaticInterface;
  readonly #socket: UdpLinux;
  readonly #device: Device;
  readonly #masquerade: Masquerade;
  readonly #ended = Promise.withResolvers<void>();
  #control: ControlSocketServer | undefined;
  #watch: { close(): void } | undefined;
  #closed: Promise<void> | undefined;

  private constructor(options: StaticNodeOptions, folder: StateFolder, undo: Undo) {
    const { config } = options;
    this.#clock = options.clock ?? SYSTEM_CLOCK;
    this.#folder = folder;
    this.#ended.promise.catch(() => {}); // nobody may be waiting for it
    this.#staticKey = loadPrivateKey(config);
    this.#policy = new StaticPolicy({
      first: config,
      ownPublicKey: this.#staticKey.publicKey,
      load: () => loadAllowedPeers(config.file),
      apply: (policy) => this.#apply(policy),
      unixNow: () => this.#clock.unixNow(),
    });
    this.#poller = undo.add(new Poller());
    this.#interface = undo.add(
      new StaticInterface({
        name: config.interfaceName,
        mtu: config.mtu ?? DEFAULT_MTU,
        poller: this.#poller,
        dataPlane: options.dataPlane ?? config.dataPlane ?? "auto",
      }),
    );
    this.#socket = undo.add(openSocket(config, folder, this.#poller));
    this.#interface.configure(config.addresses);
    this.#device = undo.add(this.#makeDevice(config));
    this.#masquerade = new Masquerade(this.#interface.name, folder);
    undo.add({ close: () => this.#masquerade.remove() });
    // What a process that died left behind goes, whatever this one is to do.
    this.#masquerade.remove();
    this.#apply(config);
    this.#setDefaultRoute(config);
    this.#rememberPort();
  }

  /**
   * Starts a node.
   *
   * @throws {AgentError} With what is missing; nothing is left behind then.
   * @throws {ConfigError} If the private key cannot be used.
   */
  static async start(options: StaticNodeOptions): Promise<StaticNode> {
    const folder = StateFolder.open(options.state);
    const undo = new Undo();
    try {
      for (const warning of folder.warnings) log.warning(warning);
      const node = new StaticNode(options, folder, undo);
      node.#serve();
      return node;
    } catch (error) {
      await undo.run();
      folder.close();
      throw error;
    }
  }

  /** Rejects when the node cannot go on. */
  get ended(): Promise<void> {
    return this.#ended.promise;
  }

  /** How the node stands. */
  status(): StaticStatus {
    return staticStatusOf({
      policy: this.#policy,
      publicKey: this.#staticKey.publicKey,
      device: this.#device,
      addresses: this.#interface.addresses,
      interfaceName: this.#interface.name,
      dataPlaneReason: this.#interface.dataPlane.reason,
      port: this.#socket.port,
      clock: this.#clock,
    });
  }

  /** Reads the file again. A broken one changes nothing; the status says so. */
  reload(): Promise<void> {
    return this.#policy.reload();
  }

  /**
   * Asks a peer through its sealed session.
   *
   * @param peer Name, tunnel address or node id.
   * @throws {AgentError} `unreachable` if no answer came, `failed` if there is no such peer, or it
   * is disabled.
   */
  async ping(peer: string, timeoutMs: number): Promise<unknown> {
    const found = this.#policy.find(peer);
    const { name } = found;
    if (!found.enabled) throw new AgentError("failed", `Cannot ping "${name}": it is disabled`);
    const nodeId = nodeIdOf(found);
    try {
      const rttMs = await this.#device.ping(nodeId, { timeoutMs });
      return {
        name,
        nodeId,
        rttMs,
        path: this.#device.peerStatus(nodeId)?.path ?? { kind: "none" },
      };
    } catch (error) {
      if (!(error instanceof DeviceError)) throw error;
      const fault = error.fault === "no-answer" ? "unreachable" : "failed";
      throw new AgentError(fault, `Cannot ping "${name}": ${error.fault}`, { cause: error });
    }
  }

  /** Stops the node and undoes what it did to this machine. Safe to call twice. */
  close(): Promise<void> {
    return this.#closed ??= this.#close();
  }

  async #close(): Promise<void> {
    this.#watch?.close();
    this.#control?.close();
    this.#masquerade.remove();
    await this.#device.close();
    await this.#socket.close();
    await this.#interface.close();
    this.#folder.remove(DEFAULT_ROUTE_MARK);
    await this.#poller.close();
    this.#folder.close();
  }

  #serve(): void {
    this.#control = new ControlSocketServer(this.#folder.path, AGENT_SOCKET, {
      status: () => this.status(),
      metrics: () => nodeMetrics(this.status()),
      peers: () => this.status().peers,
      ping: ({ peer, timeoutMs }) => this.ping(String(peer), pingTimeoutOf(timeoutMs)),
      reload: () => this.reload().then(() => ({ notes: this.#policy.notes })),
      "invite-check": refuseInvites,
      invite: refuseInvites,
      ...fileTrustMethods(() => this.status()),
    });
    const { file } = this.#policy.config;
    this.#watch = watchFile(file, () => this.reload());
    log.info("Node is up", {
      interface: this.#interface.name,
      port: this.#socket.port,
      count: devicePeersOf(this.#policy.config).length,
    });
  }

  /** Puts a policy in force; what can fail comes first. */
  #apply(policy: AllowedPeersConfig): void {
    const peers = devicePeersOf(policy);
    const limits = lowerLimits(policy.limits);
    this.#interface.setRoutes(policy.peers.flatMap(({ allowedIps }) => allowedIps));
    if (policy.masquerade) this.#masquerade.set(peers.flatMap(({ allowedIps }) => allowedIps));
    else if (this.#masquerade.isOn) this.#masquerade.remove();
    this.#device.setOwnAddresses(this.#ownAddresses());
    this.#device.setPeers(peers);
    this.#device.setLimits(limits);
  }

  /** Own addresses; where clients are masqueraded, those of the whole world stand for them. */
  #ownAddresses(): IpAddress[] {
    const own = this.#interface.addresses;
    return this.#masquerade.isOn ? [...own, ANY_IPV4, ANY_IPV6] : [...own];
  }

  #makeDevice(config: AllowedPeersConfig): Device {
    const { tun, dataPlane } = this.#interface;
    const socket = this.#socket;
    const limits = lowerLimits(config.limits);
    return new Device({
      clock: this.#clock,
      tun,
      mtu: config.mtu ?? DEFAULT_MTU,
      socket,
      session: {
        profile: "allowed-peers",
        meshId: config.meshId,
        staticKey: this.#staticKey,
        limits,
        timestamps: this.#timestamps(),
      },
      ...(dataPlane.kind === "linux" && {
        plane: (events) => new LinuxPlane({ tun, socket, events, limits }),
      }),
      ownAddresses: this.#interface.addresses,
      meshRanges: this.#interface.networks,
      onFailed: (error) => this.#ended.reject(error),
    });
  }

  #timestamps(): TimestampSource {
    return new TimestampSource({
      unixNow: () => this.#clock.unixNow(),
      mark: readMark(this.#folder),
      persist: (mark) => {
        try {
          writeMark(this.#folder, mark);
        } catch (error) {
          log.error("Timestamp not saved", { reason: reasonOf(error) });
          throw error; // then the next handshake tries again
        }
      },
    });
  }

  /**
   * Takes all traffic if the file says so. That it did is written down, so that the next start opens
   * what a crash left shut, even under another file; nobody else's start does.
   */
  #setDefaultRoute(config: AllowedPeersConfig): void {
    if (config.defaultRoute) {
      this.#folder.write(DEFAULT_ROUTE_MARK, "");
      return this.#routeEverything(config);
    }
    if (this.#folder.read(DEFAULT_ROUTE_MARK) === undefined) return;
    this.#interface.sweepDefaultRoute();
    this.#folder.remove(DEFAULT_ROUTE_MARK);
  }

  #routeEverything({ peers }: AllowedPeersConfig): void {
    const carries = (length: number) =>
      this.#interface.addresses.some((own) => own.length === length) &&
      peers.some(({ allowedIps }) =>
        allowedIps.some((prefix) => prefix.length === 0 && prefix.address.length === length)
      );
    const families = { ipv4: carries(4), ipv6: carries(16) };
    this.#interface.routeEverything(this.#socket.port, families);
  }

  #rememberPort(): void {
    try {
      writePort(this.#folder, this.#socket.port);
    } catch (error) {
      log.warning("UDP port not saved", { reason: reasonOf(error) });
    }
  }
}

function pingTimeoutOf(value: unknown): number {
  const isGood = typeof value === "number" && value > 0 && value <= MAX_PING_TIMEOUT_MS;
  return isGood ? value : DEFAULT_PING_TIMEOUT_MS;
}

/** What is open so far, to be closed in reverse if the start fails. */
class Undo {
  readonly #open: { close(): void | Promise<void> }[] = [];

  add<T extends { close(): void | Promise<void> }>(thing: T): T {
    this.#open.push(thing);
    return thing;
  }

  async run(): Promise<void> {
    for (const thing of this.#open.splice(0).reverse()) await thing.close();
  }
}

function openSocket(config: AllowedPeersConfig, folder: StateFolder, poller: Poller): UdpLinux {
  const { port, hasIpv6 } = config.listen;
  const open = (at: number) => openUdpSocket({ port: at, poller, formatEndpoint, ipv6: hasIpv6 });
  try {
    if (port !== 0) return open(port);
    try {
      return open(readPort(folder));
    } catch {
      return open(0); // somebody else has the port of the last run
    }
  } catch (error) {
    const failure = toAgentError(error);
    if (!(failure instanceof AgentError) || failure.fault !== "in-use") throw failure;
    throw new AgentError(
      "in-use",
      `Cannot use UDP port ${port}: another process has it; choose another one by listen`,
      { cause: error },
    );
  }
}
