/**
 * The socket by which `tunnelmesh pair --scan TEXT` tells a pairing that waits for a person what was
 * scanned.
 *
 * @module
 */

import { judgePairText, type PairView } from "../token/pair_text.ts";
import { callControlSocket, ControlSocketServer } from "./control_socket.ts";
import { AgentError } from "./errors.ts";

/** Socket in the state folder, while a pairing waits. */
const PAIR_SOCKET = "pair.sock";
/** The answer goes out before what follows from it closes the socket. */
const ANSWER_FIRST_MS = 100;

/** What a pairing says to what was scanned. */
export interface ScanAnswer {
  /** What the other machine calls itself. */
  readonly name: string;
  /** Its node id, 64 hex digits. */
  readonly nodeId: string;
  readonly result: "match" | "other";
}

/**
 * Takes scanned text until it is closed.
 *
 * @param state State folder of the pairing.
 * @param peer What the other machine calls itself, and both.
 * @param scanned Called with each verdict on a text that can be read, when it was answered.
 */
export function servePairSocket(
  state: string,
  peer: PairView & { readonly name: string },
  scanned: (result: "match" | "other") => void,
): { close(): void } {
  return new ControlSocketServer(state, PAIR_SOCKET, {
    "scan": ({ text }): ScanAnswer => {
      const result = judgePairText(String(text), peer);
      if (result === "unreadable") throw unreadable();
      if (result === "own-screen") throw ownScreen();
      setTimeout(() => scanned(result), ANSWER_FIRST_MS);
      return { name: peer.name, nodeId: peer.peerNodeId, result };
    },
  });
}

/**
 * Tells a pairing on this machine what was scanned.
 *
 * @param folders State folders it may run on; the first that has one is told.
 * @param text What was scanned.
 * @throws {AgentError} `not-running` if no pairing waits for a person; `usage` if the text is no
 * fingerprint.
 */
export async function tellScanned(folders: readonly string[], text: string): Promise<ScanAnswer> {
  for (const folder of folders) {
    try {
      return await callControlSocket(folder, PAIR_SOCKET, "scan", { text }) as ScanAnswer;
    } catch (error) {
      if (!(error instanceof AgentError) || error.fault !== "not-running") throw error;
    }
  }
  throw new AgentError(
    "not-running",
    "Cannot check what was scanned: no pairing waits for it here; start tunnelmesh pair, or name " +
      "its folder by --state",
  );
}

/** The error for the code of this machine's own screen. */
export function ownScreen(): AgentError {
  return new AgentError(
    "usage",
    "Cannot take what was scanned: it is the code on this machine's own screen; scan the other one",
  );
}

/** The error for text that is no fingerprint. */
export function unreadable(): AgentError {
  return new AgentError(
    "usage",
    "Cannot read what was scanned: it is no whole fingerprint; scan the code on the other screen " +
      "again",
  );
}
