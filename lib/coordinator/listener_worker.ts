/**
 * The thread that owns the HTTPS listener, so that its traffic delays no handshake and no join. Runs
 * an {@linkcode HttpListener} by messages; an error that nobody catches is fatal to the coordinator
 * (listener_link.ts).
 *
 * @module
 */

import { collectGarbage } from "../base/garbage.ts";
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
const RELAY_REPORT_MS = 1_000;
/** How long after its start this thread gives back what only the start needed. Ours. */
const COLLECTION_AFTER_MS = 2_000;
/** What came before there was a listener: who is a member is known before that. */
const early: ListenerCommand[] = [];
let listener: HttpListener | undefined;
let relayTimer: ReturnType<typeof setTimeout> | undefined;

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
  if (listener === undefined && command.kind !== "start" && command.kind !== "stop") {
    early.push(command);
    return;
  }
  switch (command.kind) {
    case "start":
      listener = new HttpListener(command.options);
      for (const earlier of early.splice(0)) run(earlier);
      return void start(listener);
    case "send":
      return listener?.send(command.connection, command.message);
    case "admit":
      return listener?.admit(command.connection);
    case "close":
      return listener?.close(command.connection, command.code, command.reason);
    case "relay-add":
      return listener?.relay.addMembers(command.nodeIds);
    case "relay-remove":
      return listener?.relay.removeMember(command.nodeId, command.reason);
    case "relay-ticket":
      return listener?.relay.addTicket(command.nodeId, command.ticket);
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
    reports.add({ kind: "started", addresses });
    reportRelay(made, "");
    Deno.unrefTimer(setTimeout(collectGarbage, COLLECTION_AFTER_MS));
  } catch (error) {
    if (!(error instanceof ListenError)) throw error;
    reports.add({ kind: "refused", fault: error.fault, text: error.message });
  }
}

/** Tells how the relay does, once a second while that is news. */
function reportRelay({ relay: { counts } }: HttpListener, told: string): void {
  const now = JSON.stringify(counts);
  if (now !== told) reports.add({ kind: "relay-counts", counts: { ...counts } });
  relayTimer = setTimeout(() => listener && reportRelay(listener, now), RELAY_REPORT_MS);
}

async function stop(): Promise<void> {
  clearTimeout(relayTimer);
  await listener?.stop();
  reports.add({ kind: "stopped" });
}
