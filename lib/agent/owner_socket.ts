/**
 * Unix sockets of a state folder, by which whoever owns the folder reaches the process that runs on
 * it.
 *
 * What must hold: only the owner can connect (folder 0700, socket 0600); a stale socket is removed
 * only by the holder of the folder's lock.
 *
 * @module
 */

import { toHex, utf8 } from "../base/bytes.ts";
import { sha256 } from "../crypto/hash.ts";
import { AgentError, reasonOf } from "./errors.ts";
import { removeIfThere } from "./state_folder.ts";

/** Longest path of a Unix socket: `sun_path` is 108 bytes with its final zero. */
const MAX_SOCKET_PATH_BYTES = 107;
const RUN_FOLDER = "/run/tunnelmesh";

/**
 * Where a socket of a state folder is.
 *
 * @param stateFolder Path of the folder.
 * @param name Of the socket, such as `agent.sock`.
 * @returns A path in the folder; one under /run, made from a hash, if that would be too long.
 */
export function ownerSocketPath(stateFolder: string, name: string): string {
  let folder = stateFolder;
  try {
    folder = Deno.realPathSync(stateFolder);
  } catch {
    // No such folder: nobody listens either way.
  }
  const path = `${folder}/${name}`;
  if (utf8(path).length <= MAX_SOCKET_PATH_BYTES) return path;
  return `${RUN_FOLDER}/${toHex(sha256(utf8(path)).subarray(0, 16))}.sock`;
}

/** Takes connections to a socket until it is closed. */
export class OwnerListener {
  readonly #listener: Deno.UnixListener;
  readonly #path: string;

  /**
   * Starts to listen. The caller holds the folder's lock.
   *
   * @param stateFolder Path of the folder.
   * @param name Of the socket.
   * @param take Called with each connection, which is its own from then on.
   * @throws {AgentError} `storage` if the socket cannot be made.
   */
  constructor(stateFolder: string, name: string, take: (connection: Deno.UnixConn) => void) {
    this.#path = ownerSocketPath(stateFolder, name);
    try {
      if (this.#path.startsWith(RUN_FOLDER)) {
        Deno.mkdirSync(RUN_FOLDER, { recursive: true, mode: 0o700 });
      }
      removeIfThere(this.#path);
      this.#listener = Deno.listen({ transport: "unix", path: this.#path });
      Deno.chmodSync(this.#path, 0o600);
    } catch (cause) {
      const why = `Cannot listen on socket "${this.#path}": ${reasonOf(cause)}`;
      throw new AgentError("storage", why, { cause });
    }
    this.#accept(take);
  }

  /** Stops listening and removes the socket; connections live on. Safe to call twice. */
  close(): void {
    try {
      this.#listener.close();
    } catch {
      return; // closed before
    }
    removeIfThere(this.#path);
  }

  async #accept(take: (connection: Deno.UnixConn) => void): Promise<void> {
    try {
      for await (const connection of this.#listener) take(connection);
    } catch {
      // The listener was closed.
    }
  }
}

/**
 * Connects to the process that listens.
 *
 * @throws {Deno.errors.NotFound} or another of Deno's errors, when nobody does or it may not.
 */
export function connectToOwner(stateFolder: string, name: string): Promise<Deno.UnixConn> {
  return Deno.connect({ transport: "unix", path: ownerSocketPath(stateFolder, name) });
}

/** Writes all of some bytes. */
export async function writeAll(connection: Deno.UnixConn, bytes: Uint8Array): Promise<void> {
  for (let at = 0; at < bytes.length;) at += await connection.write(bytes.subarray(at));
}

/** Closes a connection that may be closed already. */
export function tryClose(connection: Deno.UnixConn): void {
  try {
    connection.close();
  } catch {
    // closed before
  }
}
