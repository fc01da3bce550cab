/**
 * `tunnelmesh up`: a node in allow-list mode, in the foreground.
 *
 * @module
 */

import type { Command } from "commander";
import type { StaticNode } from "../agent/static_node.ts";
import type { DataPlaneWish } from "../agent/data_plane_choice.ts";
import { AGENT_STATE_FOLDER } from "../config/paths.ts";
import { aborted, forgetStart, startQuietLog, watchForStop } from "./foreground.ts";
import { type CommonOptions, dataPlaneOption, withCommonOptions } from "./options.ts";
import { print, printJson } from "./output.ts";

interface UpFlags extends CommonOptions {
  readonly config: string;
  readonly dataPlane?: DataPlaneWish;
}

/** Declares the command. */
export function defineUp(command: Command): void {
  withCommonOptions(command, AGENT_STATE_FOLDER)
    .description("Connect to the peers that a file names, and to nobody else; no coordinator")
    .requiredOption("--config <file>", "a YAML file with keys, addresses and allowed peers")
    .addOption(dataPlaneOption())
    .addHelpText(
      "after",
      `
The file is read again when it changes and on SIGHUP. Whoever is taken out of it, or has
enabled: false, is cut off at once. A file that is broken changes nothing; status says so.

Examples:
  tunnelmesh keys pair --endpoint 203.0.113.7:51820     # writes a file for either end
  sudo tunnelmesh up --config server.yaml`,
    )
    .action(up);
}

async function up(flags: UpFlags): Promise<void> {
  const stop = watchForStop();
  const { loadAllowedPeers } = await import("../config/allowed_peers.ts");
  const config = await loadAllowedPeers(flags.config);
  const isUp = await startQuietLog(flags.logLevel ?? config.logLevel);
  const { StaticNode } = await import("../agent/static_node.ts");
  // From before the start on: without a listener the signal would end the process.
  let running: StaticNode | undefined;
  const reload = () => void running?.reload();
  Deno.addSignalListener("SIGHUP", reload);
  const node = running = await StaticNode.start({
    config,
    state: flags.state ?? AGENT_STATE_FOLDER,
    dataPlane: flags.dataPlane,
  });
  isUp();
  forgetStart();
  try {
    const { name, addresses, interface: interfaceName, udpPort, peers } = node.status();
    const allowed = peers.filter(({ enabled }) => enabled).length;
    if (flags.json) printJson({ event: "up", name, addresses, interface: interfaceName, udpPort });
    else {
      const own = [addresses.ipv4, addresses.ipv6].filter((address) => address !== "").join(", ");
      print(`Up as ${name}: ${own} on ${interfaceName}, UDP port ${udpPort}, ${allowed} allowed`);
    }
    await Promise.race([aborted(stop.signal), node.ended]);
  } finally {
    Deno.removeSignalListener("SIGHUP", reload);
    await node.close();
  }
}
