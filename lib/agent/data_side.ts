/**
 * The half of an agent that moves packets: UDP socket, TUN device, and between them the device with
 * its sessions.
 *
 * ```
 * opened ──goLive──▶ live ──close──▶ closed
 * ```
 *
 * What needs rights or a free port is opened first, so that a node which cannot work does not join.
 *
 * @module
 */

import { SyscallError } from "../../ffi/errno.ts";
import { NetlinkMonitor } from "../../ffi/netlink_monitor.ts";
import { Poller } from "../../ffi/poller.ts";
import { openUdpSocket, type UdpLinux } from "../../ffi/udp_linux.ts";
import type { Clock } from "../base/clock.ts";
import { logOf } from "../base/log.ts";
import type { KeyPair } from "../crypto/x25519.ts";
import { LinuxPlane } from "../dataplane/linux/linux_plane.ts";
import { Device } from "../mesh/device.ts";
import { DEFAULT_MTU } from "../mesh/device_options.ts";
import { type Endpoint, formatEndpoint } from "../net/endpoint.ts";
import { parseIpAddress } from "../net/ip_address.ts";
import { hostPrefix, type IpPrefix, parseIpPrefix } from "../net/ip_prefix.ts";
import { lowerLimits, type SessionLimits } from "../session/limits.ts";
import { PskRing } from "../session/psk_ring.ts";
import type { TimestampSource } from "../session/timestamp.ts";
import type { PeerCarriers } from "../transport/joined_carrier.ts";
import type { UdpPath } from "../transport/transport.ts";
import type { MeshSettings, NodeAddresses, NodeRecord, Psks } from "../wire/server_message.ts";
import { DEFAULT_LIMITS } from "../session/limits.ts";
import type { DataPlaneWish } from "./data_plane_choice.ts";
import type { WatchNetwork } from "./endpoint_finder.ts";
import { AgentError, reasonOf } from "./errors.ts";
import { natOfPeer } from "./peer_nat.ts";
import { MeshInterface } from "./interface.ts";
import { toAgentError } from "./syscall_fault.ts";

const log = logOf("agent");

/** What is opened before the node has joined. */
export interface DataSideOptions {
  readonly clock: Clock;
  /** UDP port; 0 for any. */
  readonly port: number;
  /** Whether a port that is taken is an error, not a reason to take another. */
  readonly isPortChosen: boolean;
  /** Name or pattern of the interface. */
  readonly interfaceName?: string | undefined;
  /** @default {1408} */
  readonly mtu?: number | undefined;
  /** @default {"auto"} */
  readonly dataPlane?: DataPlaneWish | undefined;
  /** See `DeviceOptions.isForeign`. */
  readonly isForeign: (datagram: Uint8Array) => boolean;
  /** A discovery datagram came; borrowed until return. */
  readonly onDiscovery: (datagram: Uint8Array, path: UdpPath) => void;
  /** A peer got its first session, another path, or none. */
  readonly onPeerChange: (nodeId: string) => void;
  /** TUN or socket broke. */
  readonly onFailed: (error: Error) => void;
}

/** What a node needs to be live. */
export interface LiveOptions {
  readonly staticKey: KeyPair;
  readonly mesh: MeshSettings;
  readonly addresses: NodeAddresses;
  readonly psks: Psks;
  readonly timestamps: TimestampSource;
  /** Carriers beside UDP, for a data plane that can use them. */
  readonly carriers: PeerCarriers;
  /** A peer is sought; see `DeviceOptions.onWant`. */
  readonly onWant: (nodeId: string) => void;
}

/** Socket, interface and device of a node. */
export class DataSide {
  readonly #options: DataSideOptions;
  readonly #poller: Poller;
  readonly #socket: UdpLinux;
  readonly #interface: MeshInterface;
  #device: Device | undefined;
  #meshRanges: readonly IpPrefix[] = [];
  #closed: Promise<void> | undefined;

