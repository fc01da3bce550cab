/**
 * `tunnelmesh version`.
 *
 * @module
 */

import type { Command } from "commander";
import { VERSION } from "../base/version.ts";
import { AGENT_STATE_FOLDER } from "../config/paths.ts";
import { type CommonOptions, withCommonOptions } from "./options.ts";
import { print, printJson } from "./output.ts";

/** Declares the command. */
export function defineVersion(command: Command): void {
  withCommonOptions(command, AGENT_STATE_FOLDER)
    .description("Show the version of this program and of its runtime")
    .action((options: CommonOptions) => {
      const facts = { version: VERSION, deno: Deno.version.deno, target: Deno.build.target };
      if (options.json) printJson(facts);
      else print(`tunnelmesh ${facts.version} (deno ${facts.deno}, ${facts.target})`);
    });
}
