/**
 * Where the token of a joining node comes from.
 *
 * @module
 */

import { CommandError, EXIT } from "./exit.ts";

/** Places a token may be in, in the order in which they are asked. */
export interface TokenSources {
  /** Value of `--token`. */
  readonly token?: string | undefined;
  /** Value of `--token-file`, else `tokenFile` of the configuration. */
  readonly tokenFile?: string | undefined;
  /** Value of `TUNNELMESH_TOKEN`. */
  readonly environment?: string | undefined;
}

/**
 * Finds the token.
 *
 * @returns The token's text without blanks around it, unchecked; `undefined` if no place was named.
 * @throws {CommandError} If the file named cannot be read or is empty.
 */
export async function readToken(sources: TokenSources): Promise<string | undefined> {
  if (sources.token !== undefined) return sources.token.trim();
  if (sources.tokenFile !== undefined) return await readTokenFile(sources.tokenFile);
  return sources.environment?.trim() || undefined;
}

async function readTokenFile(file: string): Promise<string> {
  let text: string;
  try {
    text = (await Deno.readTextFile(file)).trim();
  } catch (cause) {
    const why = cause instanceof Deno.errors.NotFound
      ? "there is no such file"
      : cause instanceof Deno.errors.PermissionDenied
      ? "permission denied"
      : String(cause);
    throw new CommandError(`Cannot read the token file "${file}": ${why}`, EXIT.usage, { cause });
  }
  if (text === "") throw new CommandError(`Cannot use the token file "${file}": it is empty`, 2);
  return text;
}
