/**
 * Whole nodes on the simulated network: each a device with its sessions, its data plane, a TUN whose
 * machine answers pings, and keys that are the same in every run.
 *
 * @module
 */

import { toHex } from "../../lib/base/bytes.ts";
import { sha256 } from "../../lib/crypto/hash.ts";
import { type TransportAead, transportAead } from "../../lib/crypto/transport_aead.ts";
import { type KeyPair, keyPairFrom } from "../../lib/crypto/x25519.ts";
import { PortablePlane, type PortablePlaneOptions } from "../../lib/dataplane/portable.ts";
import { Device } from "../../lib/mesh/device.ts";
import type { DeviceOptions, DevicePeer, PeerStatus } from "../../lib/mesh/device_options.ts";
import { type Endpoint, formatEndpoint } from "../../lib/net/endpoint.ts";
import { buildEcho, parseEcho } from "../../lib/net/icmp.ts";
import { IP_PROTOCOL } from "../../lib/net/ip_packet.ts";
import { parseIpAddress } from "../../lib/net/ip_address.ts";
import { hostPrefix, parseIpPrefix } from "../../lib/net/ip_prefix.ts";
import { DROP_REASONS, type DropReason } from "../../lib/session/actions.ts";
import { DEFAULT_LIMITS, type SessionLimits } from "../../lib/session/limits.ts";
import type { Keypair } from "../../lib/session/keypair.ts";
import { PskRing } from "../../lib/session/psk_ring.ts";
import type { SessionsOptions } from "../../lib/session/sessions.ts";
import { TimestampSource } from "../../lib/session/timestamp.ts";
import { JoinedCarrier, type PeerCarriers } from "../../lib/transport/joined_carrier.ts";
import { FakeClock } from "../fakes/clock.ts";
import { countingBackend } from "../fakes/crypto_counter.ts";
import {
  type FakeSocket,
  type Flight,
  type LinkQuality,
  type SimulatedHost,
  SimulatedNat,
  SimulatedNetwork,
} from "../fakes/network.ts";
import { udpPacket, udpPayload } from "../fakes/packets.ts";
import type { FakePeerLinks } from "../fakes/peer_carrier.ts";
import { seededBytes } from "../fakes/random.ts";
import { FakeTun } from "../fakes/tun.ts";

/** UDP port of every node. */
export const PORT = 51_820;
/** Ranges of mesh addresses. */
export const MESH_RANGES = ["100.64.0.0/10", "fd77::/48"].map((text) => parseIpPrefix(text));
/** The PSK of every mesh that is not told otherwise. */
export const PSKS: PskRing = new PskRing({
  current: { epoch: 1, psk: new Uint8Array(32).fill(0x42) },
});
/** Two servers that tell where they were asked from. */
const DISCOVERY: readonly Endpoint[] = [
  { address: Uint8Array.of(192, 0, 2, 250), port: 8443 },
  { address: Uint8Array.of(192, 0, 2, 250), port: 8444 },
];
const MESH_ID = new Uint8Array(16).fill(0x4d);

/** How a node differs from the others. */
export interface NodeOptions {
  /** Underlay addresses. @default one IPv4 and one IPv6 address by its number */
  readonly addresses?: readonly string[];
  readonly nat?: SimulatedNat;
  /** A key of somebody else, for a node that steals one. */
  readonly staticKey?: KeyPair;
  /** What differs in its session layer. */
  readonly session?: Partial<SessionsOptions>;
  /** Makes another data plane. */
  readonly plane?: (options: PortablePlaneOptions) => OpenPlane;
  /** What differs in its device. */
  readonly device?: Partial<DeviceOptions>;
}

/** Calls of the transport AEAD. */
export interface AeadCounts {
  seals: number;
  opens: number;
}

/** A data plane that remembers what it was given. */
export class OpenPlane extends PortablePlane {
  /** Keypairs that were ever installed, oldest first. */
  readonly installed: Keypair[] = [];
  /** How many paths could confirm an unconfirmed keypair, each time when there was one more. */
  readonly widened: number[] = [];
  /** The keypair that each peer is sent to with. */
  readonly inUse = new Map<string, Keypair>();

