/**
 * The Unix socket by which the command line asks a running process.
 *
 * One JSON object a line: `{ id, method, params }` gets `{ id, result }` or
 * `{ id, error: { code, message } }`. What must hold: only the owner can connect (folder 0700,
 * socket 0600); a stale socket is removed only by the holder of the state folder's lock.
 *
 * @module
 */

import { toHex, utf8 } from "../base/bytes.ts";
import { sha256 } from "../crypto/hash.ts";
import { AgentError, type AgentFault, reasonOf } from "./errors.ts";

/** Longest path of a Unix socket: `sun_path` is 108 bytes with its final zero. */
const MAX_SOCKET_PATH_BYTES = 107;
const RUN_FOLDER = "/run/tunnelmesh";
/** Longest line taken from a client. */
const MAX_REQUEST_BYTES = 65_536;
const DEFAULT_TIMEOUT_MS = 30_000;

/** What a method does: gets `params`, gives what becomes `result`. */
export type ControlMethod = (params: Record<string, unknown>) => unknown | Promise<unknown>;

/**
 * Where the socket of a state folder is.
 *
 * @param stateFolder Path of the folder.
 * @param name Of the socket, such as `agent.sock`.
 * @returns A path in the folder; one under /run, made from a hash, if that would be too long.
 */
export function controlSocketPath(stateFolder: string, name: string): string {
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

/** Answers on a control socket until it is closed. */
export class ControlSocketServer {
  readonly #listener: Deno.UnixListener;
  readonly #methods: Readonly<Record<string, ControlMethod>>;
  readonly #connections = new Set<Deno.UnixConn>();
  readonly #path: string;

  /**
   * Starts to listen. The caller holds the folder's lock.
   *
   * @param stateFolder Path of the folder.
   * @param name Of the socket.
   * @param methods By name.
   * @throws {AgentError} If the socket cannot be made.
   */
  constructor(
    stateFolder: string,
    name: string,
    methods: Readonly<Record<string, ControlMethod>>,
  ) {
    this.#methods = methods;
    this.#path = controlSocketPath(stateFolder, name);
    try {
      if (this.#path.startsWith(RUN_FOLDER)) {
        Deno.mkdirSync(RUN_FOLDER, { recursive: true, mode: 0o700 });
      }
      tryRemove(this.#path);
      this.#listener = Deno.listen({ transport: "unix", path: this.#path });
      Deno.chmodSync(this.#path, 0o600);
    } catch (cause) {
      throw new AgentError(
        "storage",
        `Cannot listen on control socket "${this.#path}": ${reasonOf(cause)}`,
        { cause },
      );
    }
    this.#accept();
  }

  /** Stops listening, closes every connection and removes the socket. Safe to call twice. */
  close(): void {
    try {
      this.#listener.close();
    } catch {
      return; // closed before
    }
    for (const connection of this.#connections) tryClose(connection);
    tryRemove(this.#path);
  }

  async #accept(): Promise<void> {
    try {
      for await (const connection of this.#listener) this.#serve(connection);
    } catch {
      // The listener was closed.
    }
  }

  async #serve(connection: Deno.UnixConn): Promise<void> {
    this.#connections.add(connection);
    try {
      for await (const line of readLines(connection, MAX_REQUEST_BYTES)) {
        await writeLine(connection, await this.#answer(line));
      }
    } catch {
      // The client went away, or sent what is no line: either way it has its end.
    } finally {
      this.#connections.delete(connection);
      tryClose(connection);
    }
  }

  async #answer(line: string): Promise<unknown> {
    let id: unknown = null;
    try {
      const request = JSON.parse(line);
      id = request.id ?? null;
      const method = Object.hasOwn(this.#methods, request.method)
        ? this.#methods[request.method]
        : undefined;
      if (method === undefined) {
        throw new AgentError("usage", `Cannot do "${request.method}": there is no such method`);
      }
      return { id, result: await method(request.params ?? {}) ?? null };
    } catch (error) {
      const fault = error instanceof Error && "fault" in error ? error.fault : undefined;
      return { id, error: { code: fault ?? "failed", message: reasonOf(error) } };
    }
  }
}

/**
 * Asks a running process.
 *
 * @param stateFolder Path of its folder.
 * @param name Of its socket, such as `agent.sock`.
 * @param method Name of the method.
 * @param params Its parameters.
 * @param timeoutMs How long to wait for the answer.
 * @returns What the method gave.
 * @throws {AgentError} `not-running` if nobody listens, `privilege` if the socket is another
 * user's, else the failure that the process reported.
 */
export async function callControlSocket(
  stateFolder: string,
  name: string,
  method: string,
  params: Record<string, unknown> = {},
  timeoutMs: number = DEFAULT_TIMEOUT_MS,
): Promise<unknown> {
  const connection = await connect(stateFolder, name);
  let hasTimedOut = false;
  const timer = setTimeout(() => {
    hasTimedOut = true;
    tryClose(connection);
  }, timeoutMs);
  try {
    await writeLine(connection, { id: 1, method, params });
    for await (const line of readLines(connection, Infinity)) return resultOf(line);
    throw new AgentError("failed", `Cannot do "${method}": the process stopped meanwhile`);
  } catch (error) {
    if (error instanceof AgentError) throw error;
    const why = hasTimedOut ? "it took too long" : reasonOf(error);
    throw new AgentError("failed", `Cannot do "${method}": ${why}`, { cause: error });
  } finally {
    clearTimeout(timer);
    tryClose(connection);
  }
}

async function connect(stateFolder: string, name: string): Promise<Deno.UnixConn> {
  try {
    return await Deno.connect({ transport: "unix", path: controlSocketPath(stateFolder, name) });
  } catch (cause) {
    if (cause instanceof Deno.errors.PermissionDenied) {
      throw new AgentError(
        "privilege",
        `Cannot ask the process on state folder "${stateFolder}": permission denied; run as the ` +
          "user it runs as",
        { cause },
      );
    }
    throw new AgentError(
      "not-running",
      `Cannot ask the process on state folder "${stateFolder}": it is not running; start it, or ` +
        "name its folder by --state",
      { cause },
    );
  }
}

function resultOf(line: string): unknown {
  const answer = JSON.parse(line);
  if (answer.error === undefined) return answer.result;
  throw new AgentError(answer.error.code as AgentFault, String(answer.error.message));
}

async function* readLines(connection: Deno.UnixConn, maxBytes: number): AsyncGenerator<string> {
  const decoder = new TextDecoder();
  const chunk = new Uint8Array(16_384);
  let pending = "";
  while (true) {
    const length = await connection.read(chunk);
    if (length === null) return;
    pending += decoder.decode(chunk.subarray(0, length), { stream: true });
    const lines = pending.split("\n");
    pending = lines.pop()!;
    if (pending.length > maxBytes) return;
    for (const line of lines) if (line.trim() !== "") yield line;
  }
}

async function writeLine(connection: Deno.UnixConn, value: unknown): Promise<void> {
  let rest: Uint8Array = utf8(JSON.stringify(value) + "\n");
  while (rest.length > 0) rest = rest.subarray(await connection.write(rest));
}

function tryClose(connection: Deno.UnixConn): void {
  try {
    connection.close();
  } catch {
    // closed before
  }
}

function tryRemove(path: string): void {
  try {
    Deno.removeSync(path);
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  }
}
