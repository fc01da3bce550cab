/**
 * `tunnelmesh token show|rotate|invite|list|revoke`.
 *
 * @module
 */

import { type Command, InvalidArgumentError } from "commander";
import type { InviteAnswer, TokenAnswer } from "../agent/coordinator_admin.ts";
import { COORDINATOR_STATE_FOLDER } from "../config/paths.ts";
import type { CoordinatorToken } from "../coordinator/coordinator_options.ts";
import { askCoordinator } from "./ask.ts";
import { type CommonOptions, integerFrom, parseDuration, withCommonOptions } from "./options.ts";
import { formatAge, formatTable, print, printJson } from "./output.ts";

/** How long an invite is good unless said otherwise. */
const INVITE_MS = 3_600_000;

/** Flags of `token invite`. */
interface InviteOptions extends CommonOptions {
  /** Milliseconds. */
  readonly expires?: number;
  readonly name?: string;
}

/** Declares the commands. */
export function defineToken(command: Command): void {
  command.description("Tokens that admit nodes to the mesh of a coordinator on this machine")
    .addHelpText(
      "after",
      `
Examples:
  sudo tunnelmesh token show
  sudo tunnelmesh token rotate
  sudo tunnelmesh token invite --expires 1h --name laptop
  sudo tunnelmesh token list
  sudo tunnelmesh token revoke 3`,
    );
  const define = (name: string, description: string) =>
    withCommonOptions(command.command(name), COORDINATOR_STATE_FOLDER).description(description);
  define("show", "Show the mesh token and the command that joins another machine")
    .action(async (options: CommonOptions) =>
      show(await askCoordinator<TokenAnswer>(options.state, "token-show"), options)
    );
  define("rotate", "Replace the mesh token: the old one admits nobody any more, members stay")
    .action(async (options: CommonOptions) =>
      show(await askCoordinator<TokenAnswer>(options.state, "token-rotate"), options)
    );
  define("invite", "Make a token that admits one node, once; it is shown this one time")
    .option("--expires <time>", "how long it is good (default: 1h)", parseDuration)
    .option("--name <name>", "name of the node that it is for, unless that asks for another")
    .action(invite);
  define("list", "List the tokens, without what would admit anybody")
    .action(async (options: CommonOptions) => {
      const tokens = await askCoordinator<CoordinatorToken[]>(options.state, "token-list");
      if (options.json) printJson(tokens);
      else print(formatTokens(tokens, Date.now()));
    });
  define("revoke", "Make an invite that nobody has used admit nobody")
    .argument("<id>", "its number in the list", parseId)
    .action(async (id: number, options: CommonOptions) => {
      const revoked = await askCoordinator<CoordinatorToken>(options.state, "token-revoke", { id });
      if (options.json) printJson(revoked);
      else print(`Revoked invite ${revoked.id}`);
    });
}

async function invite({ expires, name, ...options }: InviteOptions): Promise<void> {
  const params = { forMs: expires ?? INVITE_MS, ...(name === undefined ? {} : { name }) };
  const made = await askCoordinator<InviteAnswer>(options.state, "token-invite", params);
  if (options.json) return printJson(made);
  const { id, token, joinCommand, expiresAt } = made;
  print(
    `${token}\n\nInvite ${id} admits one node until ${expiresAt}; it is not shown again.\n` +
      `To join another machine:\n  ${joinCommand}`,
  );
}

function show({ token, joinCommand }: TokenAnswer, options: CommonOptions): void {
  if (options.json) printJson({ token, joinCommand });
  else print(`${token}\n\nTo join another machine:\n  ${joinCommand}`);
}

/**
 * Tokens as a table.
 *
 * @param tokens What the coordinator says.
 * @param now Milliseconds since 1970.
 */
export function formatTokens(tokens: readonly CoordinatorToken[], now: number): string {
  const heading = ["ID", "KIND", "STATE", "NAME", "ASKED BY", "MADE", "EXPIRES", "USED BY"];
  const rows = tokens.map(({ id, kind, state, name, askedBy, createdAt, expiresAt, usedBy }) => [
    String(id),
    kind,
    state,
    name ?? "-",
    askedBy?.name ?? "-",
    formatAge((now - Date.parse(createdAt)) / 1000),
    expiresAt ?? "-",
    usedBy?.name ?? "-",
  ]);
  return formatTable([heading, ...rows], [0]);
}

function parseId(text: string): number {
  try {
    return integerFrom(1, 999_999_999)(text);
  } catch {
    throw new InvalidArgumentError('it is a number of the list; see "tunnelmesh token list"');
  }
}
