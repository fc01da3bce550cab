/**
 * Where control connections come from: what the hub needs of a listener, so that tests can hand it
 * one without sockets.
 *
 * @module
 */

import type { RelayControl } from "./relay_hub.ts";

/** What a listener tells. All calls come from the event loop, never from within a method of it. */
export interface ListenerEvents {
  /** A WebSocket was opened. `remote` is its address as text. */
  opened(connection: number, remote: string): void;
  /** A binary message came; owned by the receiver. */
  received(connection: number, message: Uint8Array): void;
  /** It is gone, by either side. Nothing more comes from it. */
  closed(connection: number): void;
  /** The listener as a whole cannot go on: fatal. */
  failed(error: Error): void;
}

/** An address that is listened at. */
export interface ListenAddress {
  readonly hostname: string;
  readonly port: number;
}

/** A source of WebSocket connections. */
export interface ControlListener {
  /**
   * Starts listening.
   *
   * @returns The addresses, with the real ports.
   * @throws {ListenError} when it cannot.
   */
  start(events: ListenerEvents): Promise<readonly ListenAddress[]>;
  /** Sends one binary message; owned by the listener. Ignored for a connection that is gone. */
  send(connection: number, message: Uint8Array): void;
  /** The connection has proven who it is: it no longer counts against the limits for strangers. */
  admit(connection: number): void;
  /** Closes one connection; what was sent before still goes out. */
  close(connection: number, code: number, reason: string): void;
  /** The relay beside it, if there is one. */
  readonly relay?: RelayControl | undefined;
  /** Closes everything. Safe to call twice. */
  stop(): Promise<void>;
}

/** The listener cannot be opened. */
export class ListenError extends Error {
  override readonly name = "ListenError";
  /** `in-use`: another program has the port. `denied`: no right to it. */
  readonly fault: "in-use" | "denied" | "certificate" | "other";

  /** @param message One line for people. */
  constructor(fault: ListenError["fault"], message: string, options?: ErrorOptions) {
    super(message, options);
    this.fault = fault;
  }
}
