/**
 * The stage of the data plane contract: a data plane with two peers, between a machine and a network
 * that the test plays.
 *
 * @module
 */

import type { DataPlane, DataPlaneEvents } from "../../lib/dataplane/data_plane.ts";
import { parseIpAddress } from "../../lib/net/ip_address.ts";
import { type IpPrefix, parseIpPrefix } from "../../lib/net/ip_prefix.ts";
import { DROP_REASONS, type DropReason } from "../../lib/session/actions.ts";
import type { Path } from "../../lib/session/path.ts";
import { FarEnd } from "../fakes/far_end.ts";
import { udpPacket } from "../fakes/packets.ts";

/** A data plane between a machine and a network that the test plays. */
export interface PlaneBench {
  readonly plane: DataPlane;
  /** `Clock.now` of the plane. */
  now(): number;
  /** Two paths to two far sockets, as arrivals from there have them. */
  readonly paths: readonly [Path, Path];
  /** The machine sends a packet into the TUN. */
  fromMachine(packet: Uint8Array): void;
  /** A far socket sends a datagram to the plane. */
  fromNetwork(datagram: Uint8Array, path: Path): void;
  /** Lets everything that is under way arrive, and the plane do what it was told. */
  settle(): Promise<void>;
  /** Takes what the plane wrote into the TUN. */
  toMachine(): Uint8Array[];
  /** Takes what arrived at the far sockets, with the path it left by. */
  toNetwork(): { readonly datagram: Uint8Array; readonly path: Path }[];
  /** Makes the network carry UDP payloads up to this length only. */
  limitDatagrams(bytes: number): void;
  close(): Promise<void>;
}

/** Makes a bench with these events. */
export type PlaneBenchFactory = (events: DataPlaneEvents) => Promise<PlaneBench>;

/** A bench with two peers, and what the plane told. */
export class Scene {
  readonly told: string[] = [];
  /** What `confirmed` does, as the session layer would. */
  onConfirmed: DataPlaneEvents["confirmed"] = (keypair, path) => {
    keypair.path = path;
    keypair.isConfirmed = true;
  };
  bench!: PlaneBench;
  #seed = 1;

  readonly events: DataPlaneEvents = {
    datagram: (datagram, path) => this.told.push(`datagram ${datagram[0]} ${path.remote}`),
    wanted: (peer) => this.told.push(`wanted ${peer.slice(0, 2)}`),
    confirmed: (keypair, path) => {
      this.told.push(`confirmed ${keypair.peer.slice(0, 2)} ${path.remote}`);
      this.onConfirmed(keypair, path);
    },
    strayed: (keypair, path) =>
      this.told.push(`strayed ${keypair.peer.slice(0, 2)} ${path.remote}`),
    control: (_keypair, plaintext) => this.told.push(`control ${plaintext.toHex()}`),
    tooLarge: (keypair) => this.told.push(`too-large ${keypair.peer.slice(0, 2)}`),
    failed: (error) => this.told.push(`failed ${error.message}`),
  };

  get plane(): DataPlane {
    return this.bench.plane;
  }

