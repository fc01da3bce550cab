/**
 * What a person sees and answers while two machines pair. Costs a list of words: imported only by
 * who pairs.
 *
 * @module
 */

import type { PairOutcome } from "../agent/pair_agreement.ts";
import { fingerprintHex, fingerprintWords } from "../token/fingerprint.ts";
import { formatTable, print } from "./output.ts";

/** A machine as it is shown. */
export interface ShownMachine {
  readonly name: string;
  /** 64 lower-case hex digits. */
  readonly nodeId: string;
}

/** The fingerprint of a machine, for programs. */
export function fingerprintOf(nodeId: string): { hex: string; words: string } {
  return { hex: fingerprintHex(nodeId), words: fingerprintWords(nodeId) };
}

/** Shows one machine under a heading. */
export function showMachine(heading: string, { name, nodeId }: ShownMachine): void {
  const { hex, words } = fingerprintOf(nodeId);
  print(`${heading}: ${name}`);
  print(formatTable([["  In words:", words], ["  Fingerprint:", hex]]));
}

/** What follows from a yes, in the words of a question. */
export const MEANING: Readonly<Record<PairOutcome, string>> = {
  "static": "the two form a network of their own",
  "we-invite": "it is invited into the mesh of this machine",
  "they-invite": "this machine is invited into its mesh",
};

/** What was typed at the question. */
export type Answer =
  | { readonly kind: "yes" }
  | { readonly kind: "no" }
  /** A yes that may have been meant for the machine before. */
  | { readonly kind: "late-yes" }
  /** Neither: perhaps it was scanned. */
  | { readonly kind: "text"; readonly text: string };

/**
 * What a line at the question means.
 *
 * @param line As it was typed.
 * @param yes What says yes instead of y, where y may have been meant for another machine.
 * @returns `undefined` for an empty one.
 */
export function answerOf(line: string, yes: string | undefined): Answer | undefined {
  const text = line.trim();
  if (text === "") return undefined;
  if (text === yes) return { kind: "yes" };
  if (/^y(es)?$/i.test(text)) return { kind: yes === undefined ? "yes" : "late-yes" };
  if (/^no?$/i.test(text)) return { kind: "no" };
  return { kind: "text", text };
}
