/**
 * `tunnelmesh ssh-endpoint install|remove|serve`.
 *
 * @module
 */

import type { Command } from "commander";
import { AGENT_STATE_FOLDER } from "../config/paths.ts";
import { CommandError, EXIT } from "./exit.ts";
import { type CommonOptions, integerFrom, withCommonOptions } from "./options.ts";
import { print, printJson } from "./output.ts";

/** Flags of `install` and `remove`. */
interface SetupOptions extends CommonOptions {
  readonly authorizedKeys?: string;
  readonly port?: number;
  readonly user?: string;
}

/** Declares the command. */
export function defineSshEndpoint(command: Command): void {
  command.description("Let peers reach this node by the system's SSH server");
  withCommonOptions(command.command("install"), AGENT_STATE_FOLDER)
    .description("Write the keys of the mesh's members into authorized_keys, each for this alone")
    .option("--authorized-keys <file>", "the file (default: ~/.ssh/authorized_keys)")
    .option("--port <port>", "TCP port of the SSH server (default: 22)", integerFrom(1, 65_535))
    .option("--user <name>", "the user whose file it is (default: you)")
    .addHelpText("after", "\nExample:\n  sudo tunnelmesh ssh-endpoint install")
    .action(install);
  withCommonOptions(command.command("remove"), AGENT_STATE_FOLDER)
    .description("Take them out again, without a trace")
    .option("--authorized-keys <file>", "the file, if it is not the one remembered")
    .addHelpText("after", "\nExample:\n  sudo tunnelmesh ssh-endpoint remove")
    .action(remove);
  command.command("serve", { hidden: true })
    .description("What the lines start: join standard input and output with the agent")
    .requiredOption("--state <dir>", "state folder")
    .requiredOption("--client-key <base64>", "the key of the line")
    .action(serve);
}

async function install(options: SetupOptions): Promise<void> {
  const { installSshEndpoint } = await import("../agent/ssh_endpoint_setup.ts");
  const authorizedKeys = options.authorizedKeys ?? `${home()}/.ssh/authorized_keys`;
  const setup = {
    authorizedKeys: absolute(authorizedKeys),
    user: options.user ?? Deno.env.get("USER") ?? "root",
    port: options.port ?? 22,
    program: programWords(),
  };
  const state = stateOf(options);
  const peers = await installSshEndpoint(state, setup);
  await tellAgent(state);
  if (options.json) printJson({ ...setup, peers });
  else print(`${peers} members may connect by ${authorizedKeys}, others as they join`);
}

async function remove(options: SetupOptions): Promise<void> {
  const { removeSshEndpoint } = await import("../agent/ssh_endpoint_setup.ts");
  const given = options.authorizedKeys;
  const state = stateOf(options);
  const file = removeSshEndpoint(state, given && absolute(given));
  await tellAgent(state);
  if (options.json) printJson({ authorizedKeys: file ?? null });
  else print(file === undefined ? "Nothing was set up" : `Nothing of the mesh is left in ${file}`);
}

async function serve(options: { readonly state: string; readonly clientKey: string }) {
  const { joinSshEndpoint } = await import("../agent/ssh_endpoint.ts");
  const { fromBase64 } = await import("../base/bytes.ts");
  const [host = "somewhere", port = "0"] = (Deno.env.get("SSH_CONNECTION") ?? "").split(" ");
  const from = host.includes(":") ? `[${host}]:${port}` : `${host}:${port}`;
  await joinSshEndpoint(options.state, fromBase64(options.clientKey), from);
  Deno.exit(EXIT.ok); // standard input may still be open, and nobody reads it
}

/** A running agent says at once how it is reached; one that does not run says it when it starts. */
async function tellAgent(state: string): Promise<void> {
  const { callControlSocket } = await import("../agent/control_socket.ts");
  try {
    await callControlSocket(state, "agent.sock", "ssh-changed");
  } catch {
    // It does not run.
  }
}

/** How to start this program again: the binary, or the runtime with the file it runs. */
function programWords(): string[] {
  if (Deno.build.standalone) return [Deno.execPath()];
  return [Deno.execPath(), "run", "-A", new URL(Deno.mainModule).pathname];
}

function stateOf({ state = AGENT_STATE_FOLDER }: CommonOptions): string {
  try {
    return Deno.realPathSync(state);
  } catch (cause) {
    const why = `Cannot use state folder "${state}": it is not there; join a mesh first`;
    throw new CommandError(why, EXIT.usage, { cause });
  }
}

function absolute(path: string): string {
  return path.startsWith("/") ? path : `${Deno.cwd()}/${path}`;
}

function home(): string {
  return Deno.env.get("HOME") ?? "/root";
}
