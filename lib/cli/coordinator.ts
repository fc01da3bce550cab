/**
 * `tunnelmesh coordinator`, and `tunnelmesh coordinator backup|restore`.
 *
 * @module
 */

import { resolve } from "node:path";
import { type Command, InvalidArgumentError } from "commander";
import type {
  CoordinatorProcess,
  CoordinatorProcessOptions,
} from "../agent/coordinator_process.ts";
import type { DataPlaneWish } from "../agent/data_plane_choice.ts";
import type { TrustMode } from "../agent/peer_trust.ts";
import type { CoordinatorConfig } from "../config/schema.ts";
import { COORDINATOR_PORT, COORDINATOR_STATE_FOLDER } from "../config/paths.ts";
import { sessionLimitsOf } from "../config/session_limits.ts";
import { type HostAndPort, parseHostAndPort, parseRange } from "../config/values.ts";
import { askCoordinator } from "./ask.ts";
import { CommandError, EXIT } from "./exit.ts";
import { aborted, forgetStart, startQuietLog, watchForStop } from "./foreground.ts";
import {
  type CommonOptions,
  dataPlaneOption,
  integerFrom,
  trustOption,
  withCommonOptions,
} from "./options.ts";
import { print, printJson } from "./output.ts";

/** Where plain HTTP is offered unless said otherwise: to a proxy on this machine. */
const LOOPBACK: readonly HostAndPort[] = [
  { hostname: "127.0.0.1", port: COORDINATOR_PORT },
  { hostname: "::1", port: COORDINATOR_PORT },
];

/** Flags of `coordinator`, as commander reads them. */
export interface CoordinatorFlags extends CommonOptions {
  readonly config?: string;
  readonly listen?: HostAndPort[];
  readonly udpPort?: number;
  readonly name?: string;
  readonly range?: ReturnType<typeof parseRange>;
  readonly tlsCert?: string;
  readonly tlsKey?: string;
  readonly http?: boolean;
  /** `false` for `--no-member`. */
  readonly member: boolean;
  readonly memberInvites?: boolean;
  readonly trust?: TrustMode;
  readonly dataPlane?: DataPlaneWish;
}

/** Declares the commands. */
export function defineCoordinator(command: Command): void {
  withCommonOptions(command, COORDINATOR_STATE_FOLDER)
    .description("Coordinate a mesh, and be a member of it, until stopped")
    .option("--config <file>", "a YAML file with these settings")
    .option(
      "--listen <host:port>",
      "where to listen for HTTPS; may be given again (default: port 8443 of all addresses)",
      gatherListen,
    )
    .option("--udp-port <n>", "UDP port, and the next one (default: 8443)", integerFrom(1, 65534))
    .option("--name <name>", "name of this machine in the mesh (default: the host's name)")
    .option(
      "--range <prefix>",
      "IPv4 range of a new mesh (default: 100.64.0.0/10)",
      asFlag(parseRange),
    )
    .option("--tls-cert <file>", "PEM certificate to use instead of a self-signed one")
    .option("--tls-key <file>", "its PEM private key")
    .option("--http", "plain HTTP on loopback, behind a proxy that ends TLS")
    .option("--no-member", "only coordinate: this machine is no member of the mesh")
    .option("--member-invites", "members may ask for invites, one machine each, for 10 minutes")
    .addOption(trustOption())
    .addOption(dataPlaneOption())
    .addHelpText(
      "after",
      `
Examples:
  sudo tunnelmesh coordinator
  sudo tunnelmesh coordinator --name hub --listen 192.0.2.1:443
  sudo tunnelmesh coordinator --tls-cert cert.pem --tls-key key.pem`,
    )
    .action(coordinate);
  // The flags above are the parent's: `--state` and its like are read from both.
  const define = (name: string, description: string) =>
    command.command(name).argument("<file>").description(description);
  define("backup", "write all that this coordinator is to a file, while it runs")
    .action((file: string, _: unknown, self: Command) => backup(file, self.optsWithGlobals()));
  define("restore", "make this machine's stopped coordinator the one in a file")
    .action((file: string, _: unknown, self: Command) => restore(file, self.optsWithGlobals()));
}

/**
 * What a coordinator is started with: flags first, then the configuration file.
 *
 * @param flags From the command line.
 * @param config From the file; empty without one.
 * @throws {CommandError} If what is asked for does not go together, or a file cannot be read.
 */
export async function coordinatorOptionsOf(
  flags: CoordinatorFlags,
  config: CoordinatorConfig,
): Promise<CoordinatorProcessOptions> {
  const tls = await tlsOf(flags, config);
  const isPlain = tls?.kind === "none";
  return {
    state: flags.state ?? COORDINATOR_STATE_FOLDER,
    listen: flags.listen ?? config.listen ?? (isPlain ? LOOPBACK : undefined),
    udpPort: flags.udpPort ?? config.udpPort,
    name: flags.name ?? config.name,
    range: flags.range ?? config.range,
    tls,
    hasMember: flags.member && !config.noMember,
    binding: config.binding,
    memberInvites: flags.memberInvites ?? config.memberInvites,
    trust: flags.trust ?? config.trust,
    dataPlane: flags.dataPlane ?? config.dataPlane,
    limits: sessionLimitsOf(config.session),
  };
}

