/**
 * The question of a pairing: shows the other machine, and finds out whether it is the right one.
 * Costs QR codes and a list of words: imported only when two machines have met.
 *
 * @module
 */

import type { Decision, MetPeer } from "../agent/pair_agreement.ts";
import { servePairSocket, unreadable } from "../agent/pair_socket.ts";
import { randomBytes } from "../crypto/random.ts";
import { judgePairText, pairText, type PairView } from "../token/pair_text.ts";
import { CommandError, EXIT } from "./exit.ts";
import { aborted } from "./foreground.ts";
import type { Keyboard } from "./keyboard.ts";
import { print, printError, printJson } from "./output.ts";
import { answerOf, fingerprintOf, MEANING, showMachine } from "./pair_screen.ts";
import { qrPng, qrText } from "./qr.ts";

/** Nothing of ours is for others to read. */
const FILE_MODE = 0o600;

/** What the question depends on. */
export interface QuestionOptions {
  /** What this machine calls itself. */
  readonly ownName: string;
  /** 64 lower-case hex digits. */
  readonly ownNodeId: string;
  /** State folder, where `pair --scan` asks. */
  readonly state: string;
  /** The other machine's fingerprint, known or scanned beforehand. */
  readonly expected: string | undefined;
  /** Whether the expected fingerprint needs no further yes. */
  readonly isEnough: boolean;
  /** File for the QR code. */
  readonly qrFile: string | undefined;
  /** Where a person answers this question, and answered those before. */
  readonly keyboard: Keyboard;
  readonly isJson: boolean;
}

const OTHER_THAN_SCANNED: Decision = {
  isConfirmed: false,
  isAlarm: true,
  why: "what was scanned is of another machine, somebody may be in between",
};
const OTHER_THAN_EXPECTED: Decision = {
  isConfirmed: false,
  why: "its fingerprint is not the expected one, somebody may be in between",
};

/**
 * Refuses text that can be no fingerprint of anybody.
 *
 * @throws {AgentError} `usage`.
 */
export function refuseUnreadable(text: string): void {
  const nodeId = "0".repeat(64);
  const nobody = { ownNodeId: nodeId, peerNodeId: nodeId, handshakeHash: new Uint8Array(32) };
  if (judgePairText(text, nobody) === "unreadable") throw unreadable();
}

/**
 * Shows the other machine, and waits for what a person says: beforehand, at the question, or by
 * `pair --scan`.
 *
 * @param signal Ends the waiting.
 * @throws {CommandError} If the QR code cannot be written.
 */
export async function decide(
  peer: MetPeer,
  options: QuestionOptions,
  signal: AbortSignal,
): Promise<Decision> {
  const { ownNodeId, expected, isEnough, isJson } = options;
  const { nodeId: peerNodeId, handshakeHash } = peer;
  const view = { ownNodeId, peerNodeId, handshakeHash };
  await showPeer(peer, view, options);
  if (expected !== undefined) {
    if (judgePairText(expected, view) !== "match") return OTHER_THAN_EXPECTED;
    if (!isJson) print("Its fingerprint is the expected one");
    if (isEnough) return { isConfirmed: true };
  }
  return await ask(peer, view, options, signal);
}

async function showPeer(peer: MetPeer, view: PairView, options: QuestionOptions): Promise<void> {
  const { qrFile, ownName, ownNodeId, isJson } = options;
  const text = pairText(view);
  if (qrFile !== undefined) await writePng(qrFile, await qrPng(text));
  const { name, nodeId, remote, outcome } = peer;
  if (isJson) {
    const fingerprint = fingerprintOf(nodeId);
    return printJson({ event: "met", name, nodeId, fingerprint, remote, outcome, qr: text });
  }
  print("");
  showMachine(`The other machine, at ${remote}`, peer);
  print(`\n${await qrText(text, Deno.stdout.isTerminal())}\n${text}\n`);
  showMachine("This machine, as the other screen has to show it", {
    name: ownName,
    nodeId: ownNodeId,
  });
}

async function ask(
  peer: MetPeer,
  view: PairView,
  { state, keyboard }: QuestionOptions,
  signal: AbortSignal,
): Promise<Decision> {
  const decision = Promise.withResolvers<Decision>();
  const take = (result: "match" | "other") =>
    decision.resolve(result === "match" ? { isConfirmed: true } : OTHER_THAN_SCANNED);
  const socket = servePairSocket(state, { ...view, name: peer.name }, take);
  aborted(signal).then(() => decision.resolve({ isConfirmed: false }));
  readDecision(peer, view, keyboard, abortedBy(decision.promise)).then(
    // Without anybody here, somebody may still scan.
    (found) => found && decision.resolve(found),
    decision.reject,
  );
  try {
    return await decision.promise;
  } finally {
    socket.close();
  }
}

/** Asks at the terminal. @returns `undefined` when nobody answers there any more. */
async function readDecision(
  peer: MetPeer,
  view: PairView,
  keyboard: Keyboard,
  isOver: AbortSignal,
): Promise<Decision | undefined> {
  const yes = keyboard.isFresh ? undefined : someNumber();
  putQuestion(peer, yes);
  for await (const line of keyboard.lines(isOver)) {
    const answer = answerOf(line, yes);
    if (answer === undefined) continue;
    if (answer.kind === "late-yes") {
      printError(`That may have been meant for the machine before; for this one type ${yes}`);
      putQuestion(peer, yes);
      continue;
    }
    if (answer.kind !== "text") return { isConfirmed: answer.kind === "yes" };
    const result = judgePairText(answer.text, view);
    if (result === "match") return { isConfirmed: true };
    if (result === "other") return OTHER_THAN_SCANNED;
    printError(
      result === "own-screen"
        ? "That is the code on this screen; scan the other one"
        : "That is no whole fingerprint",
    );
    putQuestion(peer, yes);
  }
  // Either way the question stands there without an answer.
  printError(
    isOver.aborted ? "" : "\nNobody answers here; it waits for tunnelmesh pair --scan TEXT",
  );
  return undefined;
}

/** Known to nobody who could come in place of the machine before. */
function someNumber(): string {
  const [high, low] = randomBytes(2);
  return String(1_000 + (high! << 8 | low!) % 9_000);
}

/** @param yes What says yes; `undefined`: y does. */
function putQuestion({ name, outcome }: MetPeer, yes: string | undefined): void {
  const text = `\nDoes the other screen show both fingerprints the same way? If you say yes, ${
    MEANING[outcome]
  }.\nPair with ${name}? [${yes ?? "y"}, n, or what you scan there] `;
  Deno.stderr.writeSync(new TextEncoder().encode(text));
}

/** A signal that aborts when something is settled. */
function abortedBy(promise: Promise<unknown>): AbortSignal {
  const controller = new AbortController();
  promise.then(() => controller.abort(), () => controller.abort());
  return controller.signal;
}

async function writePng(path: string, png: Uint8Array): Promise<void> {
  try {
    await Deno.writeFile(path, png, { createNew: true, mode: FILE_MODE });
  } catch (cause) {
    const why = cause instanceof Deno.errors.NotFound ? "there is no such folder" : String(cause);
    throw new CommandError(`Cannot write "${path}": ${why}`, EXIT.failure, { cause });
  }
}
