/**
 * Ways beside UDP, which the control thread keeps: connections by SSH and relays. What the workers
 * seal and open for them passes from thread to thread by rings (datagram_ring.ts), where a way is
 * known by a number.
 *
 * @module
 */

import type { Path } from "../../session/path.ts";
import { DATAGRAM_TYPE } from "../../wire/datagram.ts";
import type { DatagramRing } from "./datagram_ring.ts";

/** Carries datagrams by connections, to and from this thread; a `JoinedCarrier` does. */
export interface StreamCarrier {
  /** Starts delivering what comes by other ways than UDP; borrowed until `receive` returns. */
  startBesideUdp(receive: (datagram: Uint8Array, path: Path) => void): void;
  /** Sends one datagram; copied. @returns `false` if it is lost. */
  send(datagram: Uint8Array, path: Path): boolean;
  /** Closes all of them. Safe to call twice. */
  close(): Promise<void>;
}

/** What a {@linkcode StreamSide} works with. */
export interface StreamSideOptions {
  /** Owned from now on; without one nothing is sent, and nothing comes. */
  readonly carrier: StreamCarrier | undefined;
  /** What egress has sealed, labelled with the keypair's local index. */
  readonly departures: DatagramRing;
  /** Where transport data goes, labelled with the number of its way. */
  readonly arrivals: { readonly ring: DatagramRing; tellOfRing(): void };
  /** The path of a keypair, by its local index. */
  readonly pathOf: (localIndex: number) => Path | undefined;
  /** Gets what is no transport data; borrowed until it returns. */
  readonly received: (datagram: Uint8Array, path: Path) => void;
}

/** Ways that are remembered. Ours: each peer has one or two at a time. */
const STREAMS_MAX = 8192;
/** Longest datagram that may come by a stream: what the ingress worker has room for. */
const ARRIVED_MAX = 65_535;

/** The control thread's part in what goes beside UDP. */
export class StreamSide {
  /**
   * Datagrams that a stream refused, and that ingress had no room for: counted here, since each
   * worker's counters have one writer.
   */
  readonly drops = { "send-failed": 0, "queue-full": 0 };
  readonly #o: StreamSideOptions;
  readonly #streams = new Map<string, { readonly number: number; readonly path: Path }>();
  readonly #paths = new Map<number, Path>();
  #next = 1;
  #isWakeDue = false;

  /** Starts to deliver what comes. */
  constructor(options: StreamSideOptions) {
    this.#o = options;
    options.carrier?.startBesideUdp((datagram, path) => this.#arrived(datagram, path));
  }

  /** Sends one datagram; copied. @returns `false` if it is lost. */
  send(datagram: Uint8Array, path: Path): boolean {
    return this.#o.carrier?.send(datagram, path) ?? false;
  }

  /** Sends what egress has sealed. */
  sendDepartures(): void {
    const { carrier, departures, pathOf } = this.#o;
    while (!departures.isEmpty()) {
      const path = pathOf(departures.label);
      const isSent = path === undefined || carrier === undefined ||
        carrier.send(departures.peek(), path);
      if (!isSent) this.drops["send-failed"]++;
      departures.shift();
    }
  }

  /** The number of a way; the workers know it by that. */
  numberOf(path: Path): number {
    const known = this.#streams.get(path.key);
    if (known !== undefined) return known.number;
    const number = this.#next++;
    this.#streams.set(path.key, { number, path });
    this.#paths.set(number, path);
    if (this.#streams.size > STREAMS_MAX) {
      const [key, oldest] = this.#streams.entries().next().value!;
      this.#streams.delete(key);
      this.#paths.delete(oldest.number);
    }
    return number;
  }

  /** The way of a number; `undefined` if it was forgotten. */
  pathOf(number: number): Path | undefined {
    return this.#paths.get(number);
  }

  /** Closes all ways. Safe to call twice. */
  async close(): Promise<void> {
    await this.#o.carrier?.close();
  }

  /** Passes on what one delivery brings, and wakes the worker once for it. */
  #arrived(datagram: Uint8Array, path: Path): void {
    const { arrivals, received } = this.#o;
    if (datagram[0] !== DATAGRAM_TYPE.data) return received(datagram, path);
    if (datagram.length > ARRIVED_MAX) return;
    const isTaken = arrivals.ring.push(this.numberOf(path), datagram, 0, datagram.length);
    if (!isTaken) this.drops["queue-full"]++;
    if (this.#isWakeDue) return;
    this.#isWakeDue = true;
    queueMicrotask(() => {
      this.#isWakeDue = false;
      arrivals.tellOfRing();
    });
  }
}
