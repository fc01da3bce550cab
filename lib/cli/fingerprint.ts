/**
 * A node id on the screen, in every form that two people, or a person and a camera, compare. Costs
 * a list of words and QR codes: imported only where one is wanted.
 *
 * @module
 */

import { fingerprintHex, fingerprintWords } from "../token/fingerprint.ts";
import { fingerprintText } from "../token/fingerprint_text.ts";
import { qrText } from "./qr.ts";

const WORDS_IN_LINE = 6;
const GROUPS_IN_LINE = 8;

/** The forms of a fingerprint, for programs. */
export interface FingerprintForms {
  /** Twelve words. */
  readonly words: string;
  /** All 64 hex digits in groups. */
  readonly hex: string;
  /** The text of the QR code. */
  readonly text: string;
}

/** A fingerprint in every form. @param nodeId 64 lower-case hex digits. */
export function fingerprintForms(nodeId: string): FingerprintForms {
  return {
    words: fingerprintWords(nodeId),
    hex: fingerprintHex(nodeId),
    text: fingerprintText(nodeId),
  };
}

/**
 * A fingerprint for a person: words, hex digits and a QR code, one below the other.
 *
 * @param nodeId 64 lower-case hex digits.
 * @param isTerminal Whether colours may be set.
 */
export async function showFingerprint(nodeId: string, isTerminal: boolean): Promise<string> {
  const { words, hex, text } = fingerprintForms(nodeId);
  const lines = [...linesOf(words, WORDS_IN_LINE), "", ...linesOf(hex, GROUPS_IN_LINE)];
  const code = await qrText(text, isTerminal);
  return `${lines.map((line) => `  ${line}`.trimEnd()).join("\n")}\n\n${code}`;
}

function linesOf(text: string, perLine: number): string[] {
  const parts = text.split(" ");
  const lines: string[] = [];
  for (let at = 0; at < parts.length; at += perLine) {
    lines.push(parts.slice(at, at + perLine).join(" "));
  }
  return lines;
}
