/**
 * What a state folder knows of the mesh it belongs to: `membership.json` and `roster.json`.
 *
 * Both hold what the coordinator said in the words of the control channel (lib/wire), so that there
 * is one reader for either. With both, a node comes back while the coordinator is down.
 *
 * @module
 */

import { fromBase64Url, toBase64Url } from "../base/bytes.ts";
import type { Statement } from "../wire/control_message.ts";
import {
  decodeServerMessage,
  encodeServerMessage,
  type Psks,
  type Roster,
  type ServerMessage,
  type Welcome,
} from "../wire/server_message.ts";
import { AgentError } from "./errors.ts";
import type { StateFolder } from "./state_folder.ts";

const MEMBERSHIP = "membership.json";
const ROSTER = "roster.json";

/** A node's place in a mesh. */
export interface Membership {
  /** Where the coordinator is. */
  readonly coordinatorUrl: string;
  /** Its static public key, 32 bytes: who answers with another one is somebody else. */
  readonly coordinatorKey: Uint8Array;
  /** The identity statement that was made for this mesh. */
  readonly statement: Statement;
  /** What the coordinator said last: name, addresses, member PSK, settings. */
  readonly welcome: Welcome;
}

/** A copy of the roster with the keys that belong to it. */
export interface CachedRoster {
  /** One full body. */
  readonly roster: Roster;
  /** Mesh PSKs in force when it was written. */
  readonly psks: Psks;
}

/**
 * Reads the membership.
 *
 * @param folder Need not be locked.
 * @returns `undefined` if the folder has not joined a mesh.
 * @throws {AgentError} If the file is damaged.
 */
export function readMembership(folder: StateFolder): Membership | undefined {
  return readJson(folder, MEMBERSHIP, (json) => ({
    coordinatorUrl: textOf(json.coordinatorUrl),
    coordinatorKey: fromBase64Url(textOf(json.coordinatorKey)),
    statement: {
      sshPublicKey: fromBase64Url(textOf(json.sshPublicKey)),
      signature: fromBase64Url(textOf(json.signature)),
      signedAt: Number(json.signedAt),
    },
    welcome: messageOf(json.welcome, "welcome"),
  }));
}

/** Writes the membership. @throws {AgentError} If the disk does not take it. */
export function writeMembership(folder: StateFolder, membership: Membership): void {
  const { coordinatorUrl, coordinatorKey, statement, welcome } = membership;
  const json = {
    coordinatorUrl,
    coordinatorKey: toBase64Url(coordinatorKey),
    sshPublicKey: toBase64Url(statement.sshPublicKey),
    signature: toBase64Url(statement.signature),
    signedAt: statement.signedAt,
    welcome: jsonOf(welcome),
  };
  folder.write(MEMBERSHIP, JSON.stringify(json, null, 2) + "\n");
}

/** Forgets the mesh; the identity stays. */
export function removeMembership(folder: StateFolder): void {
  folder.remove(MEMBERSHIP);
  folder.remove(ROSTER);
}

/**
 * Reads the copy of the roster.
 *
 * @param folder Need not be locked.
 * @returns `undefined` if there is none, or none that can be used: the coordinator has another.
 */
export function readCachedRoster(folder: StateFolder): CachedRoster | undefined {
  try {
    return readJson(folder, ROSTER, (json) => ({
      roster: messageOf(json.roster, "roster"),
      psks: messageOf(json.psks, "psks"),
    }));
  } catch {
    return undefined;
  }
}

/** Writes the copy of the roster. @throws {AgentError} If the disk does not take it. */
export function writeCachedRoster(folder: StateFolder, cached: CachedRoster): void {
  const json = { roster: jsonOf(cached.roster), psks: jsonOf(cached.psks) };
  folder.write(ROSTER, JSON.stringify(json) + "\n");
}

function readJson<T>(
  folder: StateFolder,
  name: string,
  read: (json: Record<string, unknown>) => T,
): T | undefined {
  const text = folder.read(name);
  if (text === undefined) return undefined;
  try {
    return read(JSON.parse(text));
  } catch (cause) {
    throw new AgentError(
      "storage",
      `Cannot read "${
        folder.pathOf(name)
      }": it is damaged; restore it, or remove it and join again`,
      { cause },
    );
  }
}

function jsonOf(message: ServerMessage): unknown {
  return JSON.parse(new TextDecoder().decode(encodeServerMessage(message)));
}

function messageOf<K extends ServerMessage["kind"]>(
  json: unknown,
  kind: K,
): Extract<ServerMessage, { kind: K }> {
  const message = decodeServerMessage(new TextEncoder().encode(JSON.stringify(json)));
  if (message.kind !== kind) throw new TypeError(`Cannot read a ${kind}: it is something else`);
  return message as Extract<ServerMessage, { kind: K }>;
}

function textOf(json: unknown): string {
  if (typeof json !== "string") throw new TypeError("Cannot read a field: it is no text");
  return json;
}
