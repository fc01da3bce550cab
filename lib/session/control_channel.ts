/**
 * The control channel, both ends, without I/O (protocol.md §2): Noise IKpsk2, then a stream of
 * (u32 length ‖ body) cut into Noise messages of at most 65,535 bytes, one WebSocket message each.
 *
 * ```
 * client                                            server
 *   message 1: 0x01 ‖ token id  or  0x02      →       looks the credential up, keeps nothing
 *                                             ←     message 2: control version 1 ‖ unix seconds u64
 *   first transport message                   →       `opened`: only here may anything be spent,
 *                                                     stored or displaced (T37)
 * ```
 *
 * A channel that threw is finished: the caller closes the WebSocket.
 *
 * @module
 */

import { concatBytes, utf8 } from "../base/bytes.ts";
import type { KeyPair } from "../crypto/x25519.ts";
import { Handshake, type TransportCipher } from "../noise/handshake.ts";
import { RefusalError } from "../wire/refusal.ts";
import { encodeStreamFrame, MAX_BODY_LENGTH, StreamFrameDecoder } from "../wire/stream_frame.ts";

/** Version of the control protocol, in the payload of message 2. */
export const CONTROL_VERSION = 1;

/** Longest Noise message, and so longest WebSocket message (Noise rev. 34 §3). */
export const MAX_CONTROL_MESSAGE = 65_535;

const PROTOCOL_NAME = "Noise_IKpsk2_25519_ChaChaPoly_SHA256";
const TAG_LENGTH = 16;
const TOKEN_ID_LENGTH = 8;
const CREDENTIAL_TOKEN = 1;
const CREDENTIAL_MEMBER = 2;
const NO_AD = new Uint8Array(0);

/** What a client proves its right to connect with. */
export type ClientCredential =
  /** Joining: token id (8 bytes) and join PSK (32 bytes) of the token's join secret. */
  | { readonly kind: "token"; readonly tokenId: Uint8Array; readonly joinPsk: Uint8Array }
  /** A member: the PSK (32 bytes) that the welcome brought. */
  | { readonly kind: "member"; readonly psk: Uint8Array };

/** What the server learns of it before it knows whether the client holds the PSK. */
export type NamedCredential =
  | { readonly kind: "token"; readonly tokenId: Uint8Array }
  | { readonly kind: "member" };

/** Why a client's channel failed. */
export type ControlFault =
  /** Message 2 does not verify: not this coordinator, or the PSK is not the one it knows. */
  | "wrong-coordinator"
  /** The coordinator speaks a control version that this program does not know. */
  | "unsupported-version"
  /** A transport message or frame is not what the protocol allows. */
  | "bad-message";

/** A client's channel failed and cannot be used any more. */
export class ControlChannelError extends Error {
  override readonly name = "ControlChannelError";
  /** What went wrong. */
  readonly fault: ControlFault;

  /** @param message One line for people. */
  constructor(fault: ControlFault, message: string, options?: ErrorOptions) {
    super(message, options);
    this.fault = fault;
  }
}

/** What a received message led to. */
export interface ControlReceived {
  /** Complete bodies, in order; owned by the caller. */
  readonly bodies: readonly Uint8Array[];
  /** Messages to send at once, in order. */
  readonly toSend: readonly Uint8Array[];
  /** Whether this very message opened the channel: from here on bodies may be sealed. */
  readonly opened: boolean;
}

/** What a {@linkcode ControlClient} needs. */
export interface ControlClientOptions {
  /** Static public key of the coordinator, 32 bytes, from the token or the state folder. */
  readonly coordinatorKey: Uint8Array;
  /** 16 bytes, from the same place. */
  readonly meshId: Uint8Array;
  /** The node's own static key. */
  readonly staticKey: KeyPair;
  readonly credential: ClientCredential;
}

/** The agent's end. */
export class ControlClient {
  readonly #handshake: Handshake;
  readonly #credential: ClientCredential;
  readonly #stream = new ControlStream(MAX_BODY_LENGTH);
  #coordinatorUnixSeconds: number | undefined;

