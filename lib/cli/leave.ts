/**
 * `tunnelmesh leave`.
 *
 * @module
 */

import type { Command } from "commander";
import { AGENT_STATE_FOLDER } from "../config/paths.ts";
import { type CommonOptions, withCommonOptions } from "./options.ts";
import { print, printJson } from "./output.ts";
import { askNode } from "./ask.ts";

/** Declares the command. */
export function defineLeave(command: Command): void {
  withCommonOptions(command, AGENT_STATE_FOLDER)
    .description("Take this node out of the mesh for good, and stop its agent")
    .addHelpText("after", "\nExample:\n  sudo tunnelmesh leave")
    .action(async (options: CommonOptions) => {
      await askNode(options.state, "leave");
      if (options.json) printJson({ left: true });
      else print("This node has left the mesh");
    });
}
