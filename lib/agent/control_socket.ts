/**
 * The Unix socket by which the command line asks a running process.
 *
 * One JSON object a line: `{ id, method, params }` gets `{ id, result }` or
 * `{ id, error: { code, message } }`. Only the owner can connect (owner_socket.ts).
 *
 * @module
 */

import { utf8 } from "../base/bytes.ts";
import { AgentError, type AgentFault, reasonOf } from "./errors.ts";
import { connectToOwner, OwnerListener, tryClose, writeAll } from "./owner_socket.ts";

/** Longest line taken from a client. */
const MAX_REQUEST_BYTES = 65_536;
const DEFAULT_TIMEOUT_MS = 30_000;

/** What a method does: gets `params`, gives what becomes `result`. */
export type ControlMethod = (params: Record<string, unknown>) => unknown | Promise<unknown>;

/** Answers on a control socket until it is closed. */
export class ControlSocketServer {
  readonly #listener: OwnerListener;
  readonly #methods: Readonly<Record<string, ControlMethod>>;
  readonly #connections = new Set<Deno.UnixConn>();

  /**
   * Starts to listen. The caller holds the folder's lock.
   *
   * @param stateFolder Path of the folder.
   * @param name Of the socket.
   * @param methods By name.
   * @throws {AgentError} `storage` if the socket cannot be made.
   */
  constructor(
    stateFolder: string,
    name: string,
    methods: Readonly<Record<string, ControlMethod>>,
  ) {
    this.#methods = methods;
    this.#listener = new OwnerListener(stateFolder, name, (connection) => this.#serve(connection));
  }

  /** Stops listening, closes every connection and removes the socket. Safe to call twice. */
  close(): void {
    this.#listener.close();
    for (const connection of this.#connections) tryClose(connection);
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
    return await connectToOwner(stateFolder, name);
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

function writeLine(connection: Deno.UnixConn, value: unknown): Promise<void> {
  return writeAll(connection, utf8(JSON.stringify(value) + "\n"));
}
