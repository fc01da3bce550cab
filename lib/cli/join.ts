/**
 * `tunnelmesh join`: the agent, in the foreground.
 *
 * @module
 */

import type { Command } from "commander";
import type { AgentOptions } from "../agent/agent.ts";
import type { DataPlaneWish } from "../agent/data_plane_choice.ts";
import type { TrustMode } from "../agent/peer_trust.ts";
import type { AgentConfig } from "../config/schema.ts";
import { AGENT_STATE_FOLDER } from "../config/paths.ts";
import { aborted, forgetStart, startQuietLog, watchForStop } from "./foreground.ts";
import {
  type CommonOptions,
  dataPlaneOption,
  integerFrom,
  trustOption,
  withCommonOptions,
} from "./options.ts";
import { print, printJson } from "./output.ts";
import { promptForPassphrase } from "./prompt.ts";
import { readToken } from "./token_source.ts";

/** Flags of `join`, as commander reads them. */
export interface JoinFlags extends CommonOptions {
  readonly coordinator?: string;
  readonly token?: string;
  readonly tokenFile?: string;
  readonly config?: string;
  readonly name?: string;
  readonly udpPort?: number;
  readonly interface?: string;
  readonly sshKey?: string;
  readonly sshPort?: number;
  readonly tlsVerify?: boolean;
  readonly trust?: TrustMode;
  readonly dataPlane?: DataPlaneWish;
}

/** Declares the command. */
export function defineJoin(command: Command): void {
  withCommonOptions(command, AGENT_STATE_FOLDER)
    .description("Join a mesh, or come back to it, and stay until stopped")
    .option("--coordinator <url>", "where the coordinator is, as in https://HOST:8443")
    .option("--token <token>", "what admits this machine; TUNNELMESH_TOKEN serves too")
    .option("--token-file <file>", "a file with the token")
    .option("--config <file>", "a YAML file with these settings")
    .option("--name <name>", "name in the mesh (default: the host's name)")
    .option("--udp-port <n>", "UDP port (default: any free one, kept)", integerFrom(0, 65535))
    .option("--interface <name>", "name of the network interface (default: tm0, tm1, …)")
    .option("--ssh-key <file>", "adopt this OpenSSH private key instead of making one")
    .option("--ssh-port <n>", "let peers connect by SSH to this TCP port", integerFrom(0, 65535))
    .option("--tls-verify", "ask for a certificate that this machine trusts")
    .addOption(trustOption())
    .addOption(dataPlaneOption())
    .addHelpText(
      "after",
      `
Examples:
  sudo tunnelmesh join --coordinator https://mesh.example.org:8443 --token-file token
  sudo TUNNELMESH_TOKEN=tm1_… tunnelmesh join --coordinator https://192.0.2.1:8443 --name laptop
  sudo tunnelmesh join            # a machine that has joined before needs nothing`,
    )
    .action(join);
}

/**
 * What an agent is started with: flags first, then the configuration file, then the environment.
 *
 * @param flags From the command line.
 * @param config From the file; empty without one.
 * @param environment Value of `TUNNELMESH_TOKEN`.
 * @throws {CommandError} If the token file cannot be read.
 */
export async function agentOptionsOf(
  flags: JoinFlags,
  config: AgentConfig,
  environment: string | undefined,
): Promise<AgentOptions> {
  const tokenFile = flags.tokenFile ?? config.tokenFile;
  const port = flags.sshPort ?? config.sshPort;
  const { sshEndpoints: endpoints, sshJump: jump } = config;
  const hasSsh = [port, endpoints, jump].some((one) => one !== undefined);
  return {
    state: flags.state ?? AGENT_STATE_FOLDER,
    coordinatorUrl: flags.coordinator ?? config.coordinator,
    token: await readToken({ token: flags.token, tokenFile, environment }),
    tlsVerify: flags.tlsVerify ?? config.tlsVerify,
    trust: flags.trust ?? config.trust,
    name: flags.name ?? config.name,
    udpPort: flags.udpPort ?? config.udpPort,
    interfaceName: flags.interface ?? config.interface,
    sshKeyPath: flags.sshKey ?? config.sshKey,
    mtu: config.mtu,
    ...(config.portMapping !== undefined && { portMapping: config.portMapping }),
    ...(config.stun !== undefined && { stun: config.stun }),
    ...(hasSsh && { ssh: { port, endpoints, jump } }),
    dataPlane: flags.dataPlane ?? config.dataPlane,
  };
}

async function join(flags: JoinFlags): Promise<void> {
  const stop = watchForStop();
  const config = flags.config === undefined
    ? {}
    : await (await import("../config/load.ts")).loadAgentConfig(flags.config);
  const options = await agentOptionsOf(flags, config, Deno.env.get("TUNNELMESH_TOKEN"));
  const isUp = await startQuietLog(flags.logLevel ?? config.logLevel);
  const { Agent } = await import("../agent/agent.ts");
  const agent = await Agent.start({
    ...options,
    passphrase: () => promptForPassphrase("Passphrase of the SSH key: "),
    signal: stop.signal,
  }).catch((error) => {
    if (stop.signal.aborted) return undefined;
    throw error;
  });
  if (agent === undefined) return;
  isUp();
  forgetStart();
  try {
    const { name, addresses, interface: interfaceName } = agent.status();
    if (flags.json) printJson({ event: "joined", name, addresses, interface: interfaceName });
    else print(`Joined as ${name}: ${addresses.ipv4}, ${addresses.ipv6} on ${interfaceName}`);
    await Promise.race([aborted(stop.signal), agent.ended]);
  } finally {
    await agent.close();
  }
}
