/**
 * Which peers of the roster a node has anything to do with: the coordinator says who is a member,
 * the pins say whom a person verified, and where they differ the pins are right (protocol.md §1,
 * T35).
 *
 * What must hold: a peer that is refused has no session in either direction, no route and no way by
 * SSH or relay; neither name nor address of a verified peer passes to another key before a person
 * forgets the pin; each time one is refused for that there is one alarm, not one per roster.
 *
 * @module
 */

import type { Clock } from "../base/clock.ts";
import { logOf } from "../base/log.ts";
import type { NodeRecord } from "../wire/server_message.ts";
import { reasonOf } from "./errors.ts";
import type { NamedKey, Pin, PinState, PinStore } from "./pins.ts";

/** Whom a node talks to: every member that no pin speaks against, or those that are verified. */
export type TrustMode = "all" | "verified-only";

/** How long fresh keys are gathered before they are written: many peers may come at once. */
const SEEN_DELAY_MS = 500;

const log = logOf("agent");

/** What a node knows of a peer of the roster, and what follows from it. */
export interface Judgement {
  readonly state: PinState;
  /** Why there is nothing to do with it; `undefined`: it is a peer like any other. */
  readonly refusal: Refusal | undefined;
}

/** Why a peer is unreachable. */
export type Refusal =
  | { readonly kind: "unverified" }
  | { readonly kind: "key-changed"; readonly pin: Pin }
  | { readonly kind: "address-taken"; readonly pin: Pin; readonly address: string };

/** A peer that took the name or the address of a verified one. */
export interface TrustAlarm {
  readonly kind: "key-changed" | "address-taken";
  /** As the coordinator presents it. */
  readonly name: string;
  /** The node id presented, 64 hex digits. */
  readonly nodeId: string;
  /** The name whose pin speaks against it. */
  readonly pinnedName: string;
  /** The node id of that pin. */
  readonly pinnedNodeId: string;
  /** The mesh address that is held for that pin, where that is what was taken. */
  readonly address?: string;
  /** ISO 8601, UTC. */
  readonly since: string;
}

/** What a {@linkcode PeerTrust} needs. */
export interface PeerTrustOptions {
  readonly pins: PinStore;
  readonly clock: Clock;
  /** @default {"all"} */
  readonly mode?: TrustMode | undefined;
}

/** Judges peers, and keeps what a person has to be told of it. */
export class PeerTrust {
  readonly mode: TrustMode;
  readonly #pins: PinStore;
  readonly #clock: Clock;
  /** Node id => what it is refused for. */
  readonly #refused = new Map<string, { readonly event: string; readonly alarm?: TrustAlarm }>();
  /** Node ids whose name was seen with another key, and that this was said of. */
  readonly #changed = new Map<string, string>();
  readonly #heard = new Map<string, NamedKey>();
  #cancelWrite: (() => void) | undefined;
  #conflicts = 0;

  /** Judges nobody yet. */
  constructor(options: PeerTrustOptions) {
    this.#pins = options.pins;
    this.#clock = options.clock;
    this.mode = options.mode ?? "all";
  }

