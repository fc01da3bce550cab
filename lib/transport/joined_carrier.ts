/**
 * Several ways to carry datagrams as one: the UDP socket, and carriers whose paths are connections
 * (SSH, relay), told apart by the kind of the path.
 *
 * @module
 */

import { type DatagramSocket, isUdpPath, type UdpPath } from "./transport.ts";

/** A path of a {@linkcode PeerCarrier}. */
export interface PeerPath {
  readonly kind: "ssh" | "relay";
  /** Equal for two paths exactly if they are the same way. */
  readonly key: string;
  /** The far end as text. */
  readonly remote: string;
}

/** Carries datagrams to nodes, not to addresses: it knows by itself how to get there. */
export interface PeerCarrier {
  /** Starts delivering; as `DatagramCarrier.start`. */
  start(
    receive: (datagram: Uint8Array, path: PeerPath) => void,
    failed: (error: Error) => void,
  ): void;
  /** Sends one datagram; copied. @returns `false` if it is lost. */
  send(datagram: Uint8Array, path: PeerPath): boolean;
  /** Largest datagram in bytes that fits a path; `undefined` where it is not known. */
  largestDatagram?(path: PeerPath): number | undefined;
  /** The way to a node, if there is one at the moment. */
  pathTo(nodeId: string): PeerPath | undefined;
  /** A way to a node is wanted for the next while, for a carrier that has to make one first. */
  want?(nodeId: string): void;
  /** Stops receiving and closes. Safe to call twice. */
  close(): Promise<void>;
}

/** Carriers beside UDP, by the kind of their paths. */
export interface PeerCarriers {
  readonly ssh?: PeerCarrier | undefined;
  readonly relay?: PeerCarrier | undefined;
}

/** One carrier made of several, which are its own from then on. */
export class JoinedCarrier {
  readonly #udp: DatagramSocket;
  readonly #carriers: PeerCarriers;
  /** Those there are, the better first. */
  readonly #all: readonly PeerCarrier[];

  /** Nothing starts yet. */
  constructor(udp: DatagramSocket, carriers: PeerCarriers) {
    this.#udp = udp;
    this.#carriers = carriers;
    this.#all = [carriers.ssh, carriers.relay].filter((carrier) => carrier !== undefined);
  }

  /**
   * Starts all of them.
   *
   * @param receive Called per datagram; borrowed until it returns.
   * @param failed Called once if the UDP socket broke. A broken connection is no failure: its
   * carrier makes another, or has no way.
   */
  start(
    receive: (datagram: Uint8Array, path: UdpPath | PeerPath) => void,
    failed: (error: Error) => void,
  ): void {
    this.#udp.start(receive, failed);
    this.startBesideUdp(receive);
  }

  /** Starts all but the UDP socket: for whoever receives from that by other means. */
  startBesideUdp(receive: (datagram: Uint8Array, path: PeerPath) => void): void {
    for (const carrier of this.#all) carrier.start(receive, () => {});
  }

  /** Sends one datagram by the carrier that made the path; copied. @returns `false`: it is lost. */
  send(
    datagram: Uint8Array,
    path: UdpPath | { readonly kind: string },
    mayFragment = false,
  ): boolean {
    if (isUdpPath(path)) return this.#udp.send(datagram, path, mayFragment);
    const peerPath = path as PeerPath;
    return this.#carriers[peerPath.kind]?.send(datagram, peerPath) ?? false;
  }

  /** Largest datagram in bytes that fits a path; `undefined` where it is not known. */
  largestDatagram(path: UdpPath | { readonly kind: string }): number | undefined {
    if (isUdpPath(path)) return this.#udp.largestDatagram?.(path);
    const peerPath = path as PeerPath;
    return this.#carriers[peerPath.kind]?.largestDatagram?.(peerPath);
  }

  /** Tells the system how much fits a path of UDP; see `DatagramSocket.tellLargest`. */
  tellLargest(path: UdpPath | { readonly kind: string }, bytes: number): void {
    if (isUdpPath(path)) this.#udp.tellLargest?.(path, bytes);
  }

  /** Ways to a node that are there, beside UDP: SSH before relay. */
  pathsTo(nodeId: string): PeerPath[] {
    return this.#all.map((carrier) => carrier.pathTo(nodeId)).filter((path) => path !== undefined);
  }

  /** Ways to a node are wanted. */
  want(nodeId: string): void {
    for (const carrier of this.#all) carrier.want?.(nodeId);
  }

  /** Closes all of them. Safe to call twice. */
  async close(): Promise<void> {
    await Promise.all([this.#udp.close(), ...this.#all.map((carrier) => carrier.close())]);
  }
}