  override install(keypair: Keypair): void {
    this.installed.push(keypair);
    super.install(keypair);
  }

  override widen(keypair: Keypair): void {
    this.widened.push(keypair.unconfirmedPaths.length);
    super.widen(keypair);
  }

  override use(keypair: Keypair): void {
    this.inUse.set(keypair.peer, keypair);
    super.use(keypair);
  }
}

/** One node. */
export class TestNode {
  readonly mesh: TestMesh;
  readonly name: string;
  readonly staticKey: KeyPair;
  readonly nodeId: string;
  /** Mesh addresses by family. */
  readonly inner: { readonly 4: Uint8Array; readonly 6: Uint8Array };
  readonly host: SimulatedHost;
  readonly crypto = countingBackend();
  readonly aeadCounts: AeadCounts = { seals: 0, opens: 0 };
  /** Written ahead by the timestamp source; survives a restart. */
  timestampMark = 0;
  /** Payloads of the UDP packets that reached this machine, oldest first. */
  readonly received: Uint8Array[] = [];
  /** Echo replies that reached this machine. */
  echoReplies = 0;
  /** ICMP errors that reached this machine. */
  icmpErrors = 0;
  socket!: FakeSocket;
  tun!: FakeTun;
  device!: Device;
  plane!: OpenPlane;
  readonly #options: NodeOptions;
  #starts = 0;
  #number: number;

  /** Made by {@linkcode TestMesh.add}. */
  constructor(mesh: TestMesh, name: string, number: number, options: NodeOptions) {
    this.mesh = mesh;
    this.name = name;
    this.#number = number;
    this.#options = options;
    this.staticKey = options.staticKey ?? keyPairFrom(seededBytes(1000 + number)(32));
    this.nodeId = toHex(sha256(this.staticKey.publicKey));
    this.inner = {
      4: parseIpAddress(`100.64.0.${number}`),
      6: parseIpAddress(`fd77::${number.toString(16)}`),
    };
    const addresses = options.addresses ?? [`192.0.2.${number}`, `2001:db8::${number}`];
    this.host = mesh.network.host(name, addresses, options.nat);
    this.start();
  }

