/**
 * The registry's end of the listener's worker: a {@linkcode ControlListener} whose sockets live in
 * another thread. A worker that fails is fatal: `failed` is called, nothing is started in its place.
 *
 * @module
 */

import {
  type ControlListener,
  type ListenAddress,
  type ListenerEvents,
  ListenError,
} from "./control_listener.ts";
import type { HttpListenerOptions } from "./listener.ts";
import { newRelayCounts, type RelayControl } from "./relay_hub.ts";
import { Batch, type ListenerCommand, type ListenerReport } from "./listener_protocol.ts";

/** How long a worker may take to stop before it is ended. */
const STOP_WITHIN_MS = 250;

/** A listener in a worker of its own. */
export class WorkerListener implements ControlListener {
  readonly #options: HttpListenerOptions;
  readonly #worker: Worker;
  readonly #commands: Batch<ListenerCommand>;
  readonly #stopped = Promise.withResolvers<void>();
  #started: PromiseWithResolvers<readonly ListenAddress[]> | undefined;
  #events: ListenerEvents | undefined;
  #isStopping = false;
  #relayCounts = newRelayCounts();

  constructor(options: HttpListenerOptions) {
    this.#options = options;
    this.#worker = new Worker(new URL("./listener_worker.ts", import.meta.url), {
      type: "module",
      name: "listener",
    });
    this.#commands = new Batch((items, transfer) => this.#worker.postMessage(items, transfer));
    this.#worker.onmessage = ({ data }: MessageEvent<ListenerReport[]>) => {
      for (const report of data) this.#take(report);
    };
    this.#worker.onerror = (event) => {
      event.preventDefault();
      this.#fail(new Error(`the listener's worker failed: ${event.message}`));
    };
  }

  /** @inheritdoc */
  start(events: ListenerEvents): Promise<readonly ListenAddress[]> {
    this.#events = events;
    this.#started = Promise.withResolvers();
    this.#commands.add({ kind: "start", options: this.#options });
    return this.#started.promise;
  }

  /** @inheritdoc */
  send(connection: number, message: Uint8Array): void {
    this.#commands.add({ kind: "send", connection, message });
  }

  /** @inheritdoc */
  admit(connection: number): void {
    this.#commands.add({ kind: "admit", connection });
  }

  /** @inheritdoc */
  close(connection: number, code: number, reason: string): void {
    this.#commands.add({ kind: "close", connection, code, reason });
  }

  /** The relay in the worker; what is said to it comes there before what is said later. */
  get relay(): RelayControl {
    const counts = this.#relayCounts;
    return {
      addMembers: (nodeIds) => this.#commands.add({ kind: "relay-add", nodeIds }),
      removeMember: (nodeId, reason) =>
        this.#commands.add({ kind: "relay-remove", nodeId, reason }),
      addTicket: (nodeId, ticket) => this.#commands.add({ kind: "relay-ticket", nodeId, ticket }),
      counts,
    };
  }

  /** @inheritdoc */
  async stop(): Promise<void> {
    if (this.#isStopping) return await this.#stopped.promise;
    this.#isStopping = true;
    this.#commands.add({ kind: "stop" });
    const timer = setTimeout(() => this.#stopped.resolve(), STOP_WITHIN_MS);
    await this.#stopped.promise;
    clearTimeout(timer);
    // It only waits on the event loop, never blocks in a call, so ending it is safe.
    this.#worker.terminate();
  }

  #take(report: ListenerReport): void {
    switch (report.kind) {
      case "started":
        return this.#started?.resolve(report.addresses);
      case "refused":
        return this.#started?.reject(new ListenError(report.fault, report.text));
      case "opened":
        return this.#events?.opened(report.connection, report.remote);
      case "received":
        return this.#events?.received(report.connection, report.message);
      case "closed":
        return this.#events?.closed(report.connection);
      case "relay-counts":
        this.#relayCounts = report.counts;
        return;
      case "failed":
        return this.#fail(new Error(report.text));
      case "stopped":
        return this.#stopped.resolve();
    }
  }

  #fail(error: Error): void {
    this.#stopped.resolve();
    this.#started?.reject(error);
    if (!this.#isStopping) this.#events?.failed(error);
  }
}