  constructor(options: ControlClientOptions) {
    const { credential } = options;
    this.#credential = credential;
    this.#handshake = new Handshake({
      protocolName: PROTOCOL_NAME,
      role: "initiator",
      prologue: controlPrologue(options.meshId),
      staticKey: options.staticKey,
      remoteStaticKey: options.coordinatorKey,
      presharedKeys: [credential.kind === "token" ? credential.joinPsk : credential.psk],
    });
  }

  /** Whether message 2 has verified, so that bodies may be sealed. */
  get isOpen(): boolean {
    return this.#stream.isOpen;
  }

  /** Coordinator's time in message 2, unix seconds; a lower bound for handshake timestamps. */
  get coordinatorUnixSeconds(): number | undefined {
    return this.#coordinatorUnixSeconds;
  }

  /** Message 1, to be sent as soon as the WebSocket is open. */
  start(): Uint8Array {
    const payload = this.#credential.kind === "token"
      ? concatBytes(Uint8Array.of(CREDENTIAL_TOKEN), this.#credential.tokenId)
      : Uint8Array.of(CREDENTIAL_MEMBER);
    return this.#handshake.writeMessage(payload);
  }

  /**
   * Takes one WebSocket message. After the one that says `opened`, seal the `hello`.
   *
   * @param message Borrowed until the call returns.
   * @throws {ControlChannelError} when the channel failed.
   */
  receive(message: Uint8Array): ControlReceived {
    if (this.isOpen) return { bodies: this.#receiveBodies(message), toSend: [], opened: false };
    let payload: Uint8Array;
    try {
      payload = this.#handshake.readMessage(message);
    } catch (cause) {
      throw new ControlChannelError(
        "wrong-coordinator",
        "the coordinator could not prove that it is the one of the token or the state folder",
        { cause },
      );
    }
    if (payload.length < 9 || payload[0] !== CONTROL_VERSION) {
      throw new ControlChannelError(
        "unsupported-version",
        `the coordinator speaks control version ${payload[0] ?? "none"}, this program ` +
          `${CONTROL_VERSION}: update the older side`,
      );
    }
    this.#coordinatorUnixSeconds = Number(viewOf(payload).getBigUint64(1, true));
    this.#stream.open(this.#handshake.split());
    return { bodies: [], toSend: [], opened: true };
  }

  /**
   * Seals bodies, together: they share messages as far as they fit.
   *
   * @param bodies At most 16 MiB each; borrowed until the call returns.
   * @returns The WebSocket messages that carry them, in order.
   * @throws {RangeError} when a body is too long.
   * @throws {TypeError} when the channel is not open.
   */
  seal(...bodies: Uint8Array[]): Uint8Array[] {
    return this.#stream.seal(bodies);
  }

  #receiveBodies(message: Uint8Array): Uint8Array[] {
    try {
      return this.#stream.receive(message);
    } catch (cause) {
      throw new ControlChannelError("bad-message", "the control channel was damaged", { cause });
    }
  }
}

/** What a {@linkcode ControlServer} needs. */
export interface ControlServerOptions {
  /** The coordinator's static key. */
  readonly staticKey: KeyPair;
  /** 16 bytes. */
  readonly meshId: Uint8Array;
  /**
   * The PSK of a credential, 32 bytes; must change nothing, as message 1 may be a replay.
   *
   * @param clientKey Static public key that message 1 named, 32 bytes; not yet proven.
   * @throws {RefusalError} when the credential does not admit.
   */
  readonly lookup: (credential: NamedCredential, clientKey: Uint8Array) => Uint8Array;
  /** Milliseconds since 1970, for message 2. */
  readonly unixNow: () => number;
  /** Longest body taken from the client. @default {262144} */
  readonly maxBodyLength?: number;
}

/** The coordinator's end of one connection. */
export class ControlServer {
  readonly #options: ControlServerOptions;
  readonly #handshake: Handshake;
  readonly #stream: ControlStream;
  #credential: NamedCredential | undefined;
  #psk: Uint8Array | undefined;
  #hasAnswered = false;
  #isOpened = false;

