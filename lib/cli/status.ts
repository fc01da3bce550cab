/**
 * `tunnelmesh status`.
 *
 * @module
 */

import type { Command } from "commander";
import type { StaticStatus } from "../agent/static_status.ts";
import type { AgentStatus } from "../agent/status.ts";
import type { CoordinatorStatus } from "../coordinator/coordinator.ts";
import { AGENT_STATE_FOLDER } from "../config/paths.ts";
import { askNodeOrCoordinator } from "./ask.ts";
import { type CommonOptions, withCommonOptions } from "./options.ts";
import { print, printJson } from "./output.ts";
import { formatCoordinator, formatStatus } from "./status_text.ts";

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
      const found = await askNodeOrCoordinator<AgentStatus | StaticStatus, CoordinatorStatus>(
        options.state,
        "status",
      );
      if (options.json) printJson(found.answer);
      else if (found.by === "node") print(formatStatus(found.answer, Date.now()));
      else print(formatCoordinator(found.answer));
    });
}