  /**
   * Opens socket and TUN device.
   *
   * @throws {AgentError} `in-use` if a chosen port is taken, `privilege` or `device` if this
   * process may not have a TUN device.
   */
  constructor(options: DataSideOptions) {
    this.#options = options;
    this.#poller = new Poller();
    try {
      const { interfaceName, mtu = DEFAULT_MTU, dataPlane = "auto" } = options;
      this.#interface = new MeshInterface({
        name: interfaceName,
        mtu,
        poller: this.#poller,
        dataPlane,
      });
      try {
        this.#socket = openSocket(options, this.#poller);
      } catch (error) {
        this.#interface.close();
        throw error;
      }
    } catch (error) {
      this.#poller.close();
      throw error;
    }
  }

  /** UDP port in use. */
  get port(): number {
    return this.#socket.port;
  }

  /** Families of the socket. */
  get families(): { readonly ipv4: boolean; readonly ipv6: boolean } {
    return this.#socket.families;
  }

  /** Name of the interface. */
  get interfaceName(): string {
    return this.#interface.name;
  }

  /** Which data plane moves packets, and why if it is not the best. */
  get dataPlane(): { readonly kind: "linux" | "portable"; readonly reason?: string } {
    return this.#interface.dataPlane;
  }

  /** Whether the interface has an IPv6 address. */
  get hasIpv6(): boolean {
    return this.#interface.hasIpv6;
  }

  /** Ranges of the mesh; none before the node is live. */
  get meshRanges(): readonly IpPrefix[] {
    return this.#meshRanges;
  }

  /** The device; `undefined` before the node is live. */
  get device(): Device | undefined {
    return this.#device;
  }

  /**
   * Configures the interface and starts the device.
   *
   * @throws {AgentError} `config` if the mesh's addresses are in use here for something else.
   */
  goLive(options: LiveOptions): void {
    const { mesh, addresses, psks, timestamps, staticKey } = options;
    const own = { ipv4: parseIpAddress(addresses.ipv4), ipv6: parseIpAddress(addresses.ipv6) };
    const ranges = { ipv4: parseIpPrefix(mesh.ipv4Range), ipv6: parseIpPrefix(mesh.ipv6Range) };
    this.#interface.configure({ addresses: own, ranges });
    this.#meshRanges = [ranges.ipv4, ranges.ipv6];
    const limits = limitsOf(mesh);
    const { tun } = this.#interface;
    const socket = this.#socket;
    this.#device = new Device({
      clock: this.#options.clock,
      tun,
      socket,
      session: {
        profile: "mesh",
        meshId: mesh.id,
        staticKey,
        psks: new PskRing(psks),
        limits,
        timestamps,
        binding: mesh.binding,
      },
      carriers: options.carriers,
      ...(this.#interface.dataPlane.kind === "linux" && {
        plane: (events, carrier) =>
          new LinuxPlane({ tun, socket, carrier, events, limits, binding: mesh.binding }),
      }),
      ownAddresses: this.#interface.hasIpv6 ? [own.ipv4, own.ipv6] : [own.ipv4],
      meshRanges: this.#meshRanges,
      ...(this.#options.mtu !== undefined && { mtu: this.#options.mtu }),
      isForeign: this.#options.isForeign,
      onDiscovery: this.#options.onDiscovery,
      onWant: options.onWant,
      onPeerChange: this.#options.onPeerChange,
      onFailed: this.#options.onFailed,
    });
  }

  /** Takes settings that may change while the node is live. */
  setMesh(mesh: MeshSettings): void {
    this.#device?.setLimits(limitsOf(mesh));
  }

  /** Takes the mesh PSKs in force. */
  setPsks(psks: Psks): void {
    this.#device?.setPsks(new PskRing(psks));
  }

  /**
   * Adds a peer or changes what is known of it. One that cannot be taken is logged and left out:
   * the others must not suffer.
   *
   * @param node From the roster.
   * @param candidates Where it may be.
   */
  upsertPeer(node: NodeRecord, candidates: readonly Endpoint[]): void {
    const { nodeId, staticKey } = node;
    try {
      const addresses = [node.addresses.ipv4, node.addresses.ipv6].map(parseIpAddress);
      const allowedIps = addresses.map(hostPrefix);
      this.#device?.upsertPeer({
        ...{ nodeId, staticKey, allowedIps, candidates },
        nat: natOfPeer(node.endpoints),
      });
      for (const address of addresses) this.#interface.addPeerAddress(address);
    } catch (error) {
      log.warning("Peer left out", { peer: node.name, reason: reasonOf(error) });
    }
  }

  /** Removes a peer: its sessions end at once. */
  removePeer(node: NodeRecord): void {
    this.#device?.removePeer(node.nodeId);
    for (const text of [node.addresses.ipv4, node.addresses.ipv6]) {
      this.#interface.removePeerAddress(parseIpAddress(text));
    }
  }

  /** Sends a datagram from the data socket; lost if the node is not live. */
  send(datagram: Uint8Array, to: Endpoint | UdpPath): void {
    this.#device?.sendDatagram(datagram, to);
  }

  /** Tells of changes of the network, those of the mesh's own interface left out. */
  readonly watchNetwork: WatchNetwork = (events) => {
    const poller = this.#poller;
    const isIgnored = (name: string) => name === this.#interface.name;
    return new NetlinkMonitor({ ...events, poller, clock: this.#options.clock, isIgnored });
  };

  /** Closes everything, and removes the interface. Safe to call twice. */
  close(): Promise<void> {
    return this.#closed ??= this.#close();
  }

  async #close(): Promise<void> {
    await this.#device?.close();
    await this.#socket.close();
    await this.#interface.close();
    await this.#poller.close();
  }
}

function limitsOf(mesh: MeshSettings): SessionLimits {
  try {
    return lowerLimits(mesh.limits);
  } catch (error) {
    log.error("Session limits of the mesh not taken", { reason: reasonOf(error) });
    return DEFAULT_LIMITS;
  }
}

function openSocket(options: DataSideOptions, poller: Poller): UdpLinux {
  const open = (port: number) => openUdpSocket({ port, poller, formatEndpoint });
  try {
    return open(options.port);
  } catch (error) {
    const isTaken = error instanceof SyscallError && error.fault === "in-use";
    if (!isTaken) throw toAgentError(error);
    if (!options.isPortChosen) {
      log.warning("UDP port of the last run is taken, another one is used", { port: options.port });
      return open(0);
    }
    throw new AgentError(
      "in-use",
      `Cannot use UDP port ${options.port}: another process has it; choose another one by ` +
        "--udp-port",
      { cause: error },
    );
  }
}
