/**
 * One node of a mesh: joins sessions, data plane, peers and clock. It decides nothing of the
 * protocol: what the session layer asks is carried out (action_runner.ts), and where peers may be
 * found is known here.
 *
 * What must hold: a removed peer is gone, in both directions, when `removePeer` returns.
 *
 * @module
 */

import type { Clock } from "../base/clock.ts";
import type { DataPlane, DataPlaneEvents } from "../dataplane/data_plane.ts";
import { type DropCounts, newDropCounts, sumOfDropCounts } from "../dataplane/drop_counts.ts";
import { PortablePlane } from "../dataplane/portable.ts";
import type { Endpoint, IpAddress } from "../net/endpoint.ts";
import { equalPrefixes, type IpPrefix } from "../net/ip_prefix.ts";
import { AllowedIps } from "../route/allowed_ips.ts";
import type { SessionLimits } from "../session/limits.ts";
import type { Path } from "../session/path.ts";
import type { PskRing } from "../session/psk_ring.ts";
import { Sessions } from "../session/sessions.ts";
import { JoinedCarrier } from "../transport/joined_carrier.ts";
import { type DatagramSocket, isUdpPath, type UdpPath } from "../transport/transport.ts";
import { DATAGRAM_TYPE } from "../wire/datagram.ts";
import { ActionRunner } from "./action_runner.ts";
import {
  DeviceError,
  type DeviceOptions,
  type DevicePeer,
  type PeerStatus,
  type Underlay,
} from "./device_options.ts";
import { type DeviceParts, PeerPaths } from "./peer_paths.ts";
import { peerStatusOf } from "./peer_status.ts";
import { Pings } from "./pings.ts";
import { Ways } from "./ways.ts";

/** A node of a mesh. */
export class Device {
  readonly #clock: Clock;
  readonly #socket: DatagramSocket;
  /** `#socket` and the carriers beside it. */
  readonly #carrier: JoinedCarrier;
  readonly #sessions: Sessions;
  readonly #plane: DataPlane;
  readonly #options: DeviceOptions;
  readonly #peers = new Map<string, PeerPaths>();
  readonly #pings: Pings;
  readonly #ways: Ways;
  readonly #parts: DeviceParts;
  readonly #runner: ActionRunner;
  readonly #drops = newDropCounts();
  #underlay: Underlay = { nat: "unknown" };

