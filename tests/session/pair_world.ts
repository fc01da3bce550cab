/**
 * Two sides that pair over a line that a test may cut, on a fake clock.
 *
 * @module
 */

import { utf8 } from "../../lib/base/bytes.ts";
import { type KeyPair, keyPairFrom } from "../../lib/crypto/x25519.ts";
import { type PairAction, Pairing, type PairingOptions } from "../../lib/session/pairing.ts";
import type { Path } from "../../lib/session/path.ts";
import { FakeClock } from "../fakes/clock.ts";
import { seededBytes } from "../fakes/random.ts";

/** How long a datagram is on its way. */
export const DELAY_MS = 10;

/** Fixed keys; only tests may know a private key. */
export const KEYS = {
  dialler: keyPairFrom(new Uint8Array(32).fill(0x11)),
  listener: keyPairFrom(new Uint8Array(32).fill(0x22)),
  stranger: keyPairFrom(new Uint8Array(32).fill(0x33)),
} as const satisfies Record<string, KeyPair>;

/** A path whose far end is 192.0.2.`host`. */
export function pathTo(host: number, port = 51_820): Path {
  return {
    kind: "udp",
    key: `192.0.2.${host}:${port}`,
    remote: `192.0.2.${host}:${port}`,
    endpoint: { address: Uint8Array.of(192, 0, 2, host), port },
  };
}

/** What a test may make different. */
export type SideOptions = Partial<PairingOptions>;

/** A datagram on its way. */
export interface Flight {
  /** From 0, over both directions. */
  readonly number: number;
  readonly from: "dialler" | "listener";
  readonly datagram: Uint8Array;
}

/** One side, and all that it was told. */
export class Side {
  readonly pairing: Pairing;
  readonly actions: PairAction[] = [];

  constructor(options: PairingOptions, now: number) {
    this.pairing = new Pairing(options, now);
  }

  /** Node ids are not needed here: the key of whoever was met, if anybody was. */
  get met(): Uint8Array | undefined {
    const met = this.actions.find((action) => action.kind === "met");
    return met?.kind === "met" ? met.peer.staticKey : undefined;
  }

  get failed(): string | undefined {
    const failed = this.actions.find((action) => action.kind === "failed");
    return failed?.kind === "failed" ? failed.fault : undefined;
  }

  get heard(): string[] {
    return this.actions.flatMap((action) =>
      action.kind === "heard" ? [new TextDecoder().decode(action.body)] : []
    );
  }

  get drops(): string[] {
    return this.actions.flatMap((action) => action.kind === "drop" ? [action.reason] : []);
  }
}

/** A dialler, a listener, and what is between them. */
export class PairWorld {
  readonly clock = new FakeClock();
  readonly dialler: Side;
  readonly listener: Side;
  /** Everything that was sent. */
  readonly flights: Flight[] = [];
  /** Whether a datagram is lost. @default none is */
  isLost: (flight: Flight) => boolean = () => false;

  constructor(dialler: SideOptions = {}, listener: SideOptions = {}) {
    const now = this.clock.now();
    const common = {
      profile: "pair",
      random: seededBytes(7),
      unixNow: () => this.clock.unixNow(),
    } as const;
    this.listener = new Side({ ...common, staticKey: KEYS.listener, ...listener }, now);
    this.dialler = new Side(
      { ...common, staticKey: KEYS.dialler, dial: pathTo(2), ...dialler },
      now,
    );
    this.wake(this.dialler);
  }

  /** Lets time pass. */
  advance(ms: number): void {
    this.clock.advance(ms);
  }

  /** Goes on until something is so. @returns The milliseconds it took; `undefined` if it never was. */
  until(condition: () => boolean, maxMs = 60_000): number | undefined {
    return this.clock.advanceUntil(condition, maxMs);
  }

  /** One side says something. */
  say(side: Side, text: string): void {
    this.do(side, side.pairing.say(utf8(text), this.clock.now()));
  }

  /** One side gets a datagram, from the other's address or another one. */
  deliver(side: Side, datagram: Uint8Array, path = pathTo(side === this.listener ? 1 : 2)): void {
    this.do(side, side.pairing.receive(datagram.slice(), path, this.clock.now()));
  }

  /** Carries out what a side asks for. */
  do(side: Side, actions: readonly PairAction[]): void {
    side.actions.push(...actions);
    const from = side === this.dialler ? "dialler" : "listener";
    for (const action of actions) {
      if (action.kind !== "send") continue;
      const flight = { number: this.flights.length, from, datagram: action.datagram } as const;
      this.flights.push(flight);
      // What goes elsewhere than to the other side is nobody's.
      const isForOther = action.path.key === pathTo(from === "dialler" ? 2 : 1).key;
      if (!isForOther || this.isLost(flight)) continue;
      const other = from === "dialler" ? this.listener : this.dialler;
      this.clock.schedule(this.clock.now() + DELAY_MS, () => this.deliver(other, flight.datagram));
    }
    this.wake(side);
  }

  #wakeUps = new Map<Side, () => void>();

  /** Has a side called when something is due for it. */
  wake(side: Side): void {
    this.#wakeUps.get(side)?.();
    const at = side.pairing.deadlineAt;
    this.#wakeUps.set(
      side,
      this.clock.schedule(Math.max(at, this.clock.now()), () => {
        this.do(side, side.pairing.tick(this.clock.now()));
      }),
    );
  }
}
