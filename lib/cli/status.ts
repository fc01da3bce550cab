/**
 * `tunnelmesh status`.
 *
 * @module
 */

import type { Command } from "commander";
import type { AgentStatus } from "../agent/status.ts";
import { AGENT_STATE_FOLDER } from "../config/paths.ts";
import { askNode } from "./ask.ts";
import { type CommonOptions, withCommonOptions } from "./options.ts";
import { print, printJson } from "./output.ts";
import { formatStatus } from "./status_text.ts";

/** Declares the command. */
export function defineStatus(command: Command): void {
  withCommonOptions(command, AGENT_STATE_FOLDER)
    .description("Show how this node stands: addresses, coordinator, peers")
    .addHelpText(
      "after",
      `
Examples:
  tunnelmesh status
  tunnelmesh status --json --state /var/lib/tunnelmesh-second`,
    )
    .action(async (options: CommonOptions) => {
      const status = await askNode<AgentStatus>(options.state, "status");
      if (options.json) printJson(status);
      else print(formatStatus(status, Date.now()));
    });
}
