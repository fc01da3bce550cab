/**
 * One side of a handshake: the HandshakeState object of Noise, driven by the pattern table.
 *
 * Every message is worked out on a copy of the state, which replaces the state only when the whole
 * message has verified. So a forged, damaged or refused message leaves the handshake exactly as it
 * was, and the genuine one still completes it.
 *
 * @see https://noiseprotocol.org/noise.html#the-handshakestate-object (revision 34, §5.3)
 * @module
 */

import { concatBytes, equalBytes, wipe } from "../base/bytes.ts";
import { type CryptoBackend, NATIVE_BACKEND } from "../crypto/backend.ts";
import {
  isLowOrderPoint,
  type KeyPair,
  LowOrderPointError,
  wipePrivateKey,
  X25519_LENGTH,
} from "../crypto/x25519.ts";
import { type CipherState, MAX_MESSAGE_LENGTH, TAG_LENGTH } from "./cipher_state.ts";
import { HandshakeError } from "./errors.ts";
import type { Token } from "./patterns.ts";
import type { Protocol } from "./protocol_name.ts";
import { SymmetricState } from "./symmetric_state.ts";

/** Length of a preshared key in bytes (§9.1). */
export const PSK_LENGTH = 32;

/** Who writes the first message. */
export type Role = "initiator" | "responder";

/** The preshared keys in the order of their tokens, or what chooses one when its token is reached. */
export type PresharedKeys =
  | readonly Uint8Array[]
  | ((index: number, remoteStaticKey?: Uint8Array) => Uint8Array);

/** What a handshake starts from, whatever its protocol. */
export interface HandshakeKeys {
  /** Who writes the first message. */
  readonly role: Role;
  /**
   * What both sides must agree on beforehand.
   *
   * @default {new Uint8Array(0)}
   */
  readonly prologue?: Uint8Array | undefined;
  /**
   * This side's static key, borrowed as long as the handshake lives. The public half is taken to
   * belong to the private one. Patterns without a static key on this side ignore it.
   */
  readonly staticKey?: KeyPair | undefined;
  /**
   * The other side's static key, 32 bytes. Where the pattern transmits that key, the one transmitted
   * must be this one.
   */
  readonly remoteStaticKey?: Uint8Array | undefined;
  /**
   * One preshared key of 32 bytes for each `psk` token, in order; or a function that is asked when a
   * token is reached, with the token's place among the `psk` tokens and the other side's static key
   * if it is known by then. What it throws ends the message with the fault `refused`.
   */
  readonly presharedKeys?: PresharedKeys | undefined;
  /**
   * Called right after a transmitted static key was opened and before anything else is computed with
   * it. What it throws ends the message with the fault `refused`, the state unchanged.
   */
  readonly onRemoteStaticKey?: ((key: Uint8Array) => void) | undefined;
  /**
   * Replaces the fresh ephemeral key. For known-answer tests only: two handshakes with one ephemeral
   * key have no forward secrecy between them, and may share their transport keys, whose nonces then
   * repeat: that gives both plaintexts and the authentication key away.
   */
  readonly ephemeralKey?: KeyPair | undefined;
}

/** Everything for {@linkcode HandshakeState}. */
export interface HandshakeStateOptions extends HandshakeKeys {
  /** From `parseProtocolName`. */
  readonly protocol: Protocol;
  /**
   * Does the work.
   *
   * @default {NATIVE_BACKEND}
   */
  readonly crypto?: CryptoBackend | undefined;
}

/** The transport keys, named from this side. */
export interface TransportStates {
  /** Seals what this side sends. */
  readonly send: CipherState;
  /** Opens what this side receives. */
  readonly receive: CipherState;
}

/** What changes from message to message. */
interface Progress {
  readonly symmetric: SymmetricState;
  /** Index of the message that is due; the initiator writes the even ones. */
  messageIndex: number;
  /** How many `psk` tokens were processed. */
  pskIndex: number;
  /** `e`: own ephemeral key. */
  e: KeyPair | undefined;
  /** `re`: the other side's ephemeral key. */
  re: Uint8Array | undefined;
  /** `rs`: the other side's static key. */
  rs: Uint8Array | undefined;
}

const EMPTY = new Uint8Array(0);

