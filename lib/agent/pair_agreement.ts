/**
 * How two machines that have proven their keys to each other agree to keep them.
 *
 * ```
 * hello ⇄ hello → shown to people → verdict ⇄ verdict → kept → done ⇄ done
 *                                   one no: over, nothing kept
 * ```
 *
 * What must hold: nothing is kept before the people at both ends have said yes; when one side
 * cannot keep what was agreed, the other one undoes it.
 *
 * @module
 */

import { toHex } from "../base/bytes.ts";
import { sha256 } from "../crypto/hash.ts";
import { isValidName } from "../coordinator/names.ts";
import type { PairHello, PairInvite, PairMessage } from "../wire/pair_message.ts";
import { AgentError } from "./errors.ts";
import type { PairLine } from "./pair_line.ts";

/** How long this side goes on to be heard when it is done. */
const FAREWELL_MS = 2_000;

/** The other machine. */
export interface MetPeer {
  /** What it calls itself. */
  readonly name: string;
  /** 64 lower-case hex digits. */
  readonly nodeId: string;
  /** 32 bytes. */
  readonly publicKey: Uint8Array;
  /** 32 bytes, the same at both ends. */
  readonly handshakeHash: Uint8Array;
  /** Where it is, as in `192.0.2.7:51820`. */
  readonly remote: string;
  /** What becomes of the two if both say yes. */
  readonly outcome: PairOutcome;
  /** IPv4 network for the two alone, where it chooses one. */
  readonly range: string | undefined;
}

/** What becomes of the two: a network of their own, or one is invited into the other's mesh. */
export type PairOutcome = "static" | "we-invite" | "they-invite";

/** A decision, with the reason of a no. */
export interface Decision {
  readonly isConfirmed: boolean;
  /** For the middle of a sentence. */
  readonly why?: string;
  /** Whether it shows that somebody is in between: a reason to wait for nobody else, either. */
  readonly isAlarm?: boolean;
}

/** There is no agreement with this machine, and nothing is kept; another one may be the right one. */
export class NotThisOne extends AgentError {
  constructor({ fault, message }: AgentError, options?: ErrorOptions) {
    super(fault, message, options);
  }
}

/** What was written down. */
export interface Kept {
  /** Path of the file that says how to go on; absent where there is none. */
  readonly file?: string;
  /** The coordinator that the file's invite is for. */
  readonly coordinator?: string;
  /** Takes it all back. */
  undo(): Promise<void>;
}

/** What an agreement needs of this side. */
export interface AgreementParts {
  readonly hello: PairHello;
  /** Looks whether this side can keep what is to be agreed. @throws {AgentError} If not. */
  check(peer: MetPeer): void | Promise<void>;
  /**
   * Shows the other one, and asks; ends soon after `signal` aborts, when the answer is of no use
   * any more.
   */
  decide(peer: MetPeer, signal: AbortSignal): Promise<Decision>;
  /** Makes an invite; called by the inviting side alone. */
  makeInvite(peer: MetPeer): Promise<PairInvite>;
  /** Writes down what was agreed, whole or not at all. */
  keep(peer: MetPeer, invite: PairInvite | undefined): Promise<Kept>;
}

/** How an agreement ended. */
export interface Agreement {
  readonly peer: MetPeer;
  readonly kept: Kept;
  /** Whether the other side said that it has kept its part. */
  readonly isMutual: boolean;
}

/**
 * Comes to an agreement.
 *
 * @throws {NotThisOne} If one side does not want the other, or is not heard any more, before both
 * have confirmed.
 * @throws {AgentError} If there is none for another reason. Nothing is kept in either case.
 */
export async function agree(line: PairLine, parts: AgreementParts): Promise<Agreement> {
  await line.met;
  try {
    return await negotiate(line, parts);
  } catch (error) {
    line.say({ kind: "verdict", isConfirmed: false });
    await line.flush(FAREWELL_MS);
    throw error;
  }
}

