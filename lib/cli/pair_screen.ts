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
  /** Neither: perhaps it was scanned. */
  | { readonly kind: "text"; readonly text: string };

/**
 * Reads answers, a line each, from standard input until its end.
 *
 * @param signal Ends the reading.
 */
export async function* readAnswers(signal: AbortSignal): AsyncGenerator<Answer> {
  const reader = Deno.stdin.readable.getReader();
  const stop = () => void reader.cancel().catch(() => {});
  signal.addEventListener("abort", stop, { once: true });
  const decoder = new TextDecoder();
  let pending = "";
  try {
    while (!signal.aborted) {
      const { done, value } = await reader.read();
      if (done) return;
      pending += decoder.decode(value, { stream: true });
      const lines = pending.split("\n");
      pending = lines.pop()!;
      for (const line of lines) {
        const answer = answerOf(line.trim());
        if (answer !== undefined) yield answer;
      }
    }
  } finally {
    signal.removeEventListener("abort", stop);
  }
}

function answerOf(text: string): Answer | undefined {
  if (text === "") return undefined;
  if (/^y(es)?$/i.test(text)) return { kind: "yes" };
  if (/^no?$/i.test(text)) return { kind: "no" };
  return { kind: "text", text };
}
