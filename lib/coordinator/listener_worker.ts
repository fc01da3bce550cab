/**
 * The thread that owns the HTTPS listener, so that its traffic delays no handshake and no join. Runs
 * an {@linkcode HttpListener} by messages; an error that nobody catches is fatal to the coordinator
 * (listener_link.ts).
 *
 * @module
 */

import { ListenError } from "./control_listener.ts";
import { HttpListener } from "./listener.ts";
import { Batch, type ListenerCommand, type ListenerReport } from "./listener_protocol.ts";

/** What a worker sees of itself; the library of worker types would clash with Deno's. */
const scope = globalThis as unknown as {
  onmessage: (event: MessageEvent<ListenerCommand[]>) => void;
  postMessage(message: unknown, transfer: Transferable[]): void;
  onunhandledrejection: (event: PromiseRejectionEvent) => void;
};
const reports = new Batch<ListenerReport>((items, transfer) => scope.postMessage(items, transfer));
let listener: HttpListener | undefined;

// Deno raises no error event in a worker for what its message handler throws, so it is caught here.
scope.onmessage = ({ data }) => {
  try {
    for (const command of data) run(command);
  } catch (error) {
    fail(error);
  }
};
scope.onunhandledrejection = (event) => {
  event.preventDefault();
  fail(event.reason);
};

/** Tells the other thread, which ends the process, instead of printing a stack trace here. */
function fail(error: unknown): void {
  const text = error instanceof Error ? error.message : String(error);
  reports.add({ kind: "failed", text: `the listener's worker failed: ${text}` });
}

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