async function negotiate(line: PairLine, parts: AgreementParts): Promise<Agreement> {
  const peer = await getToKnow(line, parts);
  if (peer.outcome === "they-invite") {
    const invite = await expect(line, "invite", peer);
    const kept = await parts.keep(peer, invite);
    line.say({ kind: "done" });
    await line.flush(FAREWELL_MS);
    return { peer, kept, isMutual: true };
  }
  const invite = peer.outcome === "we-invite" ? await parts.makeInvite(peer) : undefined;
  const kept = await parts.keep(peer, undefined);
  line.say(invite ?? { kind: "done" });
  const isMutual = await othersPart(line, peer, kept);
  await line.flush(FAREWELL_MS);
  return { peer, kept, isMutual };
}

/** Everything before there is something to keep. */
async function getToKnow(line: PairLine, parts: AgreementParts): Promise<MetPeer> {
  try {
    line.say(parts.hello);
    const hello = await expect(line, "hello", undefined);
    const peer = metPeerOf(line, parts.hello, hello);
    await parts.check(peer);
    await bothConfirm(line, parts, peer);
    return peer;
  } catch (cause) {
    throw cause instanceof AgentError ? new NotThisOne(cause, { cause }) : cause;
  }
}

function metPeerOf(line: PairLine, own: PairHello, hello: PairHello): MetPeer {
  const { staticKey, handshakeHash, path } = line.peer;
  const { name, purpose, range } = hello;
  if (!isValidName(name)) {
    throw new AgentError("refused", "Cannot pair: the other machine has no usable name");
  }
  if (own.purpose === "invite" && purpose === "invite") {
    throw new AgentError(
      "usage",
      `Cannot pair with "${name}": both sides invite; leave out --invite at one end`,
    );
  }
  return {
    name,
    nodeId: toHex(sha256(staticKey)),
    publicKey: staticKey,
    handshakeHash,
    remote: path.remote,
    outcome: own.purpose === "invite"
      ? "we-invite"
      : purpose === "invite"
      ? "they-invite"
      : "static",
    range,
  };
}

async function bothConfirm(line: PairLine, parts: AgreementParts, peer: MetPeer): Promise<void> {
  const isOver = new AbortController();
  const theirs = expect(line, "verdict", peer);
  theirs.catch(() => isOver.abort());
  const deciding = parts.decide(peer, isOver.signal);
  try {
    const decision = await Promise.race([
      deciding,
      // Their yes changes nothing here; their no, and a line that breaks, end the waiting.
      theirs.then(() => new Promise<never>(() => {})),
      line.failed,
    ]);
    // An answer that came because the waiting was over is none.
    if (isOver.signal.aborted) await theirs;
    if (!decision.isConfirmed) {
      const why = decision.why ?? "it was not confirmed";
      throw new AgentError("refused", `Cannot pair with "${peer.name}": ${why}; nothing was kept`);
    }
    line.say({ kind: "verdict", isConfirmed: true });
    await theirs;
  } finally {
    isOver.abort();
    await deciding.catch(() => {});
  }
}

/** Waits for the other side's done; what goes wrong there is undone here. */
async function othersPart(line: PairLine, peer: MetPeer, kept: Kept): Promise<boolean> {
  try {
    await expect(line, "done", peer);
    return true;
  } catch (error) {
    // Nothing heard is no refusal: the other side may have kept its part.
    if (error instanceof AgentError && error.fault === "unreachable") return false;
    await kept.undo();
    throw error;
  }
}

async function expect<K extends PairMessage["kind"]>(
  line: PairLine,
  kind: K,
  peer: MetPeer | undefined,
): Promise<Extract<PairMessage, { kind: K }>> {
  const message = await line.next();
  if (message.kind === "verdict" && !message.isConfirmed) {
    const who = peer === undefined ? "" : ` with "${peer.name}"`;
    throw new AgentError(
      "refused",
      `Cannot pair${who}: the other side refused or stopped; nothing was kept`,
    );
  }
  if (message.kind !== kind) {
    throw new AgentError(
      "failed",
      `Cannot pair: the other machine says "${message.kind}" too early`,
    );
  }
  return message as Extract<PairMessage, { kind: K }>;
}
