/**
 * One connection to the relay, as a way for datagrams to every node behind it.
 *
 * ```
 * out: destination node id 32 │ (length u16 LE │ datagram)…      in: source node id 32 │ the same
 *                                                  or a grant: bytes that may be sent in all, u64 LE
 * ```
 *
 * Datagrams for one node that come in one turn, and while an earlier write waits, go out by one
 * message: a message costs as much as a dozen packets.
 *
 * @module
 */

import { equalBytes, fromHex, toHex } from "../base/bytes.ts";
import { readU16Le, readU64Le, writeU16Le } from "../base/integers.ts";
import { MAX_RELAY_MESSAGE, type RelaySocket } from "./relay_dialing.ts";

const NODE_ID_LENGTH = 32;
const PREFIX = 2;
const GRANT_LENGTH = 8;
/** Granted by the protocol, before the relay says anything. */
const FIRST_GRANT = 65_536;
/** Largest datagram that fits a message. */
export const MAX_RELAY_DATAGRAM = MAX_RELAY_MESSAGE - NODE_ID_LENGTH - PREFIX;
/** A message with so many bytes is full, though a large datagram may make it longer. */
const FULL_MESSAGE = 32_768;
/** What is shorter is copied for its write, so that its large buffer can go on being filled. */
const SMALL_MESSAGE = 16_384;
/** Buffers kept for the next messages. */
const MAX_SPARE = 16;

/** The way to a node through the relay: the same over one connection and the next. */
export interface RelayPath {
  readonly kind: "relay";
  /** `relay` and the node id. */
  readonly key: string;
  /** `relay`. */
  readonly remote: string;
  /** 64 hex digits. */
  readonly nodeId: string;
}

/** A node behind the relay. */
export interface RelayPeer {
  readonly path: RelayPath;
  /** Its node id, 32 bytes. */
  readonly id: Uint8Array;
}

/** Makes what a link knows a node by. @param nodeId 64 hex digits. */
export function relayPeer(nodeId: string): RelayPeer {
  const path: RelayPath = { kind: "relay", key: `relay ${nodeId}`, remote: "relay", nodeId };
  return { path: Object.freeze(path), id: fromHex(nodeId) };
}

/** A message that is being filled. */
interface Gathering {
  readonly buffer: Uint8Array<ArrayBuffer>;
  length: number;
}

/** What a link is made of. */
export interface RelayLinkOptions {
  readonly socket: RelaySocket;
  /** Bytes waiting in the socket beyond which a datagram is not taken. */
  readonly maxQueuedBytes: number;
  /** Finds a node; `undefined` for one that is no peer. */
  readonly peerOf: (nodeId: string) => RelayPeer | undefined;
  /** A datagram came; borrowed until return. */
  readonly receive: (datagram: Uint8Array, path: RelayPath) => void;
}

/** Cuts and joins relay messages of one connection. */
export class RelayLink {
  readonly #options: RelayLinkOptions;
  readonly #gatherings = new Map<RelayPeer, Gathering>();
  readonly #spare: Uint8Array<ArrayBuffer>[] = [];
  /** Whose message came last: the next one is mostly theirs too. */
  #lastSource: RelayPeer | undefined;
  /** Writes that the socket has not let go of. */
  #pending = 0;
  #isFlushDue = false;
  /** Bytes of messages sent, and that may be sent. */
  #sent = 0;
  #granted = FIRST_GRANT;
  /** Messages that wait for a grant. */
  readonly #waiting: { readonly message: Uint8Array; readonly sent: () => void }[] = [];
  #waitingBytes = 0;

  constructor(options: RelayLinkOptions) {
    this.#options = options;
  }