  constructor(options: ControlServerOptions) {
    this.#options = options;
    this.#stream = new ControlStream(options.maxBodyLength ?? 256 * 1024);
    this.#handshake = new Handshake({
      protocolName: PROTOCOL_NAME,
      role: "responder",
      prologue: controlPrologue(options.meshId),
      staticKey: options.staticKey,
      presharedKeys: () => {
        if (this.#psk === undefined) throw new TypeError("Cannot mix a PSK before message 1");
        return this.#psk;
      },
    });
  }

  /** Whether the client's first transport message has opened: only then is anything proven. */
  get isOpen(): boolean {
    return this.#isOpened;
  }

  /**
   * What the client proved to be: its static key and the credential it holds.
   *
   * @throws {TypeError} when nothing is proven yet.
   */
  get client(): { readonly staticKey: Uint8Array; readonly credential: NamedCredential } {
    const staticKey = this.#handshake.remoteStaticKey;
    if (!this.#isOpened || staticKey === undefined || this.#credential === undefined) {
      throw new TypeError("Cannot name the client: the channel is not open");
    }
    return { staticKey, credential: this.#credential };
  }

  /**
   * Takes one WebSocket message.
   *
   * @param message Borrowed until the call returns.
   * @throws {RefusalError} when the client is refused or broke the protocol; close with it.
   */
  receive(message: Uint8Array): ControlReceived {
    if (!this.#hasAnswered) return { bodies: [], toSend: [this.#answer(message)], opened: false };
    let bodies: Uint8Array[];
    try {
      bodies = this.#stream.receive(message);
    } catch (cause) {
      throw new RefusalError(this.#isOpened ? "bad-message" : "bad-handshake", undefined, {
        cause,
      });
    }
    const opened = !this.#isOpened;
    this.#isOpened = true;
    return { bodies, toSend: [], opened };
  }

  /**
   * Seals bodies, together: they share messages as far as they fit.
   *
   * @param bodies At most 16 MiB each; borrowed until the call returns.
   * @returns The WebSocket messages that carry them, in order.
   * @throws {RangeError} when a body is too long.
   * @throws {TypeError} before the channel is open.
   */
  seal(...bodies: Uint8Array[]): Uint8Array[] {
    if (!this.#isOpened) throw new TypeError("Cannot seal: the channel is not open");
    return this.#stream.seal(bodies);
  }

  /** Reads message 1 and writes message 2. */
  #answer(message: Uint8Array): Uint8Array {
    let payload: Uint8Array;
    try {
      payload = this.#handshake.readMessage(message);
    } catch (cause) {
      throw new RefusalError("bad-handshake", undefined, { cause });
    }
    const clientKey = this.#handshake.remoteStaticKey;
    if (clientKey === undefined) throw new RefusalError("bad-handshake");
    this.#credential = readCredential(payload);
    this.#psk = this.#options.lookup(this.#credential, clientKey);
    const answer = new Uint8Array(9);
    answer[0] = CONTROL_VERSION;
    const seconds = BigInt(Math.max(0, Math.floor(this.#options.unixNow() / 1000)));
    viewOf(answer).setBigUint64(1, seconds, true);
    const message2 = this.#handshake.writeMessage(answer);
    this.#stream.open(this.#handshake.split());
    this.#hasAnswered = true;
    return message2;
  }
}

/** Bodies to Noise messages and back, once the handshake is complete. */
class ControlStream {
  readonly #decoder: StreamFrameDecoder;
  #keys: { send: TransportCipher; receive: TransportCipher } | undefined;

  constructor(maxBodyLength: number) {
    this.#decoder = new StreamFrameDecoder(maxBodyLength);
  }

  get isOpen(): boolean {
    return this.#keys !== undefined;
  }

  open(keys: { send: TransportCipher; receive: TransportCipher }): void {
    this.#keys = keys;
  }

  seal(bodies: readonly Uint8Array[]): Uint8Array[] {
    if (this.#keys === undefined) throw new TypeError("Cannot seal: the channel is not open");
    const stream = concatBytes(...bodies.map(encodeStreamFrame));
    const messages: Uint8Array[] = [];
    const step = MAX_CONTROL_MESSAGE - TAG_LENGTH;
    for (let at = 0; at < stream.length; at += step) {
      messages.push(this.#keys.send.encryptWithAd(NO_AD, stream.subarray(at, at + step)));
    }
    return messages;
  }

  receive(message: Uint8Array): Uint8Array[] {
    if (this.#keys === undefined) throw new TypeError("Cannot open: the channel is not open");
    if (message.length > MAX_CONTROL_MESSAGE) throw new RangeError("Cannot open: too long");
    const bodies = this.#decoder.push(this.#keys.receive.decryptWithAd(NO_AD, message));
    if (bodies === undefined) throw new RangeError("Cannot open: a body is too long");
    return bodies;
  }
}

function readCredential(payload: Uint8Array): NamedCredential {
  if (payload[0] === CREDENTIAL_TOKEN && payload.length === 1 + TOKEN_ID_LENGTH) {
    return { kind: "token", tokenId: payload.slice(1) };
  }
  if (payload[0] === CREDENTIAL_MEMBER && payload.length === 1) return { kind: "member" };
  // A later version may have other credentials; this one cannot check them.
  throw new RefusalError("unsupported-version");
}

function controlPrologue(meshId: Uint8Array): Uint8Array {
  return concatBytes(utf8("tunnelmesh-control/1"), meshId);
}

function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
