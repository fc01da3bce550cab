/**
 * `tunnelmesh token show` and `tunnelmesh token rotate`.
 *
 * @module
 */

import type { Command } from "commander";
import { COORDINATOR_STATE_FOLDER } from "../config/paths.ts";
import { askCoordinator } from "./ask.ts";
import { type CommonOptions, withCommonOptions } from "./options.ts";
import { print, printJson } from "./output.ts";

/** What `token show --json` writes. */
interface TokenAnswer {
  readonly token: string;
  readonly joinCommand: string;
}

/** Declares the commands. */
export function defineToken(command: Command): void {
  command.description("The token that admits nodes to the mesh of a coordinator on this machine")
    .addHelpText(
      "after",
      `
Examples:
  sudo tunnelmesh token show
  sudo tunnelmesh token show --json
  sudo tunnelmesh token rotate`,
    );
  withCommonOptions(command.command("show"), COORDINATOR_STATE_FOLDER)
    .description("Show the token and the command that joins another machine")
    .action(async (options: CommonOptions) =>
      show(await askCoordinator<TokenAnswer>(options.state, "token-show"), options)
    );
  withCommonOptions(command.command("rotate"), COORDINATOR_STATE_FOLDER)
    .description("Replace the token: the old one admits nobody any more, members stay")
    .action(async (options: CommonOptions) =>
      show(await askCoordinator<TokenAnswer>(options.state, "token-rotate"), options)
    );
}

function show({ token, joinCommand }: TokenAnswer, options: CommonOptions): void {
  if (options.json) printJson({ token, joinCommand });
  else print(`${token}\n\nTo join another machine:\n  ${joinCommand}`);
}