/** One handshake, seen from one side. See {@linkcode HandshakeError} for what its methods throw. */
export class HandshakeState {
  readonly #protocol: Protocol;
  readonly #isInitiator: boolean;
  readonly #crypto: CryptoBackend;
  /** `s`: own static key. */
  readonly #s: KeyPair | undefined;
  readonly #pinnedRemoteKey: Uint8Array | undefined;
  readonly #psks: PresharedKeys;
  readonly #onRemoteStaticKey: ((key: Uint8Array) => void) | undefined;
  readonly #givenEphemeral: KeyPair | undefined;
  #progress: Progress;
  #isSplit = false;

  /**
   * Starts a handshake.
   *
   * @throws {HandshakeError} `missing-key`, `unexpected-key`, `bad-key`, `low-order-point`.
   */
  constructor(options: HandshakeStateOptions) {
    const { protocol, role, prologue = EMPTY, staticKey, remoteStaticKey } = options;
    const { presharedKeys = [], crypto = NATIVE_BACKEND } = options;
    if (role !== "initiator" && role !== "responder") {
      throw new TypeError(`Cannot start a handshake: role "${role}" is not one of the two`);
    }
    checkKeys(options);
    this.#protocol = protocol;
    this.#isInitiator = role === "initiator";
    this.#crypto = crypto;
    this.#s = staticKey;
    this.#psks = presharedKeys;
    this.#onRemoteStaticKey = options.onRemoteStaticKey;
    this.#givenEphemeral = options.ephemeralKey;

    const { knownBefore } = protocol.pattern;
    const other = this.#isInitiator ? "responder" : "initiator";
    const rs = remoteStaticKey === undefined ? undefined : Uint8Array.from(remoteStaticKey);
    this.#pinnedRemoteKey = knownBefore[other] ? undefined : rs;

    // "Calls MixHash(prologue)" and "MixHash() once for each public key listed in the pre-messages",
    // the initiator's first.
    const symmetric = SymmetricState.initialize(crypto, protocol.hash, protocol.name);
    symmetric.mixHash(prologue);
    if (knownBefore.initiator) symmetric.mixHash(this.#isInitiator ? staticKey!.publicKey : rs!);
    if (knownBefore.responder) symmetric.mixHash(this.#isInitiator ? rs! : staticKey!.publicKey);
    this.#progress = {
      symmetric,
      messageIndex: 0,
      pskIndex: 0,
      e: undefined,
      re: undefined,
      rs: knownBefore[other] ? rs : undefined,
    };
  }

  /** Whether the last message was written or read. */
  get isComplete(): boolean {
    return this.#progress.messageIndex === this.#protocol.pattern.messages.length;
  }

  /** Whether the message that is due is this side's to write. */
  get isOurTurn(): boolean {
    return !this.isComplete && (this.#progress.messageIndex % 2 === 0) === this.#isInitiator;
  }

  /** `h`, 32 bytes, copied. Both sides' are equal, and fit for channel binding, once complete. */
  get handshakeHash(): Uint8Array {
    return this.#progress.symmetric.handshakeHash;
  }

  /**
   * The other side's static key, 32 bytes, copied; `undefined` until it is known. A key that came by
   * message proves nothing before the handshake is complete.
   */
  get remoteStaticKey(): Uint8Array | undefined {
    const { rs } = this.#progress;
    return rs && Uint8Array.from(rs);
  }

  /**
   * Writes the message that is due.
   *
   * @param payload Borrowed until the call returns.
   * @returns At most 65535 bytes.
   * @throws {HandshakeError} `not-our-turn`, `already-finished`, `message-too-long`,
   * `low-order-point`, `refused`, `missing-key`, `bad-key`.
   */
  writeMessage(payload: Uint8Array = EMPTY): Uint8Array {
    const tokens = this.#tokensDue(true);
    return this.#advance((next) => {
      const fields: Uint8Array[] = [];
      for (const token of tokens) {
        if (token === "e") fields.push(this.#writeEphemeral(next));
        else if (token === "s") fields.push(next.symmetric.encryptAndHash(this.#s!.publicKey));
        else this.#mixToken(next, token);
      }
      fields.push(next.symmetric.encryptAndHash(payload));
      const message = concatBytes(...fields);
      if (message.length > MAX_MESSAGE_LENGTH) throw new HandshakeError("message-too-long");
      return message;
    });
  }

  /**
   * Reads the message that is due.
   *
   * @param message Borrowed until the call returns.
   * @param inspect Called with the payload when the whole message has verified. What it throws ends
   * the message with the fault `refused`, the state unchanged.
   * @returns The payload.
   * @throws {HandshakeError} `not-our-turn`, `already-finished`, `message-too-long`,
   * `message-too-short`, `bad-tag`, `low-order-point`, `refused`, `missing-key`, `bad-key`.
   */
  readMessage(message: Uint8Array, inspect?: (payload: Uint8Array) => void): Uint8Array {
    const tokens = this.#tokensDue(false);
    if (message.length > MAX_MESSAGE_LENGTH) throw new HandshakeError("message-too-long");
    return this.#advance((next) => {
      let at = 0;
      const take = (length: number): Uint8Array => {
        if (message.length - at < length) throw new HandshakeError("message-too-short");
        return message.subarray(at, at += length);
      };
      for (const token of tokens) {
        if (token === "e") this.#readEphemeral(next, take(X25519_LENGTH));
        else if (token === "s") {
          const tagLength = next.symmetric.hasKey ? TAG_LENGTH : 0;
          this.#readStatic(next, take(X25519_LENGTH + tagLength));
        } else this.#mixToken(next, token);
      }
      const payload = next.symmetric.decryptAndHash(message.subarray(at));
      if (inspect !== undefined) callHook(() => inspect(payload));
      return payload;
    });
  }

  /**
   * Hands out the transport keys, once. The handshake keeps nothing secret afterwards.
   *
   * @throws {HandshakeError} `not-finished`, `already-split`.
   */
  split(): TransportStates {
    if (!this.isComplete) throw new HandshakeError("not-finished");
    if (this.#isSplit) throw new HandshakeError("already-split");
    const [initiatorSends, responderSends] = this.#progress.symmetric.split();
    this.#isSplit = true;
    this.wipe();
    return this.#isInitiator
      ? { send: initiatorSends, receive: responderSends }
      : { send: responderSends, receive: initiatorSends };
  }

  /** Overwrites what the handshake knows of secrets; only for one that will not be used again. */
  wipe(): void {
    this.#progress.symmetric.wipe();
    if (this.#progress.e !== undefined) wipePrivateKey(this.#progress.e.privateKey);
  }

  /** Never a key. */
  toJSON(): string {
    return `HandshakeState ${this.#protocol.name}`;
  }

  #tokensDue(isWrite: boolean): readonly Token[] {
    if (this.isComplete) throw new HandshakeError("already-finished");
    if (this.isOurTurn !== isWrite) throw new HandshakeError("not-our-turn");
    return this.#protocol.pattern.messages[this.#progress.messageIndex]!;
  }

  /** Runs one message on a copy of the state, and keeps the copy only if nothing was thrown. */
  #advance(step: (next: Progress) => Uint8Array): Uint8Array {
    const before = this.#progress;
    const next = { ...before, symmetric: before.symmetric.clone() };
    let result: Uint8Array;
    try {
      result = step(next);
    } catch (error) {
      next.symmetric.wipe();
      if (next.e !== undefined && next.e !== before.e) wipePrivateKey(next.e.privateKey);
      if (error instanceof LowOrderPointError) {
        throw new HandshakeError("low-order-point", undefined, { cause: error });
      }
      throw error;
    }
    next.messageIndex++;
    this.#progress = next;
    before.symmetric.wipe();
    return result;
  }

  #writeEphemeral(next: Progress): Uint8Array {
    const given = this.#givenEphemeral;
    // A copy, since it is wiped after use.
    next.e = given === undefined
      ? this.#crypto.generateKeyPair()
      : { privateKey: Uint8Array.from(given.privateKey), publicKey: given.publicKey };
    this.#mixEphemeral(next, next.e.publicKey);
    return next.e.publicKey;
  }

