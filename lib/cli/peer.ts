/**
 * `tunnelmesh peer list|disable|enable|remove`: who may be in the mesh. The group's other commands
 * are in `peer_verify.ts`.
 *
 * @module
 */

import type { Command } from "commander";
import type { ChangedPeer } from "../agent/coordinator_admin.ts";
import { COORDINATOR_STATE_FOLDER } from "../config/paths.ts";
import type { CoordinatorPeer } from "../coordinator/coordinator.ts";
import { askCoordinator } from "./ask.ts";
import { type CommonOptions, withCommonOptions } from "./options.ts";
import { print, printJson } from "./output.ts";
import { definePeerVerify } from "./peer_verify.ts";
import { formatMembers } from "./status_text.ts";

/** What a peer may be on the command line. */
const NAME = "name, mesh address or node id of the peer";

/** Declares the commands. */
export function definePeer(command: Command): void {
  command.description("The members of the mesh, one at a time")
    .addHelpText(
      "after",
      `
Examples:
  sudo tunnelmesh peer list
  sudo tunnelmesh peer disable laptop
  sudo tunnelmesh peer enable laptop
  sudo tunnelmesh peer remove laptop
  sudo tunnelmesh peer verify laptop`,
    );
  withCommonOptions(command.command("list"), COORDINATOR_STATE_FOLDER)
    .description("List the members, disabled ones too, on the machine of the coordinator")
    .action(async (options: CommonOptions) => {
      const members = await askCoordinator<CoordinatorPeer[]>(options.state, "peers");
      if (options.json) printJson(members);
      else print(formatMembers(members, Date.now()));
    });
  for (const [verb, { description, tell }] of Object.entries(CHANGES)) {
    withCommonOptions(command.command(verb), COORDINATOR_STATE_FOLDER)
      .description(`${description}, on the machine of the coordinator`)
      .argument("<peer>", NAME)
      .action(async (peer: string, options: CommonOptions) => {
        const changed = await askCoordinator<ChangedPeer>(options.state, `peer-${verb}`, { peer });
        if (options.json) printJson(changed);
        else print(tell(changed));
      });
  }
  definePeerVerify(command);
}

/** Verb => what it does, and what a person is told once it is done. */
const CHANGES: Readonly<
  Record<string, { readonly description: string; readonly tell: (peer: ChangedPeer) => string }>
> = {
  disable: {
    description: "End a member's sessions and keep it out until it is enabled again",
    tell: ({ name, changed }) =>
      changed
        ? `Disabled ${name}: every node ends its sessions with it. To let it back in:\n` +
          `  tunnelmesh peer enable ${name}`
        : `${name} is disabled already`,
  },
  enable: {
    description: "Let a disabled member back in, with the addresses it had",
    tell: ({ name, addresses, changed }) =>
      changed
        ? `Enabled ${name}: it comes back as ${addresses.ipv4}, ${addresses.ipv6}`
        : `${name} is not disabled`,
  },
  remove: {
    description: "Make a node a member no longer; it may join again with a token",
    tell: ({ name }) =>
      `Removed ${name}: every node ends its sessions with it. If it may know the mesh token,\n` +
      "replace that, or it can join again by it:\n  tunnelmesh token rotate",
  },
};
