/**
 * The entry of both workers of the Linux data plane: a synchronous loop that blocks in poll(2) when
 * there is nothing to do, and looks for commands when its eventfd says that there are some.
 *
 * @module
 */

import { receiveMessageOnPort } from "node:worker_threads";
import type { PacketCipher } from "../../../ffi/libcrypto.ts";
import { libc } from "../../../ffi/libc.ts";
import { Mem } from "../../../ffi/memory.ts";
import { goFirst } from "../../../ffi/priority.ts";
import { forgetProgramText } from "../../../ffi/program_text.ts";
import { collectGarbage } from "../../base/garbage.ts";
import { packetCipher } from "./cipher.ts";
import { Egress } from "./egress.ts";
import { Ingress } from "./ingress.ts";
import type { EgressCommand, IngressCommand, WorkerReport, WorkerSetup } from "./messages.ts";
import { type Loop, Pulse } from "./pulse.ts";
import { Rehearsal } from "./rehearsal.ts";

/** How long the loop has nothing to do before it rehearses: joining goes first. Ours. */
const REHEARSAL_AFTER_MS = 400;
/** Pause between its steps, which leaves the machine to others. Ours. */
const REHEARSAL_PAUSE_MS = 1;
/** How long there must be nothing to do after that for forgetting the start; the last to. Ours. */
const FORGET_START_AFTER_MS = 2_500;

/** What a worker sees of itself; the types of a whole web worker would clash with everything else. */
const scope = globalThis as unknown as {
  onmessage: (event: MessageEvent<WorkerSetup>) => void;
  close(): void;
};

scope.onmessage = async ({ data }) => {
  const report = (report: WorkerReport) => data.port.postMessage(report);
  try {
    run(data, await packetCipher(), report);
    report({ kind: "stopped" });
  } catch (error) {
    report({ kind: "failed", message: error instanceof Error ? error.message : String(error) });
  }
  scope.close();
};

function run(
  setup: WorkerSetup,
  cipher: PacketCipher,
  report: (report: WorkerReport) => void,
): void {
  goFirst();
  const isEgress = setup.role === "egress";
  const loop: Loop & { command(command: EgressCommand | IngressCommand, now: number): void } =
    isEgress
      ? new Egress(setup, cipher, report)
      : new Ingress(setup, cipher, report, () => lookForCommands());
  const counter = new Mem(8);
  let isStopped = false;
  const lookForCommands = () => {
    // Safety: 8 bytes of a memory that this closure holds. A pointer made once would not hold it,
    // and the kernel would write into what the collector has given away.
    if (libc.read(setup.eventFd, counter.at(0), 8) < 0) return; // nothing there
    while (!isStopped) {
      const message = receiveMessageOnPort(setup.port as never);
      if (message === undefined) return;
      const command = message.message as EgressCommand | IngressCommand;
      loop.command(command, pulse.now);
      if (command.kind !== "stop") continue;
      isStopped = true;
      pulse.stop();
    }
  };
  const pulse = new Pulse({
    loop,
    eventFd: setup.eventFd,
    sources: isEgress ? [setup.tunFd] : [setup.ipv4Fd, setup.ipv6Fd],
    offset: performance.timeOrigin - setup.timeOrigin,
    lookForCommands,
  });
  report({ kind: "ready" });
  const rehearsal = new Rehearsal(setup, cipher);
  let quietMs = REHEARSAL_AFTER_MS;
  for (;;) {
    pulse.run(quietMs);
    if (isStopped) break;
    if (rehearsal.step(pulse.now)) {
      quietMs = REHEARSAL_PAUSE_MS;
    } else if (quietMs !== FORGET_START_AFTER_MS) {
      quietMs = FORGET_START_AFTER_MS;
    } else {
      forgetStart();
      quietMs = -1;
    }
  }
  rehearsal.close();
  pulse.close();
}

/** Gives back what only the start needed: this thread's, and what is free of the whole process. */
function forgetStart(): void {
  collectGarbage();
  // Safety: an integer only; every thread may call it at any time.
  libc.malloc_trim?.(0n);
  forgetProgramText();
}