async function coordinate(flags: CoordinatorFlags): Promise<void> {
  const stop = watchForStop();
  const config = flags.config === undefined
    ? {}
    : await (await import("../config/load.ts")).loadCoordinatorConfig(flags.config);
  const options = await coordinatorOptionsOf(flags, config);
  const isUp = await startQuietLog(flags.logLevel ?? config.logLevel);
  const { CoordinatorProcess } = await import("../agent/coordinator_process.ts");
  const started = await CoordinatorProcess.start({ ...options, signal: stop.signal })
    .catch((error) => {
      if (stop.signal.aborted) return undefined;
      throw error;
    });
  if (started === undefined) return;
  isUp();
  forgetStart();
  try {
    announce(started, flags);
    await Promise.race([aborted(stop.signal), started.ended]);
  } finally {
    await started.close();
  }
}

/** What others need to join, to a person; a journal gets to know only where to ask for it. */
function announce(started: CoordinatorProcess, flags: CoordinatorFlags): void {
  const { listening, member } = started;
  const at = listening.map(({ hostname, port }) =>
    hostname.includes(":") ? `[${hostname}]:${port}` : `${hostname}:${port}`
  );
  const self = member?.status();
  const isSeen = Deno.stdout.isTerminal();
  if (flags.json) {
    return printJson({
      event: "listening",
      listening: at,
      ...(self ? { name: self.name, addresses: self.addresses, interface: self.interface } : {}),
      ...(isSeen ? started.invitation() : {}),
    });
  }
  print(`Coordinator listens on ${at.join(", ")}`);
  if (self) {
    const { ipv4, ipv6 } = self.addresses;
    print(`Member of the mesh as ${self.name}: ${ipv4}, ${ipv6} on ${self.interface}`);
  }
  if (isSeen) print(`\nTo join another machine:\n\n  ${started.invitation().joinCommand}\n`);
  else {
    const state = flags.state === undefined ? "" : ` --state ${flags.state}`;
    print(`To join another machine, see: tunnelmesh token show${state}`);
  }
}

async function backup(file: string, options: CommonOptions): Promise<void> {
  const path = resolve(file);
  await askCoordinator(options.state, "backup", { file: path });
  if (options.json) printJson({ file: path });
  else print(`Wrote ${path}; keep it as safe as the coordinator itself`);
}

async function restore(file: string, options: CommonOptions): Promise<void> {
  const { restoreBackup } = await import("../coordinator/backup.ts");
  const state = options.state ?? COORDINATOR_STATE_FOLDER;
  const createdAt = restoreBackup(state, resolve(file));
  if (options.json) printJson({ state, createdAt });
  else print(`Restored ${state} as it was at ${createdAt}; start the coordinator`);
}

async function tlsOf(
  flags: CoordinatorFlags,
  config: CoordinatorConfig,
): Promise<CoordinatorProcessOptions["tls"]> {
  const certificate = flags.tlsCert ?? config.tls?.cert;
  const key = flags.tlsKey ?? config.tls?.key;
  const isPlain = flags.http ?? (config.http && flags.tlsCert === undefined);
  if (isPlain && flags.tlsCert === undefined && flags.tlsKey === undefined) return { kind: "none" };
  if (isPlain) throw new CommandError("Cannot use --http with --tls-cert and --tls-key", 2);
  if (certificate === undefined && key === undefined) return undefined;
  if (certificate === undefined || key === undefined) {
    throw new CommandError("Cannot use --tls-cert without --tls-key, or the reverse; give both", 2);
  }
  return { kind: "given", certificate: await readPem(certificate), key: await readPem(key) };
}

async function readPem(file: string): Promise<string> {
  try {
    const text = await Deno.readTextFile(file);
    if (text.includes("-----BEGIN ")) return text;
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new CommandError(`Cannot read "${file}": ${why}`, EXIT.usage, { cause });
  }
  throw new CommandError(`Cannot use "${file}": it is no PEM file`, EXIT.usage);
}

/** Reads a value of `--listen` and adds it to those before. */
function gatherListen(text: string, before: HostAndPort[] | undefined): HostAndPort[] {
  return [...before ?? [], asFlag(parseHostAndPort)(text)];
}

function asFlag<Value>(parse: (text: string) => Value): (text: string) => Value {
  return (text) => {
    try {
      return parse(text);
    } catch (error) {
      throw new InvalidArgumentError(error instanceof Error ? error.message : String(error));
    }
  };
}
