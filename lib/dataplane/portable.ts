/**
 * The data plane that runs anywhere: one thread, a TUN device and a carrier of datagrams, each
 * packet sealed or opened on its own.
 *
 * Out, in the order of the packet ({@linkcode PortablePlane} `#fromTun`):
 * 1. version and length of the packet; 2. its source is ours; 3. whose its destination is;
 * 4. no keypair: it waits, and one is wanted; 5. seal; 6. send; too large: tell the sender.
 *
 * In (`#fromCarrier`): 1. what is not transport data goes to the control thread; 2. index; 3. path,
 * before any AEAD work; 4. replay window; 5. open; 6. confirm; 7. kind of plaintext; 8. its source is
 * the peer's, its destination ours; 9. into the TUN.
 *
 * Bytes from outside never make anything here throw: each packet ends delivered or counted.
 *
 * @module
 */

import type { Clock } from "../base/clock.ts";
import {
  MAX_TRANSPORT_PLAINTEXT,
  type TransportAead,
  transportAead,
} from "../crypto/transport_aead.ts";
import { finishPartialChecksum } from "../net/checksum.ts";
import type { IpAddress } from "../net/endpoint.ts";
import type { IpPrefix } from "../net/ip_prefix.ts";
import { clampMss } from "../net/tcp_mss.ts";
import { AllowedIps } from "../route/allowed_ips.ts";
import {
  destinationPeer,
  OwnAddresses,
  receivedPacketFault,
  sentPacketFault,
} from "../route/inner_addresses.ts";
import type { DropReason } from "../session/actions.ts";
import type { Keypair } from "../session/keypair.ts";
import type { SessionLimits } from "../session/limits.ts";
import type { Path } from "../session/path.ts";
import { type Binding, DATA_OVERHEAD, TransportKeys } from "../session/transport_keys.ts";
import { DATAGRAM_TYPE, datagramFault, dataReceiverIndex, isData } from "../wire/datagram.ts";
import { PARTIAL_CHECKSUM_BIT, plaintextKind } from "../wire/inner_control.ts";
import type { DataPlane, DataPlaneEvents, PeerTraffic } from "./data_plane.ts";
import type { DatagramCarrier } from "./datagram_carrier.ts";
import { newDropCounts } from "./drop_counts.ts";
import { IcmpReplies } from "./icmp_replies.ts";
import { isTooLarge, NO_LIMIT, type PathLimit, pathLimit } from "./path_limit.ts";
import { PacketQueue, type QueueLimits } from "./packet_queue.ts";
import type { TunDevice } from "./tun_device.ts";

/** What a {@linkcode PortablePlane} works with. */
export interface PortablePlaneOptions {
  readonly clock: Clock;
  /** Owned from now on. */
  readonly tun: TunDevice;
  /** Owned from now on; a `DatagramSocket` is one. */
  readonly socket: DatagramCarrier;
  /** Called from within the methods here and from what TUN and socket deliver. */
  readonly events: DataPlaneEvents;
  readonly limits: SessionLimits;
  /** @default {transportAead()} */
  readonly aead?: TransportAead;
  /** @default {"strict"} */
  readonly binding?: Binding;
  /** How much may wait per peer. */
  readonly queue?: QueueLimits;
}

/** One peer. */
interface Peer {
  readonly id: string;
  readonly queue: PacketQueue;
  readonly traffic: { -readonly [Field in keyof PeerTraffic]: PeerTraffic[Field] };
  current: Entry | undefined;
  /** Whether a keypair was asked for and did not come yet. */
  isWanted: boolean;
}

/** What a receiver index stands for. */
interface Entry {
  readonly peer: Peer;
  readonly keys: TransportKeys;
  limit: PathLimit;
}

/** Longest datagram of transport data. */
const MAX_DATAGRAM = MAX_TRANSPORT_PLAINTEXT + DATA_OVERHEAD;
const NO_TRAFFIC: PeerTraffic = { rxBytes: 0, txBytes: 0, rxPackets: 0, txPackets: 0 };