  #readEphemeral(next: Progress, publicKey: Uint8Array): void {
    refuseLowOrder(publicKey);
    next.re = Uint8Array.from(publicKey);
    this.#mixEphemeral(next, next.re);
  }

  #mixEphemeral(next: Progress, publicKey: Uint8Array): void {
    next.symmetric.mixHash(publicKey);
    // §9.2: "In a PSK handshake, the "e" token is followed by MixKey(e.public_key)."
    if (this.#protocol.pskCount > 0) next.symmetric.mixKey(publicKey);
  }

  #readStatic(next: Progress, field: Uint8Array): void {
    const rs = next.symmetric.decryptAndHash(field);
    refuseLowOrder(rs);
    const pinned = this.#pinnedRemoteKey;
    if (pinned !== undefined && !equalBytes(pinned, rs)) {
      throw new HandshakeError("refused", "the static key is not the one expected");
    }
    const hook = this.#onRemoteStaticKey;
    if (hook !== undefined) callHook(() => hook(Uint8Array.from(rs)));
    next.rs = rs;
  }

  #mixToken(next: Progress, token: Exclude<Token, "e" | "s">): void {
    if (token === "psk") return this.#mixPsk(next);
    // The first letter is the initiator's key, the second the responder's.
    const ownLetter = token[this.#isInitiator ? 0 : 1];
    const otherLetter = token[this.#isInitiator ? 1 : 0];
    const own = ownLetter === "e" ? next.e! : this.#s!;
    const other = otherLetter === "e" ? next.re! : next.rs!;
    const secret = this.#crypto.diffieHellman(own.privateKey, other);
    next.symmetric.mixKey(secret);
    wipe(secret);
  }

  #mixPsk(next: Progress): void {
    const index = next.pskIndex++;
    const psks = this.#psks;
    const psk = typeof psks === "function"
      ? callHook(() => psks(index, next.rs && Uint8Array.from(next.rs)))
      : psks[index]!;
    checkKeyLength("a preshared key", psk, PSK_LENGTH);
    next.symmetric.mixKeyAndHash(psk);
  }
}

