/**
 * The control thread's end of a worker of the Linux data plane: it starts the thread, tells it
 * commands, hears its reports and stops it.
 *
 * @module
 */

import { EFD } from "../../../ffi/layout.ts";
import { check, libc } from "../../../ffi/libc.ts";
import { DatagramRing } from "./datagram_ring.ts";
import type { WorkerReport, WorkerSetup } from "./messages.ts";
import { DROP_BLOCK_SIZE } from "./shared_state.ts";

/** How long workers get to acknowledge that they stop. Ours. */
const STOP_TIMEOUT_MS = 1_000;

/** One worker: its port, its eventfd, its counters, its ring. */
export class WorkerLink<Command> {
  readonly drops: Float64Array;
  /** Datagrams of streams: from egress, to ingress. */
  readonly ring = new DatagramRing();
  readonly #worker: Worker;
  readonly #port: MessagePort;
  readonly #eventFd: number;
  readonly #ready = Promise.withResolvers<void>();
  readonly #stopped = Promise.withResolvers<void>();
  #isStopping = false;

  constructor(
    setup: Omit<WorkerSetup, "port" | "eventFd" | "drops" | "ring">,
    received: (report: WorkerReport) => void,
    failed: (error: Error) => void,
  ) {
    // Safety: integers only.
    const eventFd = libc.eventfd(0, EFD.NONBLOCK | EFD.CLOEXEC);
    this.#eventFd = check(eventFd, "make an eventfd");
    const drops = new SharedArrayBuffer(DROP_BLOCK_SIZE);
    this.drops = new Float64Array(drops);
    const { port1, port2 } = new MessageChannel();
    this.#port = port1;
    port1.onmessage = ({ data }: MessageEvent<WorkerReport>) => {
      if (data.kind === "ready") this.#ready.resolve();
      else if (data.kind === "stopped") this.#stopped.resolve();
      else if (data.kind === "failed") fail(workerError(setup.role, data.message));
      else received(data);
    };
    const fail = (error: Error) => {
      this.#stopped.resolve();
      failed(error);
    };
    this.#worker = new Worker(new URL("./worker.ts", import.meta.url), {
      type: "module",
      name: setup.role,
    });
    this.#worker.onerror = (event) => {
      event.preventDefault();
      fail(workerError(setup.role, event.message));
    };
    const ring = this.ring.buffer;
    this.#worker.postMessage({ ...setup, port: port2, eventFd, drops, ring }, [port2]);
  }

  /** Resolves when the worker's loop runs. */
  get ready(): Promise<void> {
    return this.#ready.promise;
  }

  /** Sends a command and wakes the worker. */
  tell(command: Command): void {
    if (this.#isStopping) return;
    this.#port.postMessage(command);
    this.#wake();
  }

  /** Wakes the worker if it has not been told yet that there is something in its ring. */
  tellOfRing(): void {
    if (!this.#isStopping && this.ring.mustWake()) this.#wake();
  }

  /** Stops the loop, then the worker: a worker that blocks in a call cannot be terminated. */
  async stop(): Promise<void> {
    if (this.#isStopping) return;
    this.#port.postMessage({ kind: "stop" });
    this.#wake();
    this.#isStopping = true;
    const timer = setTimeout(() => this.#stopped.resolve(), STOP_TIMEOUT_MS);
    await this.#stopped.promise;
    clearTimeout(timer);
    this.#port.close();
    this.#worker.terminate();
    // Safety: our own descriptor, closed once; the worker does not read it any more.
    libc.close(this.#eventFd);
  }

  #wake(): void {
    // Safety: 8 bytes, read before the call returns. A full counter is as good as a written one.
    libc.writeBuffer(this.#eventFd, ONE, 8);
  }
}

/** One line for a person, whatever the worker died of. */
function workerError(role: WorkerSetup["role"], message: string): Error {
  const [first] = message.split("\n", 1);
  const what = first!.startsWith("Cannot ") ? first : `Cannot run the ${role} worker: ${first}`;
  return new Error(`${what}; the node has stopped, start it again`);
}

const ONE = new Uint8Array(BigUint64Array.of(1n).buffer);
