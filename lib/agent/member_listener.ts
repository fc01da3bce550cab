/**
 * How the member inside a coordinator reaches it: the same control channel as everybody's, but its
 * messages never touch a socket.
 *
 * @module
 */

import type {
  ControlListener,
  ListenAddress,
  ListenerEvents,
} from "../coordinator/control_listener.ts";
import type { RelayControl } from "../coordinator/relay_hub.ts";
import type { WebSocketConnection, WebSocketDialer, WebSocketEvents } from "./websocket.ts";

const NORMAL_CLOSURE = 1000;

/** A listener with one more way in. Numbers of its own connections are negative. */
export class MemberListener implements ControlListener {
  readonly #inner: ControlListener;
  readonly #members = new Map<number, WebSocketEvents>();
  #events: ListenerEvents | undefined;
  #nextId = -1;

  /** @param inner Takes the connections of everybody else. */
  constructor(inner: ControlListener) {
    this.#inner = inner;
  }

  /** @inheritdoc */
  get relay(): RelayControl | undefined {
    return this.#inner.relay;
  }

  /** Opens a connection from inside. */
  readonly dial: WebSocketDialer = (_target, events) => {
    const id = this.#nextId--;
    this.#members.set(id, events);
    const connection: WebSocketConnection = {
      send: (bytes) => {
        const owned = bytes.slice();
        queueMicrotask(() => this.#members.has(id) && this.#events?.received(id, owned));
      },
      close: () => this.#hangUp(id),
      terminate: () => this.#hangUp(id),
    };
    // After the caller has the connection in its hands, as with a socket.
    setTimeout(() => {
      if (!this.#members.has(id)) return;
      this.#events?.opened(id, "this process");
      events.open();
    }, 0);
    return Promise.resolve(connection);
  };

  /** @inheritdoc */
  start(events: ListenerEvents): Promise<readonly ListenAddress[]> {
    this.#events = events;
    return this.#inner.start(events);
  }

  /** @inheritdoc */
  send(connection: number, message: Uint8Array): void {
    const member = this.#members.get(connection);
    if (member === undefined) return this.#inner.send(connection, message);
    queueMicrotask(() => this.#members.has(connection) && member.message(message));
  }

  /** @inheritdoc */
  admit(connection: number): void {
    if (!this.#members.has(connection)) this.#inner.admit(connection);
  }

  /** @inheritdoc */
  close(connection: number, code: number, reason: string): void {
    const member = this.#members.get(connection);
    if (member === undefined) return this.#inner.close(connection, code, reason);
    queueMicrotask(() => {
      if (this.#members.delete(connection)) member.closed({ code, reason });
    });
  }

  /** @inheritdoc */
  async stop(): Promise<void> {
    await this.#inner.stop();
  }

  #hangUp(id: number): void {
    queueMicrotask(() => {
      const member = this.#members.get(id);
      if (member === undefined) return;
      this.#members.delete(id);
      this.#events?.closed(id);
      member.closed({ code: NORMAL_CLOSURE, reason: "" });
    });
  }
}
