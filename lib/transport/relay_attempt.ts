/**
 * One connection to the relay, from dialing to its end.
 *
 * @module
 */

import type { RelayDialer, RelaySocket, RelaySocketEvents } from "./relay_dialing.ts";

/** What an attempt tells. */
export interface RelayAttemptEvents {
  /** The socket stands. */
  open(socket: RelaySocket): void;
  /** A message came. @returns `false` if it makes no sense, which ends the connection. */
  message(bytes: Uint8Array): boolean;
  /** It is over, or never came to be. `reason` is for people. */
  closed(reason: string): void;
}

/** One connection, from dialing to its end; silent once it was ended from this side. */
export class RelayAttempt {
  /** Whether something came, or went, since this was last looked at. */
  hasHeard = false;
  hasSent = false;
  #socket: RelaySocket | undefined;
  #isOpen = false;
  #isOver = false;

  /** Dials. */
  constructor(dial: RelayDialer, events: RelayAttemptEvents) {
    const open = () => {
      if (!this.#isOver && this.#isOpen && this.#socket !== undefined) events.open(this.#socket);
    };
    const end = (reason: string) => {
      if (this.#isOver) return;
      this.#isOver = true;
      events.closed(reason);
    };
    const socketEvents: RelaySocketEvents = {
      open: () => {
        this.#isOpen = true;
        open();
      },
      message: (bytes) => {
        this.hasHeard = true;
        if (this.#isOver || events.message(bytes)) return;
        this.#socket?.terminate();
        end("it sent what makes no sense");
      },
      pong: () => {
        this.hasHeard = true;
      },
      closed: end,
    };
    dial(socketEvents).then((socket) => {
      this.#socket = socket;
      if (this.#isOver) socket.terminate();
      else open();
    }, (error) => end(error instanceof Error ? error.message : String(error)));
  }

  /** Asks for a sign of life, if it stands. */
  ping(): void {
    this.#socket?.ping();
  }

  /** Ends it in order. */
  close(): void {
    this.#isOver = true;
    this.#socket?.close();
  }

  /** Ends it at once. */
  terminate(): void {
    this.#isOver = true;
    this.#socket?.terminate();
  }
}
