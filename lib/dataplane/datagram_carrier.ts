/**
 * What a data plane needs of the transports: a way to get and to send datagrams. One UDP socket is
 * one; so is whatever joins several transports and tells them apart by the path's kind.
 *
 * @module
 */

import type { Path } from "../session/path.ts";

/** Carries datagrams along paths that it made itself. */
export interface DatagramCarrier {
  /**
   * Starts delivering what arrives.
   *
   * @param receive Called per datagram; the bytes are borrowed until it returns, and may be
   * overwritten before. Equal paths are the same object while they are remembered.
   * @param failed Called once if nothing can be received any more.
   */
  start(
    receive: (datagram: Uint8Array, path: Path) => void,
    failed: (error: Error) => void,
  ): void;
  /**
   * Sends one datagram; copied.
   *
   * @param path One that this carrier made.
   * @param mayFragment Whether it may travel in fragments. @default {false}
   * @returns `false` if it could not be sent: then it is lost.
   */
  send(datagram: Uint8Array, path: Path, mayFragment?: boolean): boolean;
  /**
   * Largest datagram in bytes that fits a path, asked after `send` refused one.
   *
   * @returns `undefined` where it is not known.
   */
  largestDatagram?(path: Path): number | undefined;
  /** Stops receiving and closes. Safe to call twice. */
  close(): Promise<void>;
}
