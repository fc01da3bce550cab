/**
 * The command line as a whole: which commands there are, and how any of them fails.
 *
 * Each command's own file declares its flags; what it does is imported when it runs, so that one
 * command never pays for another in time or memory.
 *
 * @module
 */

import { Command, CommanderError } from "commander";
import { defineCoordinator } from "./coordinator.ts";
import { errorLine, EXIT, exitCodeOf } from "./exit.ts";
import { defineInit } from "./init.ts";
import { defineJoin } from "./join.ts";
import { defineKeys } from "./keys.ts";
import { defineLeave } from "./leave.ts";
import { defineMetrics } from "./metrics.ts";
import { print, printError } from "./output.ts";
import { definePair } from "./pair.ts";
import { definePeer } from "./peer.ts";
import { definePeers } from "./peers.ts";
import { definePing } from "./ping.ts";
import { definePsk } from "./psk.ts";
import { defineSshEndpoint } from "./ssh_endpoint.ts";
import { defineStatus } from "./status.ts";
import { defineToken } from "./token.ts";
import { defineUp } from "./up.ts";
import { defineVersion } from "./version.ts";

/**
 * Runs the program.
 *
 * @param args Command line after the program's name.
 * @returns The exit code: 0 for success, else a value of `EXIT`. An error was told to the user in
 * one line on standard error.
 */
export async function run(args: readonly string[]): Promise<number> {
  globalThis.addEventListener("error", (event) => endAtOnce(event, event.error));
  globalThis.addEventListener("unhandledrejection", (event) => endAtOnce(event, event.reason));
  try {
    await buildProgram().parseAsync([...args], { from: "user" });
    return EXIT.ok;
  } catch (error) {
    if (error instanceof CommanderError) return endOfParsing(error, args);
    printError(errorLine(error));
    return exitCodeOf(error);
  }
}

/** What nobody expected ends the process like any other failure: by one line, without a trace. */
function endAtOnce(event: Event, error: unknown): void {
  event.preventDefault();
  printError(errorLine(error));
  Deno.exit(exitCodeOf(error));
}

/** Builds the tree of commands, without running any. */
export function buildProgram(): Command {
  const program = new Command("tunnelmesh");
  program
    .description("A mesh VPN: every machine reaches every other, sealed end to end.")
    .configureHelp({ showGlobalOptions: true })
    .configureOutput({ writeErr: () => {}, writeOut: (text) => print(text.trimEnd()) })
    .exitOverride()
    .helpCommand(false)
    .addHelpText("after", HELP);
  defineCoordinator(program.command("coordinator"));
  defineJoin(program.command("join"));
  defineInit(program.command("init"));
  defineStatus(program.command("status"));
  definePeers(program.command("peers"));
  definePeer(program.command("peer"));
  definePing(program.command("ping"));
  defineMetrics(program.command("metrics"));
  defineToken(program.command("token"));
  definePsk(program.command("psk"));
  defineLeave(program.command("leave"));
  defineSshEndpoint(program.command("ssh-endpoint"));
  defineKeys(program.command("keys"));
  defineUp(program.command("up"));
  definePair(program.command("pair"));
  defineVersion(program.command("version"));
  return program;
}

const HELP = `
Examples:
  sudo tunnelmesh coordinator
  sudo tunnelmesh join --coordinator https://HOST:8443 --token tm1_…
  sudo tunnelmesh peers
  sudo tunnelmesh ping NAME

Exit codes: 1 failure, 2 usage or configuration, 3 not running, 4 refused by the coordinator,
5 missing privilege or device.`;

/** Help was asked for, or the command line makes no sense. */
function endOfParsing(error: CommanderError, args: readonly string[]): number {
  if (error.exitCode === 0) return EXIT.ok;
  if (error.code === "commander.help") {
    printError('tunnelmesh: Cannot run without a command; see "tunnelmesh --help"');
    return EXIT.usage;
  }
  const why = error.message.replace(/^error: /, "")
    .replace(/\s*\n\((.*)\)$/s, (_, hint: string) => ` (${hint.toLowerCase()})`);
  const command = args.find((arg) => !arg.startsWith("-"));
  const isKnown = command !== undefined && error.code !== "commander.unknownCommand";
  const help = isKnown ? `tunnelmesh ${command} --help` : "tunnelmesh --help";
  printError(errorLine(`Cannot read the command line: ${why}; see "${help}"`));
  return EXIT.usage;
}
