/**
 * The relay's WebSockets: binds each to the relay (relay_hub.ts), and bounds what those cost that
 * have not shown a ticket.
 *
 * @module
 */

import { closeOf, RefusalError } from "../wire/refusal.ts";
import type { RelayHub } from "./relay_hub.ts";
import { MAX_RELAY_MESSAGE } from "./relay_limits.ts";

/** A connection on which nothing comes for so long, not even the answer to a ping, is over. */
export const RELAY_IDLE_SECONDS = 60;

/** What a {@linkcode RelayEndpoint} works with. */
export interface RelayEndpointOptions {
  readonly hub: RelayHub;
  /** How long a connection may go without a ticket. */
  readonly timeoutMs: number;
}

/** Sockets of a relay. */
export class RelayEndpoint {
  readonly #options: RelayEndpointOptions;
  readonly #sockets = new Set<WebSocket>();

  constructor(options: RelayEndpointOptions) {
    this.#options = options;
  }

  /** How many there are, those without a ticket included. */
  get size(): number {
    return this.#sockets.size;
  }

  /**
   * Takes a socket that is opening.
   *
   * @param noLongerStranger Called once, when it has shown a ticket or is over.
   */
  take(socket: WebSocket, noLongerStranger: () => void): void {
    this.#sockets.add(socket);
    socket.binaryType = "arraybuffer";
    const close = (refusal: RefusalError) => {
      proven();
      const { code, reason } = closeOf(refusal);
      try {
        socket.close(code, reason);
      } catch {
        // Closed meanwhile by the other side.
      }
    };
    const timer = setTimeout(() => close(new RefusalError("timeout")), this.#options.timeoutMs);
    let isStranger = true;
    const proven = () => {
      if (!isStranger) return;
      isStranger = false;
      clearTimeout(timer);
      noLongerStranger();
    };
    const connection = this.#options.hub.open({
      get bufferedAmount() {
        return socket.bufferedAmount;
      },
      send: (message) => {
        if (socket.readyState === WebSocket.OPEN) socket.send(message as Uint8Array<ArrayBuffer>);
      },
      close,
      admitted: proven,
    });
    socket.onmessage = ({ data }) => {
      const isMessage = data instanceof ArrayBuffer && data.byteLength <= MAX_RELAY_MESSAGE;
      // What is no message of ours ends the connection like one that is wrong: an empty one is.
      connection.receive(isMessage ? new Uint8Array(data) : new Uint8Array(0));
    };
    // An error is always followed by a close.
    socket.onerror = () => {};
    socket.onclose = () => {
      this.#sockets.delete(socket);
      proven();
      connection.closed();
    };
  }
}
