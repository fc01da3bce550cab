/**
 * Pairs of handshake states for tests: any protocol, both sides, keys that depend on nothing.
 *
 * @module
 */

import { deepStrictEqual, notDeepStrictEqual } from "node:assert/strict";
import type { CryptoBackend } from "../../lib/crypto/backend.ts";
import { type KeyPair, keyPairFrom } from "../../lib/crypto/x25519.ts";
import {
  HandshakeState,
  type HandshakeStateOptions,
  type Role,
} from "../../lib/noise/handshake_state.ts";
import { PATTERNS } from "../../lib/noise/patterns.ts";
import { parseProtocolName, type Protocol } from "../../lib/noise/protocol_name.ts";

const NO_AD = new Uint8Array(0);

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

/** Each pattern without modifiers and with all of them. */
export function eachPattern(): string[] {
  return everyProtocolName().filter((name) =>
    name.endsWith("_SHA256") && /_[A-Z]{2}(psk0\+psk1\+psk2(\+psk3)?)?_/.test(name) &&
    (!/XX|XK/.test(name) || !/psk2_/.test(name))
  );
}

/** The tokens of each message of a protocol. */
export function messagesOf(name: string): Protocol["pattern"]["messages"] {
  return parseProtocolName(name).pattern.messages;
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

/** Completes a pair, and checks that both sides hold the same and can talk. */
export function checkCompletes(pair: Pair, from = 0): void {
  finish(pair, from);
  deepStrictEqual(pair.initiator.handshakeHash, pair.responder.handshakeHash);
  const [ours, theirs] = [pair.initiator.split(), pair.responder.split()];
  const text = Uint8Array.of(1, 2, 3);
  deepStrictEqual(theirs.receive.decryptWithAd(NO_AD, ours.send.encryptWithAd(NO_AD, text)), text);
  deepStrictEqual(ours.receive.decryptWithAd(NO_AD, theirs.send.encryptWithAd(NO_AD, text)), text);
  notDeepStrictEqual(ours.send.exportKey(), ours.receive.exportKey());
}
