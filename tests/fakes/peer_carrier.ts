/**
 * Carriers in memory whose paths are connections, such as SSH or a relay: whoever is attached
 * reaches whoever else is, for as long as the test says so.
 *
 * @module
 */

import type { Clock } from "../../lib/base/clock.ts";
import type { PeerCarrier, PeerPath } from "../../lib/transport/joined_carrier.ts";

/** What all connections of one kind run through. */
export class FakePeerLinks {
  /** Datagrams carried, by everybody. */
  carried = 0;
  /** Datagrams lost because there was no way. */
  lost = 0;
  /** One way, in ms; what is under way keeps the delay it began with. */
  delayMs: number;
  /** How long a way takes to be made once it is wanted; `undefined`: it is there by itself. */
  dialMs: number | undefined;
  /** Whether a way between two nodes can be made at all. */
  allows: (a: string, b: string) => boolean = () => true;
  readonly kind: PeerPath["kind"];
  readonly #clock: Clock;
  readonly #ends = new Map<string, FakePeerCarrier>();
  readonly #cut = new Set<string>();
  /** Pairs with a way between them, where ways are dialled. */
  readonly #dialled = new Set<string>();

  /** Nobody is attached. */
  constructor(clock: Clock, kind: PeerPath["kind"], delayMs: number) {
    this.#clock = clock;
    this.kind = kind;
    this.delayMs = delayMs;
  }

  /** Attaches a node; an end that was attached for it before is none any more. */
  attach(nodeId: string): FakePeerCarrier {
    const end = new FakePeerCarrier(this, nodeId);
    this.#ends.set(nodeId, end);
    return end;
  }

  /** Cuts a node off, or lets it in again, and tells whoever listens. */
  setConnected(nodeId: string, isConnected: boolean): void {
    const before = [...this.#ends.keys()].filter((other) => this.connects(nodeId, other));
    if (isConnected) this.#cut.delete(nodeId);
    else {
      this.#cut.add(nodeId);
      for (const pair of this.#dialled) if (pair.includes(nodeId)) this.#dialled.delete(pair);
    }
    for (const other of isConnected ? [...this.#ends.keys()] : before) {
      if (other === nodeId || (isConnected && !this.connects(nodeId, other))) continue;
      this.#ends.get(nodeId)?.tell(other, isConnected);
      this.#ends.get(other)?.tell(nodeId, isConnected);
    }
  }

  /** Whether there is a way between two nodes. */
  connects(a: string, b: string): boolean {
    const isMade = this.dialMs === undefined || this.#dialled.has(pairOf(a, b));
    return isMade && this.#canConnect(a, b);
  }

  /** Called by an end. */
  dial(from: string, to: string): void {
    if (this.dialMs === undefined || this.connects(from, to)) return;
    this.#clock.schedule(this.#clock.now() + this.dialMs, () => {
      if (!this.#canConnect(from, to) || this.connects(from, to)) return;
      this.#dialled.add(pairOf(from, to));
      this.#ends.get(from)?.tell(to, true);
      this.#ends.get(to)?.tell(from, true);
    });
  }

  #canConnect(a: string, b: string): boolean {
    return this.#ends.has(a) && this.#ends.has(b) && !this.#cut.has(a) && !this.#cut.has(b) &&
      this.allows(a, b);
  }

  /** Called by an end. */
  carry(datagram: Uint8Array, from: string, to: string): boolean {
    if (!this.connects(from, to)) {
      this.lost++;
      return false;
    }
    this.carried++;
    const copy = datagram.slice();
    this.#clock.schedule(this.#clock.now() + this.delayMs, () => {
      if (this.connects(from, to)) this.#ends.get(to)?.arrive(copy, from);
      else this.lost++;
    });
    return true;
  }
}

/** The end of one node. */
export class FakePeerCarrier implements PeerCarrier {
  /** Who is told that a way came or went. */
  onChange: ((nodeId: string, path: PeerPath, isThere: boolean) => void) | undefined;
  /** Times that a way was wanted. */
  wanted = 0;
  readonly #links: FakePeerLinks;
  readonly #nodeId: string;
  readonly #paths = new Map<string, PeerPath>();
  #receive: ((datagram: Uint8Array, path: PeerPath) => void) | undefined;

  /** Made by {@linkcode FakePeerLinks.attach}. */
  constructor(links: FakePeerLinks, nodeId: string) {
    this.#links = links;
    this.#nodeId = nodeId;
  }

  start(receive: (datagram: Uint8Array, path: PeerPath) => void): void {
    this.#receive = receive;
  }

  send(datagram: Uint8Array, path: PeerPath): boolean {
    const to = [...this.#paths].find(([, known]) => known.key === path.key)?.[0];
    return to !== undefined && this.#links.carry(datagram, this.#nodeId, to);
  }

  pathTo(nodeId: string): PeerPath | undefined {
    return this.#links.connects(this.#nodeId, nodeId) ? this.#pathOf(nodeId) : undefined;
  }

  want(nodeId: string): void {
    this.wanted++;
    this.#links.dial(this.#nodeId, nodeId);
  }

  /** Called by the links. */
  arrive(datagram: Uint8Array, from: string): void {
    this.#receive?.(datagram, this.#pathOf(from));
    datagram.fill(0xdb); // whoever kept it would see it
  }

  /** Called by the links. */
  tell(nodeId: string, isThere: boolean): void {
    this.onChange?.(nodeId, this.#pathOf(nodeId), isThere);
  }

  close(): Promise<void> {
    this.#receive = undefined;
    return Promise.resolve();
  }

  #pathOf(nodeId: string): PeerPath {
    let path = this.#paths.get(nodeId);
    if (path === undefined) {
      const { kind } = this.#links;
      const key = `${kind} ${nodeId}`;
      this.#paths.set(nodeId, path = Object.freeze({ kind, key, remote: key.slice(0, 16) }));
    }
    return path;
  }
}

function pairOf(a: string, b: string): string {
  return a < b ? `${a} ${b}` : `${b} ${a}`;
}
