/**
 * The lines of an `authorized_keys` file that let peers connect to this node by the system's SSH
 * server, and to nothing else on the machine.
 *
 * ```
 * # tunnelmesh begin STATE-FOLDER
 * restrict,command="…tunnelmesh ssh-endpoint serve --state … --client-key AAAA…" ssh-ed25519 AAAA… NAME
 * # tunnelmesh end STATE-FOLDER
 * ```
 *
 * What must hold: everything outside the block stays as it is, byte for byte; the file is whole at
 * every moment; taking the block out again leaves what was there before.
 *
 * @module
 */

import { toBase64 } from "../base/bytes.ts";
import { SshReader } from "../crypto/ssh_wire.ts";
import { AgentError, reasonOf } from "./errors.ts";

const FILE_MODE = 0o600;
const FOLDER_MODE = 0o700;
/** At the end of the first line: the text before had no line break at its end, and was given one. */
const NEWLINE_ADDED = " (after a line without end)";

/** A peer that may connect. */
export interface AuthorizedPeer {
  /** For people. */
  readonly name: string;
  /** Binary client key. */
  readonly clientKey: Uint8Array;
}

/** How the program is started, its arguments one by one. */
export type CommandWords = readonly string[];

/**
 * Puts the block for a state folder into a file's text, in place of one that is there.
 *
 * @param text The whole file.
 * @param state Absolute path of the state folder; it names the block.
 * @param peers Whose keys go in.
 * @param program How to start this program.
 */
export function withBlock(
  text: string,
  state: string,
  peers: readonly AuthorizedPeer[],
  program: CommandWords,
): string {
  const rest = withoutBlock(text, state);
  const isOpen = rest !== "" && !rest.endsWith("\n");
  const lines = [
    `${beginOf(state)}${isOpen ? NEWLINE_ADDED : ""}`,
    ...peers.map((peer) => lineOf(peer, state, program)),
    endOf(state),
  ];
  return `${rest}${isOpen ? "\n" : ""}${lines.join("\n")}\n`;
}

/** Takes the block for a state folder out of a file's text; without one, nothing changes. */
export function withoutBlock(text: string, state: string): string {
  const end = `\n${endOf(state)}\n`;
  const to = text.indexOf(end);
  if (to < 0) return text;
  const after = text.slice(to + end.length);
  // The last beginning before the end: half a block that somebody left above is nobody's.
  for (const wasOpen of [false, true]) {
    const begin = `\n${beginOf(state)}${wasOpen ? NEWLINE_ADDED : ""}\n`;
    const from = `\n${text.slice(0, to)}\n`.lastIndexOf(begin);
    if (from < 0) continue;
    return text.slice(0, wasOpen && after === "" ? from - 1 : from) + after;
  }
  return text;
}

/**
 * Changes a file, whole or not at all; its owner and access rights stay.
 *
 * @param path Of the file; one that is not there is made if there is something to write, and one
 * that is left empty is removed.
 * @param change From the text to the text.
 * @throws {AgentError} `privilege` or `storage` if it cannot be read or written.
 */
export function changeFile(path: string, change: (text: string) => string): void {
  try {
    const real = realPathOf(path);
    const info = statOf(real);
    const before = info === undefined ? "" : Deno.readTextFileSync(real);
    const after = change(before);
    if (after === before) return;
    if (after === "") return Deno.removeSync(real);
    const folder = real.slice(0, real.lastIndexOf("/"));
    Deno.mkdirSync(folder, { recursive: true, mode: FOLDER_MODE });
    const temporary = `${real}.tunnelmesh-${Deno.pid}`;
    try {
      Deno.writeTextFileSync(temporary, after, { createNew: true, mode: FILE_MODE });
      if (info !== undefined) {
        if (info.mode !== null) Deno.chmodSync(temporary, info.mode & 0o777);
        if (info.uid !== null && info.uid !== Deno.uid()) {
          Deno.chownSync(temporary, info.uid, info.gid);
        }
      }
      using file = Deno.openSync(temporary, { read: true });
      file.syncSync();
      Deno.renameSync(temporary, real);
    } catch (error) {
      try {
        Deno.removeSync(temporary);
      } catch {
        // It may not have been made; what failed before is what is reported.
      }
      throw error;
    }
  } catch (cause) {
    const isDenied = cause instanceof Deno.errors.PermissionDenied;
    throw new AgentError(
      isDenied ? "privilege" : "storage",
      `Cannot change "${path}": ${reasonOf(cause)}; name another file by --authorized-keys`,
      { cause },
    );
  }
}

function lineOf({ name, clientKey }: AuthorizedPeer, state: string, program: CommandWords): string {
  const key = toBase64(clientKey);
  const words = [...program, "ssh-endpoint", "serve", "--state", state, "--client-key", key];
  const command = words.map(quoteForShell).join(" ").replaceAll(/["\\]/g, "\\$&");
  const type = new SshReader(clientKey).text();
  return `restrict,command="${command}" ${type} ${key} ${name.replaceAll(/[^\w.-]/g, "_")}`;
}

function quoteForShell(word: string): string {
  return /^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", `'\\''`)}'`;
}

function beginOf(state: string): string {
  return `# tunnelmesh begin ${state}`;
}

function endOf(state: string): string {
  return `# tunnelmesh end ${state}`;
}

/** The file that a link leads to, so that the link stays. */
function realPathOf(path: string): string {
  try {
    return Deno.realPathSync(path);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return path;
    throw error;
  }
}

function statOf(path: string): Deno.FileInfo | undefined {
  try {
    return Deno.statSync(path);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return undefined;
    throw error;
  }
}
