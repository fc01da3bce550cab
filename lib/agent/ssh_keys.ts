/**
 * The keys that a node uses for SSH connections with its peers, and for nothing else: one that its
 * server proves itself with, one that it connects with. Neither is its identity, so whoever steals
 * them can be nobody's peer.
 *
 * @module
 */

import { createSshKey, loadSshKey, type SshKey } from "../crypto/ssh_key.ts";
import { AgentError, reasonOf } from "./errors.ts";
import type { StateFolder } from "./state_folder.ts";

const HOST_KEY = "ssh_host_key";
const CLIENT_KEY = "ssh_client_key";

/** One key as it is used here. */
export interface SshConnectionKey {
  /** OpenSSH text, without passphrase. */
  readonly privateText: string;
  /** Binary public key. */
  readonly publicKey: Uint8Array;
}

/** Both keys of a node. */
export interface SshConnectionKeys {
  readonly host: SshConnectionKey;
  readonly client: SshConnectionKey;
}

/**
 * Reads the keys of a state folder, and makes those it lacks.
 *
 * @throws {AgentError} `storage` if one is there but cannot be used, or cannot be written.
 */
export async function openSshConnectionKeys(folder: StateFolder): Promise<SshConnectionKeys> {
  return { host: await openKey(folder, HOST_KEY), client: await openKey(folder, CLIENT_KEY) };
}

async function openKey(folder: StateFolder, name: string): Promise<SshConnectionKey> {
  const text = folder.read(name);
  if (text === undefined) {
    const { key, privateText } = createSshKey(`tunnelmesh ${name}`);
    folder.write(name, privateText);
    return { privateText, publicKey: key.publicKey };
  }
  let key: SshKey;
  try {
    key = await loadSshKey(text);
  } catch (cause) {
    const path = folder.pathOf(name);
    throw new AgentError(
      "storage",
      `Cannot use SSH key "${path}": ${reasonOf(cause)}; remove it, and a new one is made`,
      { cause },
    );
  }
  return { privateText: text, publicKey: key.publicKey };
}
