/**
 * `tunnelmesh peers`.
 *
 * @module
 */

import type { Command } from "commander";
import type { AgentPeerStatus } from "../agent/status.ts";
import type { CoordinatorPeer } from "../coordinator/coordinator.ts";
import { AGENT_STATE_FOLDER } from "../config/paths.ts";
import { askNodeOrCoordinator } from "./ask.ts";
import { type CommonOptions, withCommonOptions } from "./options.ts";
import { print, printJson } from "./output.ts";
import { formatMembers, formatPeers } from "./status_text.ts";

/** Declares the command. */
export function definePeers(command: Command): void {
  withCommonOptions(command, AGENT_STATE_FOLDER)
    .description("List the other nodes of the mesh")
    .addHelpText(
      "after",
      `
Examples:
  tunnelmesh peers
  tunnelmesh peers --json`,
    )
    .action(async (options: CommonOptions) => {
      const found = await askNodeOrCoordinator<AgentPeerStatus[], CoordinatorPeer[]>(
        options.state,
        "peers",
      );
      if (options.json) printJson(found.answer);
      else if (found.by === "node") print(formatPeers(found.answer, Date.now()));
      else print(formatMembers(found.answer, Date.now()));
    });
}
