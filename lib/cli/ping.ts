/**
 * `tunnelmesh ping`: asks a peer inside its sealed session, below IP.
 *
 * @module
 */

import type { Command } from "commander";
import { AgentError } from "../agent/errors.ts";
import { AGENT_STATE_FOLDER } from "../config/paths.ts";
import { askNode } from "./ask.ts";
import { CommandError, EXIT } from "./exit.ts";
import { type CommonOptions, integerFrom, parseSeconds, withCommonOptions } from "./options.ts";
import { print, printJson } from "./output.ts";

/** What a node says about one echo. */
interface Pong {
  readonly name: string;
  readonly nodeId: string;
  readonly rttMs: number;
  readonly path: { readonly kind: string; readonly remote?: string };
}

interface PingOptions extends CommonOptions {
  readonly count: number;
  readonly interval: number;
  readonly timeout: number;
}

/** Declares the command. */
export function definePing(command: Command): void {
  withCommonOptions(command, AGENT_STATE_FOLDER)
    .description("Ask a peer through its sealed session, and show the path and the time it takes")
    .argument("<peer>", "name, mesh address or node id")
    .option("-c, --count <n>", "how often to ask", integerFrom(1, 1_000_000), 4)
    .option("-i, --interval <seconds>", "time between two", parseSeconds, 1)
    .option("-W, --timeout <seconds>", "how long to wait for an answer", parseSeconds, 5)
    .addHelpText(
      "after",
      `
Examples:
  tunnelmesh ping laptop
  tunnelmesh ping -c 1 100.64.0.3`,
    )
    .action(ping);
}

async function ping(peer: string, options: PingOptions): Promise<void> {
  const times: number[] = [];
  let last: Pong | undefined;
  for (let sent = 0; sent < options.count; sent++) {
    const startedAt = performance.now();
    const pong = await pingOnce(peer, options);
    if (pong) {
      last = pong;
      times.push(pong.rttMs);
    }
    if (!options.json) print(lineOf(peer, sent, pong));
    const left = options.interval * 1000 - (performance.now() - startedAt);
    if (sent + 1 < options.count && left > 0) await new Promise((go) => setTimeout(go, left));
  }
  const { count: sent } = options;
  const answered = times.length;
  if (options.json) {
    printJson({ peer, sent, answered, rttMs: times, ...(last ? { path: last.path } : {}) });
  } else print(summaryOf(sent, times));
  if (answered === 0) {
    throw new CommandError(`Cannot reach "${peer}": no answer to ${sent} echoes`, EXIT.failure);
  }
}

/** One echo; `undefined` if no answer came in time. */
async function pingOnce(peer: string, options: PingOptions): Promise<Pong | undefined> {
  const timeoutMs = options.timeout * 1000;
  try {
    return await askNode<Pong>(options.state, "ping", { peer, timeoutMs }, timeoutMs + 5000);
  } catch (error) {
    if (error instanceof AgentError && error.fault === "unreachable") return undefined;
    throw error;
  }
}

function lineOf(peer: string, sent: number, pong: Pong | undefined): string {
  if (!pong) return `${peer}: no answer, seq ${sent + 1}`;
  const path = [pong.path.kind, pong.path.remote].join(" ").trim();
  return `${pong.name}: answer by ${path}, seq ${sent + 1}, time ${pong.rttMs.toFixed(2)} ms`;
}

function summaryOf(sent: number, times: readonly number[]): string {
  const lost = Math.round((1 - times.length / sent) * 100);
  const counts = `${sent} sent, ${times.length} answered, ${lost} % lost`;
  if (times.length === 0) return counts;
  const mean = times.reduce((sum, time) => sum + time, 0) / times.length;
  const figures = [Math.min(...times), mean, Math.max(...times)].map((time) => time.toFixed(2));
  return `${counts}; least/mean/most ${figures.join("/")} ms`;
}
