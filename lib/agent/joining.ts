/**
 * With what a node goes to its coordinator: as a member, or with a token that admits it.
 *
 * @module
 */

import { equalBytes } from "../base/bytes.ts";
import type { ClientCredential } from "../session/control_channel.ts";
import { joinPskOf, parseToken, type Token, tokenIdOf } from "../token/token.ts";
import type { Statement } from "../wire/control_message.ts";
import { signStatement } from "../crypto/sshsig.ts";
import { AgentError, reasonOf } from "./errors.ts";
import type { Identity } from "./identity.ts";
import type { Membership } from "./membership.ts";

/** What a person said about the coordinator. */
export interface JoinOptions {
  /** `https://HOST:PORT`; needed to join, later only if it moved. */
  readonly coordinatorUrl?: string | undefined;
  /** Text of a token; needed to join. */
  readonly token?: string | undefined;
}

/** Which coordinator, and how to come to it. */
export interface JoinPlan {
  readonly coordinatorUrl: string;
  /** 32 bytes. */
  readonly coordinatorKey: Uint8Array;
  /** 16 bytes. */
  readonly meshId: Uint8Array;
  /** What the state folder knows of this very mesh; `undefined`: the node has to join. */
  readonly membership: Membership | undefined;
  /** A token for this mesh, if there is one. */
  readonly token: Token | undefined;
}

/**
 * Decides which mesh this is about. A token of another mesh than the folder's is a wish to join
 * that one instead.
 *
 * @throws {AgentError} `usage` if what is needed to join is missing, or is not a token.
 */
export function planJoin(options: JoinOptions, membership: Membership | undefined): JoinPlan {
  const token = options.token === undefined ? undefined : readToken(options.token);
  if (membership !== undefined && (token === undefined || isOfMesh(token, membership))) {
    return {
      coordinatorUrl: options.coordinatorUrl ?? membership.coordinatorUrl,
      coordinatorKey: membership.coordinatorKey,
      meshId: membership.welcome.mesh.id,
      membership,
      token,
    };
  }
  if (token === undefined || options.coordinatorUrl === undefined) {
    const missing = token === undefined ? "a token by --token-file" : "a URL by --coordinator";
    throw new AgentError(
      "usage",
      `Cannot join: this state folder has not joined a mesh; give ${missing}, as the command that ` +
        "the coordinator prints does",
    );
  }
  const { coordinatorUrl } = options;
  const { coordinatorKey, meshId } = token;
  return { coordinatorUrl, coordinatorKey, meshId, membership: undefined, token };
}

/**
 * What to prove the right to connect with.
 *
 * @param memberPsk 32 bytes, if the node has been welcomed before and is to come as a member.
 * @param token Used where there is no member PSK.
 */
export function credentialOf(
  memberPsk: Uint8Array | undefined,
  token: Token | undefined,
): ClientCredential {
  if (memberPsk !== undefined) return { kind: "member", psk: memberPsk };
  if (token === undefined) throw new TypeError("Cannot join without a token");
  const { joinSecret } = token;
  return { kind: "token", tokenId: tokenIdOf(joinSecret), joinPsk: joinPskOf(joinSecret) };
}

/**
 * Makes the identity statement for a mesh, by the SSH key.
 *
 * @param identity Of this node.
 * @param meshId 16 bytes.
 * @param unixMs Milliseconds since 1970.
 * @throws {SshKeyError} If the SSH key cannot be used.
 */
export async function makeStatement(
  identity: Identity,
  meshId: Uint8Array,
  unixMs: number,
): Promise<Statement> {
  const key = await identity.sshKey();
  const signedAt = Math.floor(unixMs / 1000);
  const staticKey = identity.staticKey.publicKey;
  const signature = signStatement(key, { meshId, staticKey, unixSeconds: signedAt });
  return { sshPublicKey: key.publicKey, signature, signedAt };
}

function isOfMesh(token: Token, membership: Membership): boolean {
  return equalBytes(token.coordinatorKey, membership.coordinatorKey) &&
    equalBytes(token.meshId, membership.welcome.mesh.id);
}

function readToken(text: string): Token {
  try {
    return parseToken(text);
  } catch (error) {
    throw new AgentError("usage", `${reasonOf(error)}; copy the whole token`, { cause: error });
  }
}