  /** What stands against peers of the roster, the first refused first. */
  get alarms(): readonly TrustAlarm[] {
    return [...this.#refused.values()].flatMap(({ alarm }) => alarm ?? []);
  }

  /** How many alarms there have been since this process started. */
  get conflicts(): number {
    return this.#conflicts;
  }

  /** Says what is known of a peer. Changes nothing. */
  judge({ name, nodeId, addresses }: NodeRecord): Judgement {
    const state = this.#pins.stateOf(name, nodeId);
    if (state === "conflict") {
      return { state, refusal: { kind: "key-changed", pin: this.#pins.pin(name)! } };
    }
    for (const address of [addresses.ipv4, addresses.ipv6]) {
      const pin = this.#pins.holderOf(address);
      if (pin === undefined || pin.nodeId === nodeId) continue;
      return { state: "conflict", refusal: { kind: "address-taken", pin, address } };
    }
    if (this.mode === "verified-only" && state !== "verified") {
      return { state, refusal: { kind: "unverified" } };
    }
    return { state, refusal: undefined };
  }

  /** The node id that the name of a peer was seen with before, until a person looks at it. */
  keyBefore({ name, nodeId }: NamedKey): string | undefined {
    const pin = this.#pins.pin(name);
    if (pin === undefined || pin.state === "verified") return undefined;
    return pin.nodeId === nodeId ? pin.before : pin.nodeId;
  }

  /** What a person should know of a peer that is not refused; `undefined`: nothing. */
  noteOf({ name, nodeId, addresses }: NodeRecord): string | undefined {
    const before = this.keyBefore({ name, nodeId });
    const remedy = `tunnelmesh peer verify ${name}`;
    if (before !== undefined) {
      return `${name} has another key than before, ${shortId(before)}; compare it by ${remedy}`;
    }
    const pin = this.#pins.pin(name);
    if (pin?.nodeId !== nodeId || pin.addresses.length === 0) return undefined;
    const isHeld = (address: string) => this.#pins.holderOf(address)?.nodeId === nodeId;
    if ([addresses.ipv4, addresses.ipv6].every(isHeld)) return undefined;
    return `${name} has other addresses than when it was verified; hold them by ${remedy}`;
  }

  /** Whether a peer that the roster names may be one of this node; tells of it where it may not. */
  admits(node: NodeRecord): boolean {
    const { refusal } = this.judge(node);
    if (refusal === undefined) this.#refused.delete(node.nodeId);
    else this.#refuse(node, refusal);
    this.#tellOfChange(node);
    return refusal === undefined;
  }

  /** A node is no member any more. */
  gone(nodeId: string): void {
    this.#refused.delete(nodeId);
    this.#changed.delete(nodeId);
  }

  /**
   * The roster names a peer: one that was verified before its addresses were known gets them held.
   *
   * @returns Whether others have to be judged again.
   */
  learn({ name, nodeId, addresses }: NodeRecord): boolean {
    const pin = this.#pins.pin(name);
    if (pin?.nodeId !== nodeId || pin.state !== "verified" || pin.addresses.length > 0) {
      return false;
    }
    try {
      this.#pins.verify(name, nodeId, [addresses.ipv4, addresses.ipv6]);
      return true;
    } catch (error) {
      log.error("Addresses of a verified peer not kept", { peer: name, reason: reasonOf(error) });
      return false;
    }
  }

  /** There is a session with a peer: it has the key that the roster says. */
  heard({ name, nodeId }: NamedKey): void {
    if (this.#pins.stateOf(name, nodeId) !== "new") return;
    this.#heard.set(nodeId, { name, nodeId });
    this.#cancelWrite ??= this.#clock.schedule(
      this.#clock.now() + SEEN_DELAY_MS,
      () => this.#writeHeard(),
    );
  }

  /** A person compared the key of a name. @throws {AgentError} As `PinStore.verify` does. */
  verify(name: string, nodeId: string, addresses: readonly string[]): void {
    this.#pins.verify(name, nodeId, addresses);
    log.info("Peer verified", { peer: name });
  }

  /** What is known of a name. */
  pin(name: string): Pin | undefined {
    return this.#pins.pin(name);
  }

  /** A person gave up what is known of a name. @throws {AgentError} As `PinStore.forget` does. */
  forget(name: string): void {
    const pin = this.#pins.forget(name);
    if (pin?.state === "verified") log.warning("Pin of a verified peer forgotten", { peer: name });
  }

  /** Writes what is not written yet. */
  close(): void {
    this.#cancelWrite?.();
    if (this.#heard.size > 0) this.#writeHeard();
  }

  #writeHeard(): void {
    this.#cancelWrite = undefined;
    try {
      this.#pins.seeAll(this.#heard.values());
    } catch (error) {
      log.error("Keys of peers not kept", { reason: reasonOf(error) });
    }
    this.#heard.clear();
  }

  #refuse({ name, nodeId }: NodeRecord, refusal: Refusal): void {
    const held = refusal.kind === "unverified" ? [] : [refusal.pin.name, refusal.pin.nodeId];
    const event = [refusal.kind, name, ...held].join();
    if (this.#refused.get(nodeId)?.event === event) return;
    if (refusal.kind === "unverified") {
      this.#refused.set(nodeId, { event });
      log.info("Peer is unreachable until it is verified", { peer: name });
      return;
    }
    this.#conflicts++;
    log.warning(ALARM_MESSAGES[refusal.kind], { peer: name, reason: refusalText(refusal) });
    const { kind, pin } = refusal;
    const alarm: TrustAlarm = {
      ...{ kind, name, nodeId, pinnedName: pin.name, pinnedNodeId: pin.nodeId },
      ...(refusal.kind === "address-taken" && { address: refusal.address }),
      since: new Date(this.#clock.unixNow()).toISOString(),
    };
    this.#refused.set(nodeId, { event, alarm });
  }

  /** Nothing is pinned for good by having been seen; but nobody is to change unnoticed either. */
  #tellOfChange(node: NodeRecord): void {
    const before = this.keyBefore(node);
    if (before === undefined || this.#changed.get(node.nodeId) === before) return;
    this.#changed.set(node.nodeId, before);
    log.warning("Peer has another key than before", { peer: node.name });
  }
}

const ALARM_MESSAGES = {
  "key-changed": "Verified peer came with another key and is refused",
  "address-taken": "Address of a verified peer was given to another key, which is refused",
} as const;

/** Why a peer is unreachable and what to do, for the middle of a sentence. */
export function refusalText(refusal: Refusal): string {
  if (refusal.kind === "unverified") {
    return "it is not verified, and this node trusts verified peers only; compare its key by " +
      "tunnelmesh peer verify";
  }
  const { kind, pin: { name, nodeId } } = refusal;
  const remedy = `tunnelmesh peer forget ${name}`;
  return kind === "key-changed"
    ? `its key is not the one that "${name}" was verified with, ${shortId(nodeId)}: somebody may ` +
      `pretend to be it; if the change is right, do ${remedy}`
    : `it was given ${refusal.address}, which is held for "${name}", verified with the key ` +
      `${shortId(nodeId)}; if that is no member any more, do ${remedy}`;
}

/** The beginning of a node id, enough for a person to tell two apart. */
export function shortId(nodeId: string): string {
  return `${nodeId.slice(0, 16)}…`;
}
