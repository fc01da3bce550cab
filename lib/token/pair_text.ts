/**
 * What the QR code of a pairing says, and the judgement of what was scanned.
 *
 * ```text
 * tunnelmesh:0123…cdef?pair=89ab…4567     the other machine's node id, 64 digits; a code of this
 *                                         very handshake, 32 digits
 * ```
 *
 * Each screen shows the other machine. So whoever scans reads his own node id there, which alone
 * would prove little: another handshake of the two may have shown it. The code is what proves that
 * both screens stand for one handshake, with nobody in between. The code is no secret.
 *
 * @module
 */

import { concatBytes, toHex, utf8 } from "../base/bytes.ts";
import { sha256 } from "../crypto/hash.ts";
import { FINGERPRINT_SCHEME, fingerprintText, judgeFingerprint } from "./fingerprint_text.ts";

const CODE_LABEL = utf8("tunnelmesh pair code v1");
/** 128 bits: nobody finds a second handshake with the same ones. */
const CODE_LENGTH = 16;
const TEXT = new RegExp(
  `^${FINGERPRINT_SCHEME}([0-9a-f]{64})\\?pair=([0-9a-f]{${2 * CODE_LENGTH}})$`,
);

/**
 * What was scanned: the other machine; another one; this machine's own screen by mistake, which
 * proves nothing; or no whole fingerprint at all.
 */
export type PairJudgement = "match" | "other" | "own-screen" | "unreadable";

/** What both screens are about. */
export interface PairView {
  /** This machine's node id, 64 lower-case hex digits. */
  readonly ownNodeId: string;
  /** The other machine's. */
  readonly peerNodeId: string;
  /** 32 bytes. */
  readonly handshakeHash: Uint8Array;
}

/** The text of the QR code. */
export function pairText({ peerNodeId, handshakeHash }: PairView): string {
  return `${fingerprintText(peerNodeId)}?pair=${codeOf(handshakeHash)}`;
}

/**
 * Says whether what was scanned or typed proves the other machine.
 *
 * @param text The text of the other screen's QR code; or the other machine's fingerprint, as text of
 * a QR code, all hex digits or all words.
 */
export function judgePairText(text: string, view: PairView): PairJudgement {
  const match = TEXT.exec(text.trim().toLowerCase());
  if (match === null) return judgeFingerprint(text, view.peerNodeId);
  const [, nodeId, code] = match;
  if (code !== codeOf(view.handshakeHash)) return "other";
  if (nodeId === view.peerNodeId) return "own-screen";
  return nodeId === view.ownNodeId ? "match" : "other";
}

function codeOf(handshakeHash: Uint8Array): string {
  return toHex(sha256(concatBytes(CODE_LABEL, handshakeHash)).subarray(0, CODE_LENGTH));
}
