/**
 * `tunnelmesh init`.
 *
 * @module
 */

import type { Command } from "commander";
import { AGENT_STATE_FOLDER } from "../config/paths.ts";
import { type CommonOptions, withCommonOptions } from "./options.ts";
import { formatTable, print, printJson } from "./output.ts";
import { promptForPassphrase } from "./prompt.ts";

interface InitOptions extends CommonOptions {
  readonly sshKey?: string;
}

/** Declares the command. */
export function defineInit(command: Command): void {
  withCommonOptions(command, AGENT_STATE_FOLDER)
    .description("Make the keys of this node, or adopt an SSH key, and show who it is")
    .option("--ssh-key <file>", "adopt this OpenSSH private key instead of making one")
    .addHelpText(
      "after",
      `
Examples:
  sudo tunnelmesh init
  sudo tunnelmesh init --ssh-key /etc/ssh/ssh_host_ed25519_key`,
    )
    .action(init);
}

async function init(options: InitOptions): Promise<void> {
  const { StateFolder } = await import("../agent/state_folder.ts");
  const { openIdentity } = await import("../agent/identity.ts");
  const { fingerprintHex, fingerprintWords } = await import("../token/fingerprint.ts");
  const folder = StateFolder.open(options.state ?? AGENT_STATE_FOLDER);
  try {
    const identity = await openIdentity(folder, {
      sshKeyPath: options.sshKey,
      passphrase: () => promptForPassphrase("Passphrase of the SSH key: "),
    });
    const { nodeId, sshKeyPath } = identity;
    const fingerprint = { hex: fingerprintHex(nodeId), words: fingerprintWords(nodeId) };
    if (options.json) return printJson({ nodeId, fingerprint, sshKey: sshKeyPath });
    print(formatTable([
      ["Node id:", nodeId],
      ["Fingerprint:", fingerprint.hex],
      ["In words:", fingerprint.words],
      ["SSH key:", sshKeyPath],
    ]));
  } finally {
    folder.close();
  }
}