  /** Starts the node, as after a reboot: only keys, peers and the timestamp mark are there. */
  start(): void {
    const { mesh } = this;
    this.socket = this.host.socket(PORT);
    this.tun = new FakeTun(this.name);
    this.tun.onDelivery = (packet) => this.#take(packet);
    const session: DeviceOptions["session"] = {
      profile: "mesh",
      meshId: MESH_ID,
      staticKey: this.staticKey,
      psks: PSKS,
      limits: mesh.limits,
      timestamps: new TimestampSource({
        unixNow: () => mesh.clock.unixNow(),
        mark: this.timestampMark,
        persist: (mark) => {
          this.timestampMark = mark;
        },
      }),
      crypto: this.crypto.backend,
      random: seededBytes(this.#number * 100 + this.#starts++),
      ...this.#options.session,
    };
    const carriers = this.#attach();
    const planeOptions: Omit<PortablePlaneOptions, "events"> = {
      clock: mesh.clock,
      tun: this.tun,
      socket: new JoinedCarrier(this.socket, carriers ?? {}),
      limits: session.limits,
      ...(session.binding && { binding: session.binding }),
      aead: countingAead(this.aeadCounts),
    };
    this.device = new Device({
      clock: mesh.clock,
      tun: this.tun,
      socket: this.socket,
      session,
      ownAddresses: [this.inner[4], this.inner[6]],
      meshRanges: MESH_RANGES,
      ...(carriers && { carriers }),
      onWant: (nodeId) => mesh.tellWanted(nodeId, this.nodeId),
      plane: (events) => {
        const { plane = (given) => new OpenPlane(given) } = this.#options;
        return this.plane = plane({ ...planeOptions, events });
      },
      ...this.#options.device,
    });
  }

  /** Where this node says it may be: its addresses, and what two servers see. */
  candidates(): Endpoint[] {
    const local = this.host.addresses.map((address): Endpoint => ({ address, port: PORT }));
    const seen = DISCOVERY.map((server) => this.host.seenFrom(PORT, server));
    const all = [...local, ...seen.filter((endpoint) => endpoint !== undefined)];
    return [...new Map(all.map((endpoint) => [formatEndpoint(endpoint), endpoint])).values()];
  }

  /** The process is killed: nothing is said, everything is forgotten; peers are not set again. */
  async kill(): Promise<void> {
    await this.socket.close();
    await this.device.close();
  }

  /** This node as a peer of others. */
  asPeer(changes: Partial<DevicePeer> = {}): DevicePeer {
    return {
      nodeId: this.nodeId,
      staticKey: this.staticKey.publicKey,
      allowedIps: [hostPrefix(this.inner[4]), hostPrefix(this.inner[6])],
      candidates: this.host.nat === undefined
        ? this.host.addresses.map((address): Endpoint => ({ address, port: PORT }))
        : [],
      ...changes,
    };
  }

  /** How things stand with another node. */
  statusOf(peer: TestNode): PeerStatus {
    const status = this.device.peerStatus(peer.nodeId);
    if (status === undefined) throw new Error(`${peer.name} is no peer of ${this.name}`);
    return status;
  }

  /** Sends a UDP packet through the mesh. */
  send(to: TestNode, payload: Uint8Array, family: 4 | 6 = 4): void {
    const [source, destination] = [this.inner[family], to.inner[family]];
    this.tun.send(udpPacket({ source, destination, payload }));
  }

  /** Pings another node's machine and runs the clock; returns the milliseconds, if it answers. */
  pingInner(to: TestNode, family: 4 | 6 = 4, maxMs = 10_000): number | undefined {
    const before = this.echoReplies;
    const [source, destination] = [this.inner[family], to.inner[family]];
    const data = Uint8Array.of(1, 2, 3);
    const echo = { source, destination, isReply: false, identifier: 7, sequence: before, data };
    this.tun.send(buildEcho(echo));
    return this.mesh.clock.advanceUntil(() => this.echoReplies > before, maxMs);
  }

  /** Seals any plaintext for a peer, as a peer that keeps no rule would. */
  sealAnything(to: TestNode, plaintext: Uint8Array): void {
    this.plane.seal(this.plane.inUse.get(to.nodeId)!, plaintext);
  }

  /** Keypairs with a peer that may still open something. */
  liveKeypairs(peer: TestNode): Keypair[] {
    return this.plane.installed.filter((keypair) =>
      keypair.peer === peer.nodeId && !keypair.isRetired
    );
  }

  /** Drop counters that are not zero. */
  drops(): Partial<Record<DropReason, number>> {
    const seen: Partial<Record<DropReason, number>> = {};
    const { drops } = this.device;
    for (const reason of DROP_REASONS) if (drops[reason] !== 0) seen[reason] = drops[reason];
    return seen;
  }

  #attach(): PeerCarriers | undefined {
    const { links } = this.mesh;
    if (links === undefined) return undefined;
    const attach = (of: FakePeerLinks | undefined) => {
      const carrier = of?.attach(this.nodeId);
      if (carrier === undefined) return undefined;
      carrier.onChange = (nodeId, path, isThere) => {
        if (isThere) this.device.pathFound(nodeId, path);
        else this.device.pathLost(nodeId, path);
      };
      return carrier;
    };
    return { ssh: attach(links.ssh), relay: attach(links.relay) };
  }

  #take(packet: Uint8Array): void {
    const echo = parseEcho(packet);
    if (echo?.isReply === true) this.echoReplies++;
    else if (echo !== undefined) {
      const { source, destination } = echo;
      this.tun.send(
        buildEcho({ ...echo, source: destination, destination: source, isReply: true }),
      );
    } else if (packet[packet[0]! >> 4 === 4 ? 9 : 6] === IP_PROTOCOL.udp) {
      this.received.push(udpPayload(packet));
    } else this.icmpErrors++;
  }
}

