/**
 * A way to carry datagrams. All transports pass one contract suite (tests/transport/contract.ts).
 *
 * @module
 */

import type { Endpoint, IpAddress } from "../net/endpoint.ts";

/** The way one datagram came or shall go: both ends, since a session is bound to both. */
export interface UdpPath {
  readonly kind: "udp";
  /** Equal exactly for equal `endpoint` and `local`. */
  readonly key: string;
  /** The far end as text. */
  readonly remote: string;
  /** The far end. */
  readonly endpoint: Endpoint;
  /** Own address that datagrams arrive at and leave from; `undefined`: the system chooses. */
  readonly local: IpAddress | undefined;
}

/** Whether a path is one of UDP. */
export function isUdpPath(path: { readonly kind: string }): path is UdpPath {
  return path.kind === "udp";
}

/** A bound UDP socket (or a pair of them, one per family). */
export interface DatagramSocket {
  /** The port it is bound to. */
  readonly port: number;
  /** Which families it can send and receive. */
  readonly families: { readonly ipv4: boolean; readonly ipv6: boolean };
  /**
   * Starts delivering what arrives.
   *
   * @param receive Called per datagram; the bytes are borrowed until it returns. The same two ends
   * give the same path object while it is remembered.
   * @param failed Called once if nothing can be received any more.
   */
  start(
    receive: (datagram: Uint8Array, path: UdpPath) => void,
    failed: (error: Error) => void,
  ): void;
  /** The path to an endpoint, from an own address or from whichever the system chooses. */
  path(endpoint: Endpoint, local?: IpAddress): UdpPath;
  /**
   * Sends one datagram; copied.
   *
   * @param mayFragment Whether it may travel in fragments of IP. @default {false}
   * @returns `false` if it could not be sent (no route, too large, buffer full): then it is lost.
   */
  send(datagram: Uint8Array, path: UdpPath, mayFragment?: boolean): boolean;
  /**
   * The largest datagram in bytes (without IP and UDP headers) that fits a path, asked after `send`
   * refused one.
   *
   * @returns `undefined` where it is not known. A socket that cannot tell leaves the method out.
   */
  largestDatagram?(path: UdpPath): number | undefined;
  /**
   * Tells the system that no longer datagram fits a path in one piece, for one that makes fragments
   * only where it has heard of that. A socket that need not leaves the method out.
   *
   * @param bytes Without IP and UDP headers.
   */
  tellLargest?(path: UdpPath, bytes: number): void;
  /** Stops receiving and closes. Safe to call twice. */
  close(): Promise<void>;
}
