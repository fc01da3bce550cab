/**
 * Setting up the system's SSH server as a way to this node, and taking that back.
 *
 * The state folder remembers what was set up (`ssh_endpoint.json`), so that the agent can keep the
 * keys in the file those of the roster's members.
 *
 * @module
 */

import { fromBase64, toBase64 } from "../base/bytes.ts";
import type { NodeRecord } from "../wire/server_message.ts";
import { AgentError } from "./errors.ts";
import { readCachedRoster, readMembership } from "./membership.ts";
import { changeFile, type CommandWords, withBlock, withoutBlock } from "./ssh_authorized_keys.ts";
import { openSshConnectionKeys } from "./ssh_keys.ts";
import { StateFolder } from "./state_folder.ts";

const SETUP = "ssh_endpoint.json";
const SYSTEM_KEYS = "/etc/ssh";

/** What was set up. */
export interface SshEndpointSetup {
  /** Path of the file that the block is in. */
  readonly authorizedKeys: string;
  /** The user whose file that is. */
  readonly user: string;
  /** TCP port of the system's SSH server. */
  readonly port: number;
  /** Binary host keys of the system's SSH server. */
  readonly hostKeys: readonly Uint8Array[];
  /** How `sshd` starts this program. */
  readonly program: CommandWords;
}

/** Reads what was set up; `undefined` if nothing was, or it is damaged. */
export function readSshEndpoint(folder: StateFolder): SshEndpointSetup | undefined {
  const text = folder.read(SETUP);
  if (text === undefined) return undefined;
  try {
    const { authorizedKeys, user, port, hostKeys, program } = JSON.parse(text);
    const keys = (hostKeys as string[]).map((key) => fromBase64(key));
    return { authorizedKeys, user, port, hostKeys: keys, program };
  } catch {
    return undefined;
  }
}

/**
 * Writes the block into an `authorized_keys` file and remembers it.
 *
 * @param state Absolute path of the state folder.
 * @returns How many peers may come.
 * @throws {AgentError} If the file cannot be written; nothing has changed then.
 */
export async function installSshEndpoint(
  state: string,
  setup: Omit<SshEndpointSetup, "hostKeys">,
): Promise<number> {
  const folder = StateFolder.peek(state);
  const roster = readCachedRoster(folder)?.roster.upserts ?? [];
  const own = readMembership(folder)?.welcome.nodeId;
  const previous = readSshEndpoint(folder);
  const full: SshEndpointSetup = { ...setup, hostKeys: systemHostKeys() };
  await openSshConnectionKeys(folder);
  const count = write(folder, full, roster, own);
  if (previous !== undefined && previous.authorizedKeys !== setup.authorizedKeys) {
    changeFile(previous.authorizedKeys, (text) => withoutBlock(text, state));
  }
  const json = { ...full, hostKeys: full.hostKeys.map((key) => toBase64(key)) };
  folder.write(SETUP, JSON.stringify(json, null, 2) + "\n");
  return count;
}

/**
 * Takes the block out again and forgets it.
 *
 * @param authorizedKeys The file, if it is not the one remembered.
 * @returns The file it was taken out of; `undefined` if nothing was set up.
 */
export function removeSshEndpoint(state: string, authorizedKeys?: string): string | undefined {
  const folder = StateFolder.peek(state);
  const path = authorizedKeys ?? readSshEndpoint(folder)?.authorizedKeys;
  if (path !== undefined) changeFile(path, (text) => withoutBlock(text, state));
  folder.remove(SETUP);
  return path;
}

/**
 * Brings the block up to date with the roster; without one, nothing happens.
 *
 * @param nodes Members of the mesh.
 * @param ownNodeId The one that is no peer.
 * @throws {AgentError} If the file cannot be written.
 */
export function refreshSshEndpoint(
  folder: StateFolder,
  nodes: readonly NodeRecord[],
  ownNodeId: string,
): void {
  const setup = readSshEndpoint(folder);
  if (setup !== undefined) write(folder, setup, nodes, ownNodeId);
}

function write(
  folder: StateFolder,
  { authorizedKeys, program }: SshEndpointSetup,
  nodes: readonly NodeRecord[],
  ownNodeId: string | undefined,
): number {
  const peers = nodes.flatMap(({ nodeId, name, ssh }) =>
    ssh === undefined || nodeId === ownNodeId ? [] : [{ name, clientKey: ssh.clientKey }]
  );
  // The block is named as `install` named it, however the agent was given the folder.
  const state = Deno.realPathSync(folder.path);
  changeFile(authorizedKeys, (text) => withBlock(text, state, peers, program));
  return peers.length;
}

/** Public host keys of the system's SSH server. */
function systemHostKeys(): Uint8Array[] {
  const keys: Uint8Array[] = [];
  try {
    for (const { name } of Deno.readDirSync(SYSTEM_KEYS)) {
      if (!/^ssh_host_(ed25519|ecdsa|rsa)_key\.pub$/.test(name)) continue;
      const [, base64 = ""] = Deno.readTextFileSync(`${SYSTEM_KEYS}/${name}`).split(" ");
      keys.push(fromBase64(base64));
    }
  } catch {
    // None is found: said below.
  }
  if (keys.length > 0) return keys;
  throw new AgentError(
    "failed",
    `Cannot use the system's SSH server: it has no host keys in ${SYSTEM_KEYS}; install ` +
      "openssh-server",
  );
}
