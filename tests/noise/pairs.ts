/**
 * Pairs of handshake states for tests: any protocol, both sides, keys that depend on nothing.
 *
 * @module
 */

import type { CryptoBackend } from "../../lib/crypto/backend.ts";
import { type KeyPair, keyPairFrom } from "../../lib/crypto/x25519.ts";
import {
  HandshakeState,
  type HandshakeStateOptions,
  type Role,
} from "../../lib/noise/handshake_state.ts";
import { PATTERNS } from "../../lib/noise/patterns.ts";
import { parseProtocolName, type Protocol } from "../../lib/noise/protocol_name.ts";

/** Fixed keys; only tests may know a private key. */
export const KEYS = {
  initiatorStatic: keyPairFrom(new Uint8Array(32).fill(0x11)),
  responderStatic: keyPairFrom(new Uint8Array(32).fill(0x22)),
  initiatorEphemeral: keyPairFrom(new Uint8Array(32).fill(0x33)),
  responderEphemeral: keyPairFrom(new Uint8Array(32).fill(0x44)),
  stranger: keyPairFrom(new Uint8Array(32).fill(0x55)),
} as const satisfies Record<string, KeyPair>;

/** The PSK of the Nth `psk` token. */
export function pskOf(index: number): Uint8Array {
  return new Uint8Array(32).fill(0x80 + index);
}

/** Every protocol name of the engine: each pattern with each set of modifiers and each hash. */
export function everyProtocolName(): string[] {
  const names: string[] = [];
  for (const [name, { messages }] of Object.entries(PATTERNS)) {
    for (let set = 0; set < 2 << messages.length; set++) {
      const psks = [0, 1, 2, 3].filter((n) => (set >> n) & 1).map((n) => `psk${n}`).join("+");
      names.push(`Noise_${name}${psks}_25519_ChaChaPoly_SHA256`);
      names.push(`Noise_${name}${psks}_25519_ChaChaPoly_BLAKE2s`);
    }
  }
  return names;
}

/** What a test wants to be different from the usual, for both sides or for one. */
export interface PairOptions {
  both?: Partial<HandshakeStateOptions>;
  initiator?: Partial<HandshakeStateOptions>;
  responder?: Partial<HandshakeStateOptions>;
  /** Use the fixed ephemeral keys, so that two pairs write the same bytes. */
  isFixed?: boolean;
  crypto?: CryptoBackend;
}

/** Options of one side with all keys that its pattern needs and none that it does not. */
export function sideOptions(protocol: Protocol, role: Role, isFixed: boolean) {
  const isInitiator = role === "initiator";
  const { knownBefore, messages } = protocol.pattern;
  const first = isInitiator ? 0 : 1;
  const sends = messages.some((tokens, i) => i % 2 === first && tokens.includes("s"));
  const other = isInitiator ? "responder" : "initiator";
  return {
    protocol,
    role,
    ...((sends || knownBefore[role]) && { staticKey: KEYS[`${role}Static`] }),
    ...(knownBefore[other] && { remoteStaticKey: KEYS[`${other}Static`].publicKey }),
    ...(isFixed && { ephemeralKey: KEYS[`${role}Ephemeral`] }),
    presharedKeys: Array.from({ length: protocol.pskCount }, (_, i) => pskOf(i)),
  };
}

/** Both sides of one handshake. */
export interface Pair {
  initiator: HandshakeState;
  responder: HandshakeState;
}

/** Starts both sides. */
export function startPair(name: string, options: PairOptions = {}): Pair {
  const protocol = parseProtocolName(name);
  const side = (role: Role) =>
    new HandshakeState({
      ...sideOptions(protocol, role, options.isFixed ?? false),
      crypto: options.crypto,
      ...options.both,
      ...options[role],
    });
  return { initiator: side("initiator"), responder: side("responder") };
}

/** The side that writes message `index`, then the one that reads it. */
export function turn(pair: Pair, index: number): [writer: HandshakeState, reader: HandshakeState] {
  return index % 2 === 0 ? [pair.initiator, pair.responder] : [pair.responder, pair.initiator];
}

/** Exchanges what messages are left. */
export function finish(pair: Pair, from = 0): void {
  for (let i = from; !pair.initiator.isComplete || !pair.responder.isComplete; i++) {
    const [writer, reader] = turn(pair, i);
    reader.readMessage(writer.writeMessage());
  }
}

/** Payload for message `index`, of another length each time. */
export function payloadOf(index: number): Uint8Array {
  return Uint8Array.from({ length: 5 * index }, (_, i) => 0xc0 + i);
}