  /**
   * Takes a datagram; copied.
   *
   * @param datagram 1 to {@linkcode MAX_RELAY_DATAGRAM} bytes.
   * @returns `false` if the connection is behind: it is lost then.
   */
  send(datagram: Uint8Array, to: RelayPeer): boolean {
    const size = PREFIX + datagram.length;
    let gathering = this.#gatherings.get(to);
    if (gathering !== undefined && gathering.length + size > FULL_MESSAGE) {
      this.#write(to, gathering);
      gathering = undefined;
    }
    if (gathering === undefined) {
      const { socket, maxQueuedBytes } = this.#options;
      if (socket.queuedBytes + this.#waitingBytes > maxQueuedBytes) return false;
      gathering = this.#begin(to, size);
    }
    const { buffer, length } = gathering;
    writeU16Le(buffer, length, datagram.length);
    buffer.set(datagram, length + PREFIX);
    gathering.length += size;
    if (!this.#isFlushDue && this.#pending === 0) {
      this.#isFlushDue = true;
      queueMicrotask(this.#flush);
    }
    return true;
  }

  /**
   * Takes a message of the relay; borrowed until return.
   *
   * @returns `false` if it makes no sense, from where on the connection makes none.
   */
  receive(message: Uint8Array): boolean {
    if (message.length === GRANT_LENGTH) {
      this.#grant(readU64Le(message, 0));
      return true;
    }
    if (message.length <= NODE_ID_LENGTH) return false;
    const source = this.#sourceOf(message.subarray(0, NODE_ID_LENGTH));
    let at = NODE_ID_LENGTH;
    while (at + PREFIX <= message.length) {
      const end = at + PREFIX + readU16Le(message, at);
      if (end === at + PREFIX || end > message.length) return false;
      if (source !== undefined) {
        this.#options.receive(message.subarray(at + PREFIX, end), source.path);
      }
      at = end;
    }
    return at === message.length;
  }

  #sourceOf(id: Uint8Array): RelayPeer | undefined {
    const last = this.#lastSource;
    if (last !== undefined && equalBytes(last.id, id)) return last;
    return this.#lastSource = this.#options.peerOf(toHex(id));
  }

  /** Forgets a node, and what is being gathered for it. */
  forget(peer: RelayPeer): void {
    this.#gatherings.delete(peer);
    if (this.#lastSource === peer) this.#lastSource = undefined;
  }

  #begin(to: RelayPeer, size: number): Gathering {
    const isLarge = NODE_ID_LENGTH + size > FULL_MESSAGE;
    const buffer = isLarge
      ? new Uint8Array(NODE_ID_LENGTH + size)
      : this.#spare.pop() ?? new Uint8Array(FULL_MESSAGE);
    buffer.set(to.id);
    const gathering = { buffer, length: NODE_ID_LENGTH };
    this.#gatherings.set(to, gathering);
    return gathering;
  }

  readonly #flush = (): void => {
    this.#isFlushDue = false;
    for (const [peer, gathering] of this.#gatherings) this.#write(peer, gathering);
  };

  readonly #written = (): void => {
    this.#pending--;
    if (this.#pending === 0 && !this.#isFlushDue) this.#flush();
  };

  #write(to: RelayPeer, { buffer, length }: Gathering): void {
    this.#gatherings.delete(to);
    this.#pending++;
    if (length <= SMALL_MESSAGE) {
      this.#post(buffer.slice(0, length), this.#written);
      return this.#keep(buffer);
    }
    this.#post(buffer.subarray(0, length), () => {
      this.#keep(buffer);
      this.#written();
    });
  }

  #post(message: Uint8Array, sent: () => void): void {
    if (this.#waiting.length > 0 || this.#sent + message.length > this.#granted) {
      this.#waiting.push({ message, sent });
      this.#waitingBytes += message.length;
      return;
    }
    this.#sent += message.length;
    this.#options.socket.send(message, sent);
  }

  #grant(granted: number): void {
    this.#granted = Math.max(this.#granted, granted);
    for (const { message, sent } of this.#waiting.splice(0)) {
      this.#waitingBytes -= message.length;
      this.#post(message, sent);
    }
  }

  #keep(buffer: Uint8Array<ArrayBuffer>): void {
    if (buffer.length === FULL_MESSAGE && this.#spare.length < MAX_SPARE) this.#spare.push(buffer);
  }
}
