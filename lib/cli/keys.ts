/**
 * `tunnelmesh keys` and `tunnelmesh keys pair`: keys and files for allow-list mode.
 *
 * @module
 */

import type { Command } from "commander";
import { toBase64 } from "../base/bytes.ts";
import { AGENT_STATE_FOLDER } from "../config/paths.ts";
import { CommandError, EXIT } from "./exit.ts";
import { type CommonOptions, withCommonOptions } from "./options.ts";
import { formatTable, print, printJson } from "./output.ts";

/** Nothing of ours is for others to read. */
const FILE_MODE = 0o600;

interface KeysOptions extends CommonOptions {
  readonly private?: string;
}

interface PairOptions extends CommonOptions {
  readonly endpoint: string;
  readonly dir: string;
  readonly client: string;
  readonly range: string;
  readonly allTraffic?: boolean;
  readonly qr?: boolean;
  readonly qrPng?: string;
}

/** Declares the commands. */
export function defineKeys(command: Command): void {
  withCommonOptions(command, AGENT_STATE_FOLDER)
    .description("Make a key pair for allow-list mode, and show it")
    .option("--private <file>", "write the private key there, and show only the public one")
    .addHelpText(
      "after",
      `
Examples:
  tunnelmesh keys --private server.key
  tunnelmesh keys --json
  tunnelmesh keys pair --endpoint 203.0.113.7:51820 --qr`,
    )
    .action(keys);
  withCommonOptions(command.command("pair"), AGENT_STATE_FOLDER)
    .description("Write files for a server and a client that fit together, for tunnelmesh up")
    .requiredOption("--endpoint <address:port>", "where the client reaches the server")
    .option("--dir <folder>", "where to write them", ".")
    .option("--client <name>", "name of the client", "client")
    .option("--range <prefix>", "IPv4 network of the tunnel", "10.9.0.0/24")
    .option("--all-traffic", "send all traffic of the client through the server")
    .option("--qr", "show the client's file as a QR code; whoever sees it has the key")
    .option("--qr-png <file>", "write that QR code as a PNG file")
    .addHelpText(
      "after",
      `
Examples:
  tunnelmesh keys pair --endpoint 203.0.113.7:51820
  tunnelmesh keys pair --endpoint '[2001:db8::7]:51820' --client laptop --all-traffic --qr`,
    )
    .action((_: unknown, command: Command) => pair(command.optsWithGlobals()));
}

async function keys(options: KeysOptions): Promise<void> {
  const { generateKeyPair } = await import("../crypto/x25519.ts");
  const pair = generateKeyPair();
  const [privateKey, publicKey] = [toBase64(pair.privateKey), toBase64(pair.publicKey)];
  if (options.private !== undefined) {
    await writeNew(options.private, `${privateKey}\n`);
    if (options.json) printJson({ privateKeyFile: options.private, publicKey });
    else print(publicKey);
  } else if (options.json) printJson({ privateKey, publicKey });
  else print(formatTable([["Private key:", privateKey], ["Public key:", publicKey]]));
}

async function pair(options: PairOptions): Promise<void> {
  const { generateKeyPair } = await import("../crypto/x25519.ts");
  const { randomBytes } = await import("../crypto/random.ts");
  const { configPair } = await import("../config/allowed_peers_pair.ts");
  const { endpoint, dir, client: clientName, range, allTraffic = false } = options;
  const [server, client] = [generateKeyPair(), generateKeyPair()];
  let files: ReturnType<typeof configPair>;
  try {
    const meshId = randomBytes(16);
    files = configPair({
      ...{ server, client, meshId, endpoint, clientName, range },
      hasAllTraffic: allTraffic,
    });
  } catch (cause) {
    const why = cause instanceof Error ? "fault" in cause ? cause.fault : cause.message : cause;
    throw new CommandError(`Cannot make a pair of files: ${why}`, EXIT.usage, { cause });
  }
  const contents: [name: string, text: string][] = [
    ["server.yaml", files.server],
    ["server.key", `${toBase64(server.privateKey)}\n`],
    ["client.yaml", files.client],
    ["client.key", `${toBase64(client.privateKey)}\n`],
  ];
  const path = (name: string) => dir === "." ? name : `${dir}/${name}`;
  await refuseExisting(contents.map(([name]) => path(name)));
  if (dir !== ".") await Deno.mkdir(dir, { recursive: true, mode: 0o700 });
  for (const [name, text] of contents) await writeNew(path(name), text);
  if (options.qrPng !== undefined) {
    const { qrPng } = await import("./qr.ts");
    await writeNew(options.qrPng, await qrPng(files.clientWhole));
  }
  const publicKeys = { server: toBase64(server.publicKey), client: toBase64(client.publicKey) };
  if (options.json) {
    return printJson({ files: contents.map(([name]) => path(name)), publicKeys });
  }
  print(`Wrote ${contents.map(([name]) => path(name)).join(", ")}

On the server:  sudo tunnelmesh up --config server.yaml
On the client, with client.yaml and client.key:  sudo tunnelmesh up --config client.yaml`);
  if (options.qr) {
    const { qrText } = await import("./qr.ts");
    print(`\n${await qrText(files.clientWhole, Deno.stdout.isTerminal())}`);
  }
}

/** Refuses before the first file is written, so that no half of a pair is left behind. */
async function refuseExisting(paths: readonly string[]): Promise<void> {
  for (const path of paths) {
    const isThere = await Deno.lstat(path).then(() => true, () => false);
    if (isThere) throw alreadyThere(path);
  }
}

/** Writes a file that only its owner can read, and that was not there. */
async function writeNew(path: string, content: string | Uint8Array): Promise<void> {
  const options = { createNew: true, mode: FILE_MODE };
  try {
    if (typeof content === "string") await Deno.writeTextFile(path, content, options);
    else await Deno.writeFile(path, content, options);
  } catch (cause) {
    if (cause instanceof Deno.errors.AlreadyExists) throw alreadyThere(path);
    const why = cause instanceof Deno.errors.NotFound
      ? "there is no such folder"
      : cause instanceof Deno.errors.PermissionDenied
      ? "permission denied"
      : String(cause);
    throw new CommandError(`Cannot write "${path}": ${why}`, EXIT.failure, { cause });
  }
}

function alreadyThere(path: string): CommandError {
  return new CommandError(
    `Cannot write "${path}": it is there already; name another one, or remove it first`,
    EXIT.usage,
  );
}
