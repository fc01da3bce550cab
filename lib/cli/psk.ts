/**
 * `tunnelmesh psk status|rotate`: the preshared key that every session of the mesh has in it besides
 * the keys of its two nodes.
 *
 * @module
 */

import type { Command } from "commander";
import type { PskAnswer } from "../agent/coordinator_admin.ts";
import { COORDINATOR_STATE_FOLDER } from "../config/paths.ts";
import type { PskStatus } from "../coordinator/coordinator_options.ts";
import { askCoordinator } from "./ask.ts";
import { type CommonOptions, withCommonOptions } from "./options.ts";
import { print, printJson } from "./output.ts";

/** Declares the commands. */
export function definePsk(command: Command): void {
  command.description("The preshared key of the mesh of a coordinator on this machine")
    .addHelpText(
      "after",
      `
Examples:
  sudo tunnelmesh psk status
  sudo tunnelmesh psk rotate`,
    );
  withCommonOptions(command.command("status"), COORDINATOR_STATE_FOLDER)
    .description("Show which epochs of the key are in force; the keys themselves are not shown")
    .action(async (options: CommonOptions) => {
      const status = await askCoordinator<PskStatus>(options.state, "psk-status");
      if (options.json) printJson(status);
      else print(formatPsk(status));
    });
  withCommonOptions(command.command("rotate"), COORDINATOR_STATE_FOLDER)
    .description("Bring the next key into force, once all connected members have it")
    .action(async (options: CommonOptions) => {
      const answer = await askCoordinator<PskAnswer>(options.state, "psk-rotate");
      if (options.json) return printJson(answer);
      const isDue = answer.changed ? "is announced" : "was announced before";
      print(
        `The key of epoch ${answer.next} ${isDue} and comes into force when all ` +
          `${answer.online} connected members have it, after 10 minutes in any case;\n` +
          "sessions go on, and who is away meanwhile is reached by the key before for a day",
      );
    });
}

function formatPsk({ previous, current, next }: PskStatus): string {
  return [
    `Epoch ${current} is in force`,
    ...(previous === undefined ? [] : [`epoch ${previous} is still taken`]),
    ...(next === undefined ? [] : [`epoch ${next} is announced`]),
  ].join(", ");
}
