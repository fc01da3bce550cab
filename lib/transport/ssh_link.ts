/**
 * One SSH connection with one peer, as a way for datagrams.
 *
 * What must hold: memory is bounded whatever the far end does; a datagram that the connection is
 * not ready for is dropped, for whoever sent it knows what to do about loss, and nobody what to do
 * about delay.
 *
 * @module
 */

import type { Clock } from "../base/clock.ts";
import type { SshStream } from "../crypto/ssh_transport.ts";
import { DatagramCutter, DatagramGatherer } from "./datagram_stream.ts";

/** The way through one connection: another connection is another way. */
export interface SshPath {
  readonly kind: "ssh";
  /** `ssh` and the number of the connection. */
  readonly key: string;
  /** The far end as text: `ssh host:port`. */
  readonly remote: string;
  /** The peer that proved its key, 64 hex digits. */
  readonly nodeId: string;
}

/** Whether a path is one of SSH. */
export function isSshPath(path: { readonly kind: string }): path is SshPath {
  return path.kind === "ssh";
}

/**
 * Bytes that may wait for the connection: 8 ms of 1 Gbit/s, and half a second of 16 Mbit/s. With
 * what is being gathered a little more waits.
 */
export const MAX_QUEUED_BYTES = 1_048_576;

/** What a link is made of. */
export interface SshLinkOptions {
  readonly stream: SshStream;
  readonly path: SshPath;
  /** Binary public key that the peer proved: its client key if it connected, else its host key. */
  readonly peerKey: Uint8Array;
  /** Whether this node made the connection. */
  readonly isOwn: boolean;
  readonly clock: Clock;
  /** @default {MAX_QUEUED_BYTES} */
  readonly maxQueuedBytes?: number;
}

/** What happens on a link. */
export interface SshLinkEvents {
  /** A datagram came; borrowed until return. */
  receive(datagram: Uint8Array, path: SshPath): void;
  /** It is over, by whatever side; called once. */
  closed(link: SshLink): void;
}

/** A connection that carries datagrams. */
export class SshLink {
  readonly path: SshPath;
  readonly peerKey: Uint8Array;
  readonly isOwn: boolean;
  readonly #stream: SshStream;
  readonly #clock: Clock;
  readonly #gatherer: DatagramGatherer;
  readonly #cutter = new DatagramCutter();
  #isClosed = false;
  #closed: ((link: SshLink) => void) | undefined;
  /** Datagrams sent and received, and how many there were when the link was last looked at. */
  #datagrams = 0;
  #seenDatagrams = 0;
  #hasReceived = false;
  #activeAt: number;

  /** Takes the stream over. */
  constructor(options: SshLinkOptions) {
    this.path = options.path;
    this.peerKey = options.peerKey;
    this.isOwn = options.isOwn;
    this.#stream = options.stream;
    this.#clock = options.clock;
    this.#activeAt = options.clock.now();
    this.#gatherer = new DatagramGatherer(
      options.stream,
      options.maxQueuedBytes ?? MAX_QUEUED_BYTES,
    );
  }

  /** Whether it is over. */
  get isClosed(): boolean {
    return this.#isClosed;
  }

  /** Whether the peer ever sent something. */
  get hasReceived(): boolean {
    return this.#hasReceived;
  }

  /** Bytes that wait for the connection. */
  get queuedBytes(): number {
    return this.#stream.queuedBytes;
  }

  /**
   * Since when nothing has come or gone, on the scale of `Clock.now`; as exact as it is asked often,
   * so that a datagram costs no look at the clock.
   */
  get activeAt(): number {
    if (this.#datagrams !== this.#seenDatagrams) {
      this.#seenDatagrams = this.#datagrams;
      this.#activeAt = this.#clock.now();
    }
    return this.#activeAt;
  }

  /** Starts delivering. */
  start(events: SshLinkEvents): void {
    this.#closed = events.closed;
    const receive = (datagram: Uint8Array) => {
      this.#datagrams++;
      this.#hasReceived = true;
      if (!this.#isClosed) events.receive(datagram, this.path);
    };
    this.#stream.start({
      data: (bytes) => {
        if (!this.#isClosed && !this.#cutter.push(bytes, receive)) this.close();
      },
      closed: () => this.close(),
    });
  }

  /**
   * Sends a datagram; copied.
   *
   * @returns `false` if the connection is behind, or closed: it is lost.
   */
  send(datagram: Uint8Array): boolean {
    if (this.#isClosed || datagram.length === 0 || datagram.length > 0xfffd) return false;
    if (!this.#gatherer.push(datagram)) return false;
    this.#datagrams++;
    return true;
  }

  /** Ends the connection. Safe to call twice. */
  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#stream.close();
    this.#closed?.(this);
  }
}
