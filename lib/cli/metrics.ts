/**
 * `tunnelmesh metrics`.
 *
 * @module
 */

import type { Command } from "commander";
import { AGENT_STATE_FOLDER } from "../config/paths.ts";
import { askCoordinator, askNode } from "./ask.ts";
import { type CommonOptions, withCommonOptions } from "./options.ts";
import { print, printJson } from "./output.ts";

/** What the command may be told. */
interface MetricsOptions extends CommonOptions {
  readonly coordinator?: true;
}

/** Declares the command. */
export function defineMetrics(command: Command): void {
  withCommonOptions(command, AGENT_STATE_FOLDER)
    .option("--coordinator", "of the coordinator on this machine, instead of the node")
    .description("Print counters and gauges as OpenMetrics text, for Prometheus")
    .addHelpText(
      "after",
      `
Examples:
  tunnelmesh metrics
  tunnelmesh metrics --coordinator
  tunnelmesh metrics > /var/lib/prometheus/node-exporter/tunnelmesh.prom`,
    )
    .action(async ({ coordinator, state, json }: MetricsOptions) => {
      const ask = coordinator ? askCoordinator<string> : askNode<string>;
      const text = await ask(state, "metrics");
      if (json) printJson({ openMetrics: text });
      else print(text.trimEnd());
    });
}