/** Refuses, before anything is computed, keys that the protocol lacks or has no place for. */
function checkKeys(options: HandshakeStateOptions): void {
  const { protocol, role, staticKey, remoteStaticKey, ephemeralKey, presharedKeys } = options;
  const { pattern, pskCount } = protocol;
  const other = role === "initiator" ? "responder" : "initiator";
  if (sendsOrHasStatic(protocol, role) && staticKey === undefined) {
    throw new HandshakeError("missing-key", `${protocol.patternName} needs a static key`);
  }
  if (pattern.knownBefore[other] && remoteStaticKey === undefined) {
    throw new HandshakeError("missing-key", `${protocol.patternName} needs the ${other}'s key`);
  }
  if (remoteStaticKey !== undefined) {
    if (!sendsOrHasStatic(protocol, other)) {
      throw new HandshakeError("unexpected-key", `the ${other} has no static key`);
    }
    checkKeyLength("a static key", remoteStaticKey, X25519_LENGTH);
    refuseLowOrder(remoteStaticKey);
  }
  for (const pair of [staticKey, ephemeralKey]) {
    if (pair === undefined) continue;
    checkKeyLength("a private key", pair.privateKey, X25519_LENGTH);
    checkKeyLength("a public key", pair.publicKey, X25519_LENGTH);
  }
  if (typeof presharedKeys === "function") return;
  const given = presharedKeys?.length ?? 0;
  if (given !== pskCount) {
    const fault = given < pskCount ? "missing-key" : "unexpected-key";
    throw new HandshakeError(fault, `need ${pskCount} preshared keys, got ${given}`);
  }
  for (const psk of presharedKeys ?? []) checkKeyLength("a preshared key", psk, PSK_LENGTH);
}

/** Whether a side has a static key, known beforehand or transmitted. */
function sendsOrHasStatic({ pattern }: Protocol, role: Role): boolean {
  const first = role === "initiator" ? 0 : 1;
  const sends = pattern.messages.some((tokens, i) => i % 2 === first && tokens.includes("s"));
  return sends || pattern.knownBefore[role];
}

function checkKeyLength(name: string, key: Uint8Array, length: number): void {
  if (key instanceof Uint8Array && key.length === length) return;
  throw new HandshakeError("bad-key", `${name} has ${length} bytes`);
}

function refuseLowOrder(publicKey: Uint8Array): void {
  if (isLowOrderPoint(publicKey)) throw new HandshakeError("low-order-point");
}

function callHook<T>(hook: () => T): T {
  try {
    return hook();
  } catch (cause) {
    throw new HandshakeError("refused", undefined, { cause });
  }
}
