/**
 * Noise handshake patterns as data, one row per pattern.
 *
 * @see https://noiseprotocol.org/noise.html#handshake-patterns (revision 34, §7.4, §7.5, §9)
 * @module
 */

/** One step of a message, named as in the Noise specification. */
export type Token = "e" | "s" | "ee" | "es" | "se" | "ss" | "psk";

/** A handshake pattern. The initiator writes `messages[0]`, then the sides alternate. */
export interface Pattern {
  /** Whether each side knows the other's static key before the first message. */
  readonly knownBefore: {
    /** The initiator's static key is known to the responder. */
    readonly initiator: boolean;
    /** The responder's static key is known to the initiator. */
    readonly responder: boolean;
  };
  /** Tokens of each message, in the order they are written. */
  readonly messages: readonly (readonly Token[])[];
}

const NEITHER = { initiator: false, responder: false };
const RESPONDER = { initiator: false, responder: true };
const BOTH = { initiator: true, responder: true };

// deno-fmt-ignore
/** Every fundamental pattern this engine speaks; modifiers are applied by {@linkcode withPsks}. */
export const PATTERNS = {
  NN: { knownBefore: NEITHER,   messages: [["e"], ["e", "ee"]] },
  NK: { knownBefore: RESPONDER, messages: [["e", "es"], ["e", "ee"]] },
  KK: { knownBefore: BOTH,      messages: [["e", "es", "ss"], ["e", "ee", "se"]] },
  IK: { knownBefore: RESPONDER, messages: [["e", "es", "s", "ss"], ["e", "ee", "se"]] },
  IX: { knownBefore: NEITHER,   messages: [["e", "s"], ["e", "ee", "se", "s", "es"]] },
  XK: { knownBefore: RESPONDER, messages: [["e", "es"], ["e", "ee"], ["s", "se"]] },
  XX: { knownBefore: NEITHER,   messages: [["e"], ["e", "ee", "s", "es"], ["s", "se"]] },
} as const satisfies Record<string, Pattern>;

/** Name of a fundamental pattern. */
export type PatternName = keyof typeof PATTERNS;

/**
 * Applies `pskN` modifiers (§9.4): `psk0` puts a token before the first message's, `pskN` behind
 * those of message N.
 *
 * @param pattern Left as it is.
 * @param positions The N of each modifier, distinct, none beyond the last message.
 * @throws {RangeError} If there is no message N.
 */
export function withPsks(pattern: Pattern, positions: readonly number[]): Pattern {
  const messages: Token[][] = pattern.messages.map((tokens) => [...tokens]);
  for (const position of positions) {
    const message = messages[Math.max(0, position - 1)];
    if (message === undefined) throw new RangeError(`Cannot place psk${position}: no such message`);
    if (position === 0) message.unshift("psk");
    else message.push("psk");
  }
  return { knownBefore: pattern.knownBefore, messages };
}
