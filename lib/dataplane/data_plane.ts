/**
 * What moves packets: TUN on one side, sealed datagrams on the other.
 *
 * The control thread decides (handshakes, keys, routes); the data plane carries out. Every
 * implementation passes the same contract suite.
 *
 * @module
 */

import type { IpPrefix } from "../net/ip_prefix.ts";
import type { DropReason } from "../session/actions.ts";
import type { Keypair } from "../session/keypair.ts";
import type { SessionLimits } from "../session/limits.ts";
import type { Path } from "../session/path.ts";
import type { PathLimit } from "./path_limit.ts";

/** Bytes and packets that passed for one peer since it was added. Inner packets, not datagrams. */
export interface PeerTraffic {
  /** Bytes of inner packets delivered to this machine. */
  readonly rxBytes: number;
  /** Bytes of inner packets sealed for the peer. */
  readonly txBytes: number;
  /** Inner packets delivered. */
  readonly rxPackets: number;
  /** Inner packets sealed. */
  readonly txPackets: number;
}

/** What a data plane tells the control thread. No callback may throw. */
export interface DataPlaneEvents {
  /** A datagram that is not transport data arrived (types 1 to 4, 6); borrowed until return. */
  datagram(datagram: Uint8Array, path: Path): void;
  /** A packet waits for this peer and there is no usable keypair. Called once per want. */
  wanted(peer: string): void;
  /** The first datagram authenticated on an unconfirmed keypair, by this path. */
  confirmed(keypair: Keypair, path: Path): void;
  /**
   * Data for a current keypair with a counter above its highest came by another path than the
   * bound one. It was dropped, before any AEAD work.
   */
  strayed(keypair: Keypair, path: Path): void;
  /** An authentic control plaintext (first byte 0x00) came; borrowed until return. */
  control(keypair: Keypair, plaintext: Uint8Array, path: Path): void;
  /**
   * The system refused a datagram of this keypair as too large for its path: it has heard of a
   * narrower link. Called once per size.
   */
  tooLarge(keypair: Keypair): void;
  /** The data plane cannot go on; it must be closed. */
  failed(error: Error): void;
}

/** Moves packets between a TUN device and transports. */
export interface DataPlane {
  /** Which implementation this is. */
  readonly kind: "portable" | "linux";
  /** Which AEAD implementation it found best, such as `wasm` or `libcrypto`. */
  readonly aead: string;
  /** Opens what arrives for this keypair from here on. */
  install(keypair: Keypair): void;
  /** Takes the first datagram of an unconfirmed keypair by all of its `unconfirmedPaths` of now. */
  widen(keypair: Keypair): void;
  /** Sends to its peer with this keypair from here on; what waited for it goes out. */
  use(keypair: Keypair): void;
  /** Neither seals nor opens with this keypair from the moment this returns; wipes its keys. */
  retire(keypair: Keypair): void;
  /**
   * Sets which prefixes a peer may send from and be routed to (its AllowedIPs), adding the peer if
   * it is new.
   */
  setPeer(peer: string, allowedIps: readonly IpPrefix[]): void;
  /** Removes a peer: its keypairs are retired, its routes and queue dropped. */
  removePeer(peer: string): void;
  /** How many packets wait for a keypair of this peer. */
  queued(peer: string): number;
  /** Drops what is queued for a peer that could not be reached, and counts it. */
  dropQueue(peer: string): void;
  /** Sets this machine's own mesh addresses; only packets for them are delivered. */
  setOwnAddresses(addresses: readonly Uint8Array[]): void;
  /** Changes how long and for how many messages keypairs may be used, those in use included. */
  setLimits(limits: SessionLimits): void;
  /**
   * Seals one plaintext (a keepalive if empty, else control) with exactly this keypair.
   *
   * @param onlyIfUnused Not if anything was sealed with it before. @default {false}
   * @returns `false` if the keypair may not send or the transport refused, as far as is known yet.
   */
  seal(keypair: Keypair, plaintext: Uint8Array, onlyIfUnused?: boolean): boolean;
  /**
   * Seals one plaintext with exactly this keypair and sends it in one piece, whatever is known of its
   * path: to find out whether it fits. Refused by the system, it is dropped.
   */
  probe(keypair: Keypair, plaintext: Uint8Array): void;
  /** Sets what fits the path of this keypair; without this call, whatever there is does. */
  setPathLimit(keypair: Keypair, limit: PathLimit): void;
  /** Brings the activity of all keypairs up to date, where others than this thread write it. */
  refresh?(): void;
  /** Sends a datagram that is already whole, such as a handshake message; copied. */
  send(datagram: Uint8Array, path: Path): boolean;
  /** Traffic of one peer; zeros for an unknown one. */
  traffic(peer: string): PeerTraffic;
  /** How often each reason made it drop something. */
  readonly drops: Readonly<Record<DropReason, number>>;
  /** Stops; afterwards nothing is read, written or called back. Safe to call twice. */
  close(): Promise<void>;
}
