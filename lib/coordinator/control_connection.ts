/**
 * One control connection, as the hub and the announcer see it.
 *
 * @module
 */

import type { ControlServer } from "../session/control_channel.ts";
import { encodeServerMessage, type ServerMessage } from "../wire/server_message.ts";
import type { ControlListener } from "./control_listener.ts";

/** What is known of a connection. */
export class ControlConnection {
  /** The listener's number for it. */
  readonly id: number;
  /** Where it comes from, as text. */
  readonly remote: string;
  /** The coordinator's end of the channel. */
  readonly server: ControlServer;
  /** Whose it is; known from the hello on, and proven then. */
  nodeId: string | undefined;
  /** When something came last, on the scale of `Clock.now`. */
  heardAt: number;
  /** Version of the roster that was sent. */
  rosterVersion = 0;
  /** Highest PSK epoch that the node says it holds. */
  ackedEpoch = 0;
  /** Messages handled in the present minute. */
  messages = 0;
  readonly #listener: ControlListener;

  constructor(
    options: {
      readonly id: number;
      readonly remote: string;
      readonly server: ControlServer;
      readonly listener: ControlListener;
      readonly now: number;
    },
  ) {
    this.id = options.id;
    this.remote = options.remote;
    this.server = options.server;
    this.heardAt = options.now;
    this.#listener = options.listener;
  }

  /** Seals and sends messages, together. */
  send(...messages: ServerMessage[]): void {
    this.sendBodies(messages.map(encodeServerMessage));
  }

  /** Seals and sends encoded messages, together; borrowed. */
  sendBodies(bodies: readonly Uint8Array[]): void {
    for (const message of this.server.seal(...bodies)) this.#listener.send(this.id, message);
  }
}
