/**
 * `tunnelmesh peers`.
 *
 * @module
 */

import type { Command } from "commander";
import type { AgentStatus } from "../agent/status.ts";
import { AGENT_STATE_FOLDER } from "../config/paths.ts";
import { askNode } from "./ask.ts";
import { type CommonOptions, withCommonOptions } from "./options.ts";
import { print, printJson } from "./output.ts";
import { formatPeers } from "./status_text.ts";

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
      const { peers } = await askNode<AgentStatus>(options.state, "status");
      if (options.json) printJson(peers);
      else print(formatPeers(peers, Date.now()));
    });
}