  /** Starts TUN and socket. */
  constructor(options: DeviceOptions) {
    this.#options = options;
    this.#clock = options.clock;
    this.#socket = options.socket;
    this.#carrier = new JoinedCarrier(options.socket, options.carriers ?? {});
    this.#pings = new Pings(options.clock);
    this.#sessions = new Sessions({
      unixNow: () => options.clock.unixNow(),
      ...options.session,
      mayHealTo: (path) => !isUdpPath(path) || this.#ways.isReachable(path.endpoint),
    });
    const events = this.#events();
    this.#plane = options.plane?.(events, this.#carrier) ?? new PortablePlane({
      clock: options.clock,
      tun: options.tun,
      socket: this.#carrier,
      events,
      limits: options.session.limits,
      ...(options.session.binding && { binding: options.session.binding }),
      ...(options.aead && { aead: options.aead }),
    });
    this.#plane.setOwnAddresses(options.ownAddresses);
    this.#ways = new Ways({
      device: options,
      carrier: this.#carrier,
      sessions: this.#sessions,
      plane: this.#plane,
      drops: this.#drops,
    });
    this.#runner = new ActionRunner({
      clock: this.#clock,
      sessions: this.#sessions,
      plane: this.#plane,
      peers: this.#peers,
      pings: this.#pings,
      drops: this.#drops,
      onPeerChange: (nodeId) => options.onPeerChange?.(nodeId),
    });
    this.#parts = {
      clock: this.#clock,
      options,
      sessions: this.#sessions,
      plane: this.#plane,
      carrier: this.#carrier,
      ways: this.#ways,
      underlay: () => this.#underlay,
      isClosed: () => this.#runner.isClosed,
      do: (call) => this.#runner.do(call),
    };
  }

  /** Which data plane moves the packets. */
  get dataPlane(): { readonly kind: DataPlane["kind"]; readonly aead: string } {
    return { kind: this.#plane.kind, aead: this.#plane.aead };
  }

  /** How often each reason made this node drop something. */
  get drops(): DropCounts {
    return sumOfDropCounts(this.#drops, this.#plane.drops);
  }

  /** Sets this node's mesh addresses. */
  setOwnAddresses(addresses: readonly IpAddress[]): void {
    this.#plane.setOwnAddresses(addresses);
  }

  /** Changes limits, those of sessions that exist included. */
  setLimits(limits: SessionLimits): void {
    this.#sessions.setLimits(limits);
    this.#plane.setLimits(limits);
    this.#runner.arm();
  }

  /** Changes the preshared keys; sessions that exist stay. */
  setPsks(psks: PskRing): void {
    this.#sessions.setPsks(psks);
  }

  /**
   * Sets all peers: adds, changes and removes. Sessions of peers that stay are not touched.
   *
   * @throws {OverlapError} when AllowedIPs of two of them overlap; nothing has changed then.
   * @throws {RangeError} when a key cannot be used; the peers before that one are set then.
   */
  setPeers(peers: readonly DevicePeer[]): void {
    const routes = new AllowedIps<string>();
    for (const { nodeId, allowedIps } of peers) routes.replace(nodeId, allowedIps);
    const staying = new Map(peers.map((peer) => [peer.nodeId, peer]));
    for (const nodeId of [...this.#peers.keys()]) {
      if (!staying.has(nodeId)) this.removePeer(nodeId);
    }
    // Prefixes may move from one peer to another, so all that change are given up first.
    for (const [nodeId, { spec }] of this.#peers) {
      if (!hasEqualPrefixes(spec, staying.get(nodeId)!)) this.#plane.setPeer(nodeId, []);
    }
    for (const peer of peers) this.upsertPeer(peer);
  }

  /**
   * Adds a peer, or changes what is known of it.
   *
   * @throws {OverlapError} when its AllowedIPs overlap those of another peer; nothing has changed
   * then.
   * @throws {RangeError} when its key cannot be used, or is not the one it had; nothing has changed
   * then.
   */
  upsertPeer(spec: DevicePeer): void {
    if (this.#runner.isClosed) return;
    const { nodeId } = spec;
    const known = this.#peers.get(nodeId);
    this.#plane.setPeer(nodeId, spec.allowedIps);
    try {
      this.#sessions.addPeer(spec);
    } catch (error) {
      if (known === undefined) this.#plane.removePeer(nodeId);
      else this.#plane.setPeer(nodeId, known.spec.allowedIps);
      throw error;
    }
    const peer = known ?? new PeerPaths(spec, this.#parts);
    peer.spec = spec;
    this.#peers.set(nodeId, peer);
    const fresh = peer.candidates.name(
      spec.candidates.filter((to) => this.#ways.isReachable(to)),
    );
    if (fresh.length > 0) peer.seeker.found(fresh.map((endpoint) => this.#socket.path(endpoint)));
    this.#runner.arm();
  }

  /** Removes a peer: its sessions end at once in both directions. An unknown one is fine. */
  removePeer(nodeId: string): void {
    const peer = this.#peers.get(nodeId);
    if (peer === undefined) return;
    this.#peers.delete(nodeId);
    peer.lost();
    const actions = this.#sessions.removePeer(nodeId);
    this.#plane.removePeer(nodeId);
    this.#runner.act(actions);
    this.#pings.fail(nodeId, new DeviceError("unknown-peer", `Peer ${nodeId} was removed`));
    this.#options.onPeerChange?.(nodeId);
  }

  /** Starts a fresh handshake with each peer that has a session: this node's addresses changed. */
  renewSessions(): void {
    for (const [nodeId, { seeker }] of this.#peers) {
      const session = this.#sessions.peer(nodeId);
      if (session?.current !== undefined || session?.outstanding !== undefined) seeker.moved();
    }
  }

  /** Sets what is known of the network that this node is in. */
  setUnderlay(underlay: Underlay): void {
    this.#underlay = underlay;
    for (const peer of this.#peers.values()) peer.underlayChanged();
    this.#runner.arm();
  }

  /** The coordinator says that a peer wants to be reached: this node seeks it, too. */
  peerWants(nodeId: string): void {
    if (!this.#runner.isClosed) this.#peers.get(nodeId)?.seeker.peerWants();
  }

  /**
   * Measures the round trip to a peer, by a sealed echo; starts a session if there is none.
   *
   * @param options `timeoutMs`: how long to wait. @default {5000}
   * @returns Milliseconds.
   * @throws {DeviceError} `unknown-peer`, `no-answer` or `closed`; as a rejection.
   */
  ping(nodeId: string, options: { readonly timeoutMs?: number } = {}): Promise<number> {
    if (this.#runner.isClosed || !this.#peers.has(nodeId)) {
      const fault = this.#runner.isClosed ? "closed" : "unknown-peer";
      return Promise.reject(new DeviceError(fault, `Cannot ping ${nodeId}: ${fault}`));
    }
    const answer = this.#pings.wait(nodeId, options.timeoutMs ?? 5_000);
    this.#runner.act(this.#sessions.echo(nodeId, this.#clock.now()));
    return answer;
  }

  /** How things stand with every peer, in the order they were added. */
  status(): PeerStatus[] {
    return [...this.#peers.keys()].map((nodeId) => this.#statusOf(nodeId));
  }

  /** How things stand with one peer; `undefined` for an unknown one. */
  peerStatus(nodeId: string): PeerStatus | undefined {
    return this.#peers.has(nodeId) ? this.#statusOf(nodeId) : undefined;
  }

  /**
   * Sends a datagram of somebody else's making, such as a discovery ask, from the port that
   * sessions use; copied.
   *
   * @param to An endpoint (the system chooses the own address) or the path of one that came.
   * @returns `false` if it could not be sent.
   */
  sendDatagram(datagram: Uint8Array, to: Endpoint | UdpPath): boolean {
    const path = "kind" in to ? to : this.#socket.path(to);
    return !this.#runner.isClosed && this.#plane.send(datagram, path);
  }

  /**
   * A carrier beside UDP found a way to a peer: a handshake under way goes there too, and a session
   * that has a worse one moves there. Called by whoever hears that from the carrier.
   */
  pathFound(nodeId: string, path: Path): void {
    if (!this.#runner.isClosed) this.#peers.get(nodeId)?.seeker.found([path]);
  }

  /** A carrier beside UDP lost a way: sessions bound to it look for others at once. */
  pathLost(nodeId: string, path: Path): void {
    if (this.#runner.isClosed || this.#sessions.peer(nodeId)?.current?.path?.key !== path.key) {
      return;
    }
    this.#runner.act(this.#sessions.renew(nodeId, this.#clock.now()));
  }

  /** Says bye to all peers, ends all sessions and closes TUN and socket. Safe to call twice. */
  async close(): Promise<void> {
    if (!this.#runner.isClosed) {
      this.#runner.close(this.#sessions.stop(this.#clock.now()));
      for (const peer of this.#peers.values()) peer.lost();
      this.#pings.failAll(new DeviceError("closed", "The device was closed"));
    }
    await this.#plane.close();
  }

  #events(): DataPlaneEvents {
    const now = () => this.#clock.now();
    return {
      datagram: (datagram, path) => this.#receive(datagram, path),
      wanted: (nodeId) => this.#want(nodeId),
      confirmed: (keypair, path) =>
        this.#runner.act(this.#sessions.confirmed(keypair, path, now())),
      strayed: (keypair, path) => this.#runner.act(this.#sessions.strayed(keypair, path, now())),
      control: (keypair, plaintext, path) =>
        this.#runner.act(this.#sessions.control(keypair, plaintext, path, now())),
      tooLarge: (keypair) => {
        const { peer } = keypair;
        if (this.#sessions.peer(peer)?.current === keypair) this.#peers.get(peer)?.mtu.refused();
      },
      failed: (error) => this.#options.onFailed?.(error),
    };
  }

  #receive(datagram: Uint8Array, path: Path): void {
    if (this.#options.isForeign?.(datagram)) return;
    if (datagram[0] !== DATAGRAM_TYPE.discovery) {
      this.#runner.act(this.#sessions.receive(datagram, path, this.#clock.now()));
    } else if (isUdpPath(path)) {
      this.#options.onDiscovery?.(datagram, path);
    }
  }

  #want(nodeId: string): void {
    this.#runner.do(() => this.#sessions.initiate(nodeId, this.#clock.now()));
  }

  #statusOf(nodeId: string): PeerStatus {
    const { spec, candidates, seeker, mtu } = this.#peers.get(nodeId)!;
    return peerStatusOf({
      spec,
      session: this.#sessions.peer(nodeId),
      traffic: this.#plane.traffic(nodeId),
      queued: this.#plane.queued(nodeId),
      candidates: candidates.all(),
      underlay: this.#underlay,
      switches: seeker.switches,
      soughtForMs: seeker.soughtForMs,
      limit: mtu.limit,
    });
  }
}

function hasEqualPrefixes(a: { allowedIps: readonly IpPrefix[] }, b: typeof a): boolean {
  return a.allowedIps.length === b.allowedIps.length &&
    a.allowedIps.every((prefix, i) => equalPrefixes(prefix, b.allowedIps[i]!));
}
