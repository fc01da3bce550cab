/**
 * Tokens: which ones admit (protocol.md §1). The book knows serials, ids and states; what a token
 * says is derived from the coordinator secret when it is shown.
 *
 * ```
 * mesh token   active → rotated
 * invite       active → spent, revoked, or past its time
 * ```
 *
 * @module
 */

import { equalBytes } from "../base/bytes.ts";
import { tokenIdOf } from "../token/token.ts";
import { RefusalError } from "../wire/refusal.ts";
import type { Ledger } from "./ledger.ts";
import { chooseName } from "./names.ts";
import type { CoordinatorSecret } from "./secrets.ts";
import type { TokenRow } from "./store.ts";

/** All tokens of a mesh. */
export class TokenBook {
  readonly #ledger: Ledger;
  readonly #secret: CoordinatorSecret;

  /** @throws {RangeError} when the rows were made with another coordinator secret. */
  constructor(ledger: Ledger, secret: CoordinatorSecret) {
    this.#ledger = ledger;
    this.#secret = secret;
    const [first] = ledger.tokens.values();
    if (first !== undefined && !equalBytes(first.tokenId, tokenIdOf(this.joinSecret(first)))) {
      throw new RangeError("the coordinator secret does not belong to this registry");
    }
  }

  /** The join secret of a token, 32 bytes: with mesh id and coordinator key it is the token text. */
  joinSecret(token: TokenRow): Uint8Array {
    return this.#secret.joinSecret(token.serial);
  }

  /** The reusable token in force. */
  get current(): TokenRow | undefined {
    return [...this.#ledger.tokens.values()].find((token) =>
      token.kind === "mesh" && token.state === "active"
    );
  }

  /** Replaces the reusable token: the one before admits nobody any more, members stay. */
  rotate(unixMs: number): TokenRow {
    const before = [...this.#ledger.tokens.values()]
      .filter((token) => token.kind === "mesh" && token.state === "active")
      .map((token): TokenRow => ({ ...token, state: "rotated" }));
    const token = this.#next("mesh", unixMs, undefined);
    this.#ledger.commit({ tokens: [...before, token] });
    return token;
  }

  /**
   * Makes an invite, good for one node.
   *
   * @param expiresAt Until when, in unix milliseconds.
   * @param name Of the node that it is for.
   * @param askedBy Node id of the member that wants it, where it is one.
   * @throws {RefusalError} `bad-name`, `reserved-name`, `storage-failure`.
   */
  invite(unixMs: number, expiresAt: number, name?: string, askedBy?: string): TokenRow {
    const token: TokenRow = {
      ...this.#next("invite", unixMs, expiresAt),
      // Whether it is taken shows when it is used: it may be a machine that is installed anew.
      ...(name === undefined
        ? {}
        : { name: chooseName({ wished: name, isExplicit: true, isTaken: () => false }) }),
      ...(askedBy === undefined ? {} : { askedBy }),
    };
    this.#ledger.commit({ tokens: [token] });
    return token;
  }

  /** Every token there is or was, oldest first. */
  all(): TokenRow[] {
    return [...this.#ledger.tokens.values()].sort((a, b) => a.serial - b.serial);
  }

  /** A token by its serial. */
  get(serial: number): TokenRow | undefined {
    return this.#ledger.tokens.get(serial);
  }

  /**
   * Makes an invite that nobody has used admit nobody any more; a revoked one stays what it is.
   *
   * @throws {RefusalError} `storage-failure`.
   * @throws {TypeError} for a token that is none, or was used: that is no longer up to the token.
   */
  revoke(serial: number): TokenRow {
    const token = this.#ledger.tokens.get(serial);
    if (token?.state === "revoked") return token;
    if (token === undefined || token.kind !== "invite" || token.state !== "active") {
      throw new TypeError(`Cannot revoke token ${serial}: it is no unused invite`);
    }
    const revoked: TokenRow = { ...token, state: "revoked" };
    this.#ledger.commit({ tokens: [revoked] });
    return revoked;
  }

  /**
   * The token that admits a node now. Changes nothing.
   *
   * @param nodeId Who asks: a spent invite still serves the node that spent it, until that node's
   * first connection as a member (its welcome may have been lost).
   * @throws {RefusalError} `unknown-token`, `token-rotated`, `token-revoked`, `token-spent`,
   * `token-expired`.
   */
  admitting(tokenId: Uint8Array, nodeId: string, unixMs: number): TokenRow {
    const token = this.#find(tokenId);
    if (token === undefined) throw new RefusalError("unknown-token");
    if (token.state === "rotated") throw new RefusalError("token-rotated");
    if (token.state === "revoked") throw new RefusalError("token-revoked");
    if (token.state === "spent") {
      const node = this.#ledger.nodes.get(nodeId);
      const isUnconfirmed = token.spentBy === nodeId && node !== undefined &&
        node.state === "active" && !node.hasConnected;
      if (!isUnconfirmed) throw new RefusalError("token-spent");
    } else if (token.expiresAt !== undefined && unixMs >= token.expiresAt) {
      throw new RefusalError("token-expired");
    }
    return token;
  }

  /** The row to save along with a registration: an invite is spent, a mesh token stays as it is. */
  spend(token: TokenRow, nodeId: string): TokenRow[] {
    return token.kind === "invite" ? [{ ...token, state: "spent", spentBy: nodeId }] : [];
  }

  /** The rows to save along with a member's end: what it asked for and nobody has used is void. */
  revokedWith(nodeId: string): TokenRow[] {
    return this.askedBy(nodeId).filter(({ state }) => state === "active")
      .map((token): TokenRow => ({ ...token, state: "revoked" }));
  }

  /** The invites that a member asked for. */
  askedBy(nodeId: string): TokenRow[] {
    return [...this.#ledger.tokens.values()].filter((token) => token.askedBy === nodeId);
  }

  #find(tokenId: Uint8Array): TokenRow | undefined {
    for (const token of this.#ledger.tokens.values()) {
      if (equalBytes(token.tokenId, tokenId)) return token;
    }
    return undefined;
  }

  #next(kind: TokenRow["kind"], unixMs: number, expiresAt: number | undefined): TokenRow {
    let serial = 1;
    for (const taken of this.#ledger.tokens.keys()) serial = Math.max(serial, taken + 1);
    const tokenId = tokenIdOf(this.#secret.joinSecret(serial));
    return {
      serial,
      tokenId,
      kind,
      state: "active",
      expiresAt,
      spentBy: undefined,
      createdAt: unixMs,
    };
  }
}
