/**
 * The thread that owns the HTTPS listener, so that its traffic delays no handshake and no join. Runs
 * an {@linkcode HttpListener} by messages; an error that nobody catches ends the worker, and that is
 * fatal to the coordinator (listener_link.ts).
 *
 * @module
 */

/// <reference lib="webworker" />

import { ListenError } from "./control_listener.ts";
import { HttpListener } from "./listener.ts";
import { Batch, type ListenerCommand, type ListenerReport } from "./listener_protocol.ts";

const scope = self as unknown as DedicatedWorkerGlobalScope;
const reports = new Batch<ListenerReport>((items, transfer) => scope.postMessage(items, transfer));
let listener: HttpListener | undefined;

scope.onmessage = ({ data }: MessageEvent<ListenerCommand[]>) => {
  for (const command of data) run(command);
};

function run(command: ListenerCommand): void {
  switch (command.kind) {
    case "start":
      return void start(new HttpListener(command.options));
    case "send":
      return listener?.send(command.connection, command.message);
    case "admit":
      return listener?.admit(command.connection);
    case "close":
      return listener?.close(command.connection, command.code, command.reason);
    case "stop":
      return void stop();
  }
}

async function start(made: HttpListener): Promise<void> {
  try {
    const addresses = await made.start({
      opened: (connection, remote) => reports.add({ kind: "opened", connection, remote }),
      received: (connection, message) => reports.add({ kind: "received", connection, message }),
      closed: (connection) => reports.add({ kind: "closed", connection }),
      failed: (error) => reports.add({ kind: "failed", text: error.message }),
    });
    listener = made;
    reports.add({ kind: "started", addresses });
  } catch (error) {
    if (!(error instanceof ListenError)) throw error;
    reports.add({ kind: "refused", fault: error.fault, text: error.message });
  }
}

async function stop(): Promise<void> {
  await listener?.stop();
  reports.add({ kind: "stopped" });
}
