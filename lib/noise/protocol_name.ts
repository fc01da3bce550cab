/**
 * Noise protocol names: `Noise_`, pattern and modifiers, DH, cipher, hash.
 *
 * @see https://noiseprotocol.org/noise.html#protocol-names-and-modifiers (revision 34, §8)
 * @module
 */

import type { HashName } from "../crypto/hash.ts";
import { HandshakeError } from "./errors.ts";
import { type Pattern, type PatternName, PATTERNS, withPsks } from "./patterns.ts";

/** Longest protocol name (§8). */
const MAX_NAME_LENGTH = 255;

/** What a protocol name says. */
export interface Protocol {
  /** The whole name. */
  readonly name: string;
  /** The fundamental pattern. */
  readonly patternName: PatternName;
  /** Its messages, PSK tokens put in place. */
  readonly pattern: Pattern;
  /** How many PSK tokens the messages hold. */
  readonly pskCount: number;
  /** The hash function. */
  readonly hash: HashName;
}

/**
 * Reads a protocol name.
 *
 * The name is hashed into the handshake as it stands, so exactly one spelling of each protocol is
 * taken: modifiers ascending and distinct, as the specification sorts its own.
 *
 * @param name Such as `Noise_IKpsk2_25519_ChaChaPoly_SHA256`.
 * @throws {HandshakeError} `bad-protocol-name` if this engine does not speak it.
 */
export function parseProtocolName(name: string): Protocol {
  const match = name.length > MAX_NAME_LENGTH
    ? null
    : /^Noise_([A-Z]{2})((?:psk[0-3](?:\+psk[0-3])*)?)_25519_ChaChaPoly_(SHA256|BLAKE2s)$/.exec(
      name,
    );
  if (match === null || !isPatternName(match[1]!)) throw unknown(name);
  const positions = [...match[2]!.matchAll(/psk([0-3])/g)].map((modifier) => Number(modifier[1]));
  const base: Pattern = PATTERNS[match[1]];
  const isAscending = positions.every((position, i) => i === 0 || position > positions[i - 1]!);
  if (!isAscending || positions.some((position) => position > base.messages.length)) {
    throw unknown(name);
  }
  return {
    name,
    patternName: match[1],
    pattern: withPsks(base, positions),
    pskCount: positions.length,
    hash: match[3] === "SHA256" ? "SHA256" : "BLAKE2s",
  };
}

function isPatternName(name: string): name is PatternName {
  return Object.hasOwn(PATTERNS, name);
}

function unknown(name: string): HandshakeError {
  return new HandshakeError("bad-protocol-name", `"${name}" is not a protocol of this engine`);
}