/** What a mesh is made of. */
export interface MeshOptions extends Partial<LinkQuality> {
  /** Makes the carriers beside UDP. @default none */
  readonly links?: (clock: FakeClock) => MeshLinks;
  readonly seed?: number;
  readonly limits?: SessionLimits;
}

/** Carriers beside UDP, for all nodes. */
export interface MeshLinks {
  readonly ssh?: FakePeerLinks;
  readonly relay?: FakePeerLinks;
}

/** Several nodes on one network. */
export class TestMesh {
  readonly links: MeshLinks | undefined;
  /** How long word of a wanted peer takes by the coordinator; `undefined`: there is none. */
  coordinatorMs: number | undefined;
  readonly clock = new FakeClock();
  readonly network: SimulatedNetwork;
  readonly limits: SessionLimits;
  readonly nodes: TestNode[] = [];

  constructor(options: MeshOptions = {}) {
    const { limits = DEFAULT_LIMITS, links, ...network } = options;
    this.limits = limits;
    this.links = links?.(this.clock);
    this.network = new SimulatedNetwork({ clock: this.clock, ...network });
  }

  /** Adds a node that knows nobody. */
  add(name: string, options: NodeOptions = {}): TestNode {
    const node = new TestNode(this, name, this.nodes.length + 1, options);
    this.nodes.push(node);
    return node;
  }

  /** Makes all nodes peers of each other. */
  introduceAll(): void {
    for (const node of this.nodes) {
      node.device.setPeers(
        this.nodes.filter((peer) => peer !== node).map((peer) => peer.asPeer()),
      );
    }
  }

  /** Tells a node that another one wants it, as the coordinator does. */
  tellWanted(wanted: string, by: string): void {
    if (this.coordinatorMs === undefined) return;
    this.clock.schedule(this.clock.now() + this.coordinatorMs, () => {
      this.nodes.find(({ nodeId }) => nodeId === wanted)?.device.peerWants(by);
    });
  }

  /** Closes all nodes. */
  async close(): Promise<void> {
    for (const node of this.nodes) await node.device.close();
  }
}

/** Two nodes, alice and bob, who know each other. */
export function twoNodes(options: MeshOptions = {}) {
  const mesh = new TestMesh(options);
  const alice = mesh.add("alice");
  const bob = mesh.add("bob");
  mesh.introduceAll();
  return { mesh, clock: mesh.clock, network: mesh.network, alice, bob };
}

/** Datagrams of one type among those that left a host since a mark. */
export function recordedOf(mesh: TestMesh, type: number, from?: TestNode): Flight[] {
  return mesh.network.recorded.filter((flight) =>
    flight.datagram[0] === type && (from === undefined || from.host.has(flight.from.address))
  );
}

/** An endpoint that belongs to nobody, another one for each number. */
export function spoofedEndpoint(i: number): Endpoint {
  return { address: Uint8Array.of(203, 0, 113 - (i >> 8 & 63), i & 255), port: 1024 + i % 60_000 };
}

/** A number as four bytes, for payloads that can be told apart. */
export function numbered(value: number): Uint8Array {
  const bytes = new Uint8Array(4);
  new DataView(bytes.buffer).setUint32(0, value);
  return bytes;
}

/** What {@linkcode numbered} wrote. */
export function numberOf(bytes: Uint8Array): number {
  return new DataView(bytes.buffer, bytes.byteOffset).getUint32(0);
}

function countingAead(counts: AeadCounts): TransportAead {
  const inner = transportAead();
  return {
    name: inner.name,
    seal(...args) {
      counts.seals++;
      inner.seal(...args);
    },
    open(...args) {
      counts.opens++;
      return inner.open(...args);
    },
    wipe: () => inner.wipe(),
  };
}