/** A {@linkcode DataPlane} in plain TypeScript. */
export class PortablePlane implements DataPlane {
  readonly kind = "portable";
  readonly aead: string;
  readonly drops = newDropCounts();
  readonly #clock: Clock;
  readonly #tun: TunDevice;
  readonly #carrier: DatagramCarrier;
  readonly #events: DataPlaneEvents;
  readonly #aead: TransportAead;
  readonly #rules: { limits: SessionLimits; readonly binding: Binding };
  readonly #queueLimits: QueueLimits | undefined;
  readonly #peers = new Map<string, Peer>();
  readonly #entries = new Map<number, Entry>();
  readonly #routes = new AllowedIps<Peer>((peer) => peer.id);
  readonly #icmp = new IcmpReplies();
  /** Written by `#seal`; free again once the carrier has taken the datagram. */
  readonly #sealed = new Uint8Array(MAX_DATAGRAM);
  /** Written by `#fromCarrier` alone, which is never entered twice. */
  readonly #opened = new Uint8Array(MAX_DATAGRAM);
  #own = new OwnAddresses([]);
  #isClosed = false;

  /** Starts both devices. */
  constructor(options: PortablePlaneOptions) {
    this.#clock = options.clock;
    this.#tun = options.tun;
    this.#carrier = options.socket;
    this.#events = options.events;
    this.#aead = options.aead ?? transportAead();
    this.aead = this.#aead.name;
    this.#rules = { limits: options.limits, binding: options.binding ?? "strict" };
    this.#queueLimits = options.queue;
    const failed = (error: Error) => {
      if (!this.#isClosed) this.#events.failed(error);
    };
    this.#tun.start((packet) => this.#fromTun(packet), failed);
    this.#carrier.start((datagram, path) => this.#fromCarrier(datagram, path), failed);
  }

  install(keypair: Keypair): void {
    const peer = this.#peers.get(keypair.peer);
    if (peer === undefined || this.#entryOf(keypair) !== undefined) return;
    const keys = new TransportKeys(keypair, this.#aead, this.#rules);
    this.#entries.set(keypair.localIndex, { peer, keys, limit: NO_LIMIT });
  }

  /** The keypair that is asked at each datagram is the session layer's own. */
  widen(_keypair: Keypair): void {}

  use(keypair: Keypair): void {
    const entry = this.#entryOf(keypair);
    if (entry === undefined) return;
    const { peer } = entry;
    peer.current = entry;
    peer.isWanted = false;
    for (const packet of peer.queue.take()) this.#send(peer, packet);
  }

  retire(keypair: Keypair): void {
    const entry = this.#entryOf(keypair);
    if (entry !== undefined) this.#retire(entry);
  }

  setPeer(id: string, allowedIps: readonly IpPrefix[]): void {
    const known = this.#peers.get(id);
    const peer = known ?? {
      id,
      queue: new PacketQueue(this.#queueLimits),
      traffic: { ...NO_TRAFFIC },
      current: undefined,
      isWanted: false,
    };
    this.#routes.replace(peer, allowedIps);
    if (known === undefined) this.#peers.set(id, peer);
  }

  removePeer(id: string): void {
    const peer = this.#peers.get(id);
    if (peer === undefined) return;
    for (const entry of [...this.#entries.values()]) {
      if (entry.peer === peer) this.#retire(entry);
    }
    this.#routes.removeValue(peer);
    this.dropQueue(id);
    this.#peers.delete(id);
  }

  dropQueue(id: string): void {
    const peer = this.#peers.get(id);
    if (peer === undefined) return;
    this.#drop("no-keypair", peer.queue.take().length);
    peer.isWanted = false;
  }

  queued(id: string): number {
    return this.#peers.get(id)?.queue.length ?? 0;
  }

  setOwnAddresses(addresses: readonly IpAddress[]): void {
    this.#own = new OwnAddresses(addresses);
  }

  setLimits(limits: SessionLimits): void {
    this.#rules.limits = limits;
  }

  seal(keypair: Keypair, plaintext: Uint8Array, onlyIfUnused = false): boolean {
    if (onlyIfUnused && keypair.activity.sendCounter > 0) return true;
    const entry = this.#entryOf(keypair);
    const now = this.#clock.now();
    if (entry === undefined || entry.keys.whyNotSend(now) !== undefined) return false;
    return this.#seal(entry, plaintext, now);
  }

  probe(keypair: Keypair, plaintext: Uint8Array): void {
    const entry = this.#entryOf(keypair);
    const now = this.#clock.now();
    if (entry === undefined || entry.keys.whyNotSend(now) !== undefined) return;
    this.#seal({ ...entry, limit: NO_LIMIT }, plaintext, now);
  }

  setPathLimit(keypair: Keypair, limit: PathLimit): void {
    const entry = this.#entryOf(keypair);
    if (entry !== undefined) entry.limit = limit;
  }

  send(datagram: Uint8Array, path: Path): boolean {
    return !this.#isClosed && this.#carrier.send(datagram, path);
  }

  traffic(id: string): PeerTraffic {
    return this.#peers.get(id)?.traffic ?? NO_TRAFFIC;
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    for (const id of [...this.#peers.keys()]) this.removePeer(id);
    await Promise.all([this.#tun.close(), this.#carrier.close()]);
  }

  // Out.

  #fromTun(packet: Uint8Array): void {
    if (this.#isClosed) return;
    const fault = sentPacketFault(packet, this.#own);
    if (fault !== undefined) return this.#drop(fault);
    if (packet.length > MAX_TRANSPORT_PLAINTEXT) return this.#drop("malformed");
    const peer = destinationPeer(packet, this.#routes);
    if (peer !== undefined) return this.#send(peer, packet);
    this.#drop("no-route");
    this.#answer(this.#icmp.unreachable(packet, this.#clock.now()));
  }

  /** Seals a packet for a peer, or lets it wait. */
  #send(peer: Peer, packet: Uint8Array): void {
    const entry = peer.current;
    const now = this.#clock.now();
    if (entry === undefined || entry.keys.whyNotSend(now) !== undefined) {
      return this.#enqueue(peer, packet);
    }
    const { limit } = entry;
    if (limit.mtu !== Infinity) {
      if (isTooLarge(packet, packet.length, limit)) {
        this.#drop("send-failed");
        return this.#answer(this.#icmp.tooBig(packet, limit.mtu, now));
      }
      clampMss(packet, 0, packet.length, limit.mtu, false);
    }
    peer.traffic.txPackets++;
    peer.traffic.txBytes += packet.length;
    if (!this.#seal(entry, packet, now)) this.#learnPathMtu(entry, packet, now);
  }

  #enqueue(peer: Peer, packet: Uint8Array): void {
    this.#drop("queue-full", peer.queue.push(packet));
    if (peer.isWanted) return;
    peer.isWanted = true;
    this.#events.wanted(peer.id);
  }

  /** Seals with keys that may, and sends. */
  #seal({ keys, limit }: Entry, plaintext: Uint8Array, now: number): boolean {
    const length = keys.seal(plaintext, this.#sealed, 0, now);
    const datagram = this.#sealed.subarray(0, length);
    // A keypair that may send has a path.
    const isSent = this.#carrier.send(datagram, keys.keypair.path!, length > limit.whole);
    if (!isSent) this.#drop("send-failed");
    return isSent;
  }

  /** RFC 1191, RFC 8201: who sends too much at once must hear of it, or its connection hangs. */
  #learnPathMtu(entry: Entry, packet: Uint8Array, now: number): void {
    const { keypair } = entry.keys;
    const largest = this.#carrier.largestDatagram?.(keypair.path!);
    if (largest === undefined || largest <= DATA_OVERHEAD || largest >= entry.limit.whole) return;
    if (packet.length + DATA_OVERHEAD <= largest) return;
    entry.limit = pathLimit(largest - DATA_OVERHEAD);
    if (isTooLarge(packet, packet.length, entry.limit)) {
      this.#answer(this.#icmp.tooBig(packet, entry.limit.mtu, now));
    }
    this.#events.tooLarge(keypair);
  }

  #answer(packet: Uint8Array | undefined): void {
    if (packet !== undefined && !this.#tun.write(packet)) this.#drop("tun-write-failed");
  }

  // In.

  #fromCarrier(datagram: Uint8Array, path: Path): void {
    if (this.#isClosed) return;
    if (datagram[0] !== DATAGRAM_TYPE.data) return this.#hand(datagram, path);
    if (!isData(datagram) || datagram.length > MAX_DATAGRAM) return this.#drop("malformed");
    const entry = this.#entries.get(dataReceiverIndex(datagram));
    if (entry === undefined) return this.#drop("unknown-index");
    const { peer, keys } = entry;
    const now = this.#clock.now();
    const refusal = keys.whyNotOpen(datagram, path, now);
    if (refusal !== undefined) return this.#refuse(refusal, entry, datagram, path);
    const length = keys.open(datagram, this.#opened, path, now);
    if (length < 0) return this.#drop("bad-tag");
    if (!this.#isConfirmed(keys.keypair, path)) return this.#drop("expired-keypair");
    this.#receive(peer, keys.keypair, this.#opened.subarray(0, length), path);
  }

  /** What is no transport data is the control thread's, if it is anything. */
  #hand(datagram: Uint8Array, path: Path): void {
    const type = datagram[0] ?? 0;
    if (type < DATAGRAM_TYPE.initiation || type > DATAGRAM_TYPE.discovery) {
      return this.#drop(datagramFault(datagram));
    }
    this.#events.datagram(datagram, path);
  }

  #refuse(reason: DropReason, entry: Entry, datagram: Uint8Array, path: Path): void {
    this.#drop(reason);
    const { peer, keys } = entry;
    if (reason === "wrong-path" && peer.current?.keys === keys && keys.isAhead(datagram)) {
      this.#events.strayed(keys.keypair, path);
    }
  }

  /** The first datagram that opens confirms; the session layer checks authorisation again then. */
  #isConfirmed(keypair: Keypair, path: Path): boolean {
    if (!keypair.isConfirmed) this.#events.confirmed(keypair, path);
    return keypair.isConfirmed && !keypair.isRetired;
  }

  #receive(peer: Peer, keypair: Keypair, plaintext: Uint8Array, path: Path): void {
    switch (plaintextKind(plaintext)) {
      case "packet":
        return this.#deliver(peer, plaintext);
      case "partial-packet":
        plaintext[0]! &= ~PARTIAL_CHECKSUM_BIT;
        if (!finishPartialChecksum(plaintext)) return this.#drop("bad-partial-checksum");
        return this.#deliver(peer, plaintext);
      case "control":
        return this.#events.control(keypair, plaintext, path);
      case "keepalive":
        return;
      case undefined:
        return this.#drop("bad-plaintext");
    }
  }

  #deliver(peer: Peer, packet: Uint8Array): void {
    const fault = receivedPacketFault(packet, peer, this.#routes, this.#own);
    if (fault !== undefined) return this.#drop(fault);
    if (!this.#tun.write(packet)) return this.#drop("tun-write-failed");
    peer.traffic.rxPackets++;
    peer.traffic.rxBytes += packet.length;
  }

  #entryOf(keypair: Keypair): Entry | undefined {
    const entry = this.#entries.get(keypair.localIndex);
    return entry?.keys.keypair === keypair ? entry : undefined;
  }

  #retire(entry: Entry): void {
    const { peer, keys } = entry;
    keys.retire();
    this.#entries.delete(keys.keypair.localIndex);
    if (peer.current === entry) peer.current = undefined;
  }

  #drop(reason: DropReason, times = 1): void {
    this.drops[reason] += times;
  }
}