  /** A far end of the first peer, installed and, unless told otherwise, in use. */
  session(
    options: { peer?: string; use?: boolean; createdAt?: number; sent?: number } = {},
  ): FarEnd {
    const { peer = PEER_ID, use = true, createdAt = this.bench.now(), sent = 0 } = options;
    const far = new FarEnd({ peer, seed: this.#seed++, createdAt, path: this.bench.paths[0] });
    far.keypair.activity.sendCounter = sent;
    this.plane.install(far.keypair);
    if (use) this.plane.use(far.keypair);
    return far;
  }

  /** A far end that was not confirmed, by any of these paths. */
  unconfirmed(paths: readonly Path[]): FarEnd {
    const createdAt = this.bench.now();
    const far = new FarEnd({
      peer: PEER_ID,
      seed: this.#seed++,
      createdAt,
      unconfirmedPaths: paths,
    });
    this.plane.install(far.keypair);
    return far;
  }

  /** A datagram arrives; returns what was delivered for it. */
  async arrive(datagram: Uint8Array, path: Path = this.bench.paths[0]): Promise<Uint8Array[]> {
    this.bench.fromNetwork(datagram, path);
    await this.bench.settle();
    return this.bench.toMachine();
  }

  /**
   * The machine sends a packet; returns what left for it. What the plane was told before holds for
   * it: a packet may overtake that, which is not what is asked here.
   */
  async depart(packet: Uint8Array) {
    await this.bench.settle();
    this.bench.fromMachine(packet);
    await this.bench.settle();
    return this.bench.toNetwork();
  }

  /** Drop counters that are not zero. */
  drops(): Partial<Record<DropReason, number>> {
    const seen: Partial<Record<DropReason, number>> = {};
    for (const reason of DROP_REASONS) {
      if (this.plane.drops[reason] !== 0) seen[reason] = this.plane.drops[reason];
    }
    return seen;
  }
}

/** One case of the contract. */
export type Case = readonly [title: string, run: (scene: Scene) => Promise<void>];

/** This machine's mesh addresses. */
export const OWN = { 4: parseIpAddress("100.64.0.1"), 6: parseIpAddress("fd00::1") };
/** The first peer's. */
export const PEER = { 4: parseIpAddress("100.64.0.2"), 6: parseIpAddress("fd00::2") };
/** The second peer's. */
export const OTHER = { 4: parseIpAddress("100.64.0.3"), 6: parseIpAddress("fd00::3") };
/** No peer's. */
export const NOBODY = { 4: parseIpAddress("100.64.0.99"), 6: parseIpAddress("fd00::99") };
/** Node id of the first peer. */
export const PEER_ID = "aa".repeat(32);
/** Node id of the second peer. */
export const OTHER_ID = "bb".repeat(32);
/** Both, to loop over. */
export const FAMILIES = [4, 6] as const;

/** An address per family. */
export type ByFamily = { readonly 4: Uint8Array; readonly 6: Uint8Array };

/** A packet of this machine. */
export function packetOut(
  family: 4 | 6,
  to: ByFamily,
  payload: Uint8Array = Uint8Array.of(1),
): Uint8Array {
  return udpPacket({ source: OWN[family], destination: to[family], payload });
}

/** A packet of the first peer for this machine. */
export function packetIn(family: 4 | 6, payload: Uint8Array = Uint8Array.of(1)): Uint8Array {
  return udpPacket({ source: PEER[family], destination: OWN[family], payload });
}

/** A copy with another source. */
export function withSource(packet: Uint8Array, source: Uint8Array): Uint8Array {
  const changed = packet.slice();
  changed.set(source, source.length === 4 ? 12 : 8);
  return changed;
}

/** A copy with another destination. */
export function withDestination(packet: Uint8Array, destination: Uint8Array): Uint8Array {
  const changed = packet.slice();
  changed.set(destination, destination.length === 4 ? 16 : 24);
  return changed;
}

/** The packet as a sender with a partial checksum sends it: top bit set, field meaningless. */
export function partial(packet: Uint8Array): Uint8Array {
  const changed = packet.slice();
  const checksumAt = (packet[0]! >> 4 === 4 ? 20 : 40) + 6;
  if (packet[packet[0]! >> 4 === 4 ? 9 : 6] === 17) changed.set([0xab, 0xcd], checksumAt);
  changed[0]! |= 0x80;
  return changed;
}

/** An IPv4-mapped IPv6 address. */
export function mapped(ipv4: Uint8Array): Uint8Array {
  return Uint8Array.from([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, ...ipv4]);
}

/** A number as two bytes. */
export function numbered(i: number): Uint8Array {
  return Uint8Array.of(i >> 8, i & 255);
}

/** Parses prefixes. */
export function prefixes(...texts: string[]): IpPrefix[] {
  return texts.map((text) => parseIpPrefix(text));
}

/** The fields of an ICMP error. */
export function icmpOf(packet: Uint8Array) {
  const family = packet[0]! >> 4 as 4 | 6;
  const start = family === 4 ? 20 : 40;
  const view = new DataView(packet.buffer, packet.byteOffset, packet.length);
  return {
    family,
    type: packet[start],
    code: packet[start + 1],
    mtu: view.getUint32(start + 4),
    source: family === 4 ? packet.slice(12, 16) : packet.slice(8, 24),
    destination: family === 4 ? packet.slice(16, 20) : packet.slice(24, 40),
    quoted: packet.slice(start + 8),
  };
}
