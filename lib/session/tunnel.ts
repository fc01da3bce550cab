/**
 * The peer-long machine: handshakes in either role, the keypairs they leave, and the timers.
 *
 * ```text
 *            wanted, rekey, silent, strayed
 *   idle ───────────────────────────────────► outstanding ──── response ───► idle, new current
 *    ▲                                          │   │ ▲
 *    │     90 s unanswered (gave-up),           │   │ │ unanswered for 1, 2, 4, 5, 5 … s:
 *    └──── or another keypair serves ───────────┘   └─┘ a fresh one, another PSK epoch
 * ```
 *
 * Being answered to is independent of this: an initiation of the peer leads to an unconfirmed
 * keypair whatever we have outstanding ourselves.
 *
 * Actions are appended to `out`, in the order in which they have to be carried out.
 *
 * @module
 */

import { compareBytes } from "../base/bytes.ts";
import type { HandshakeState } from "../noise/handshake_state.ts";
import type { Initiation, Response } from "../wire/datagram.ts";
import { encodeBye, encodeEcho } from "../wire/inner_control.ts";
import type { Action } from "./actions.ts";
import type { Answers } from "./answers.ts";
import {
  type HandshakeContext,
  type HandshakeResult,
  type ReadInitiation,
  readResponse,
  writeInitiation,
  writeResponse,
} from "./handshake_messages.ts";
import type { IndexTable } from "./index_table.ts";
import { type Keypair, newActivity, retireKeypair } from "./keypair.ts";
import { KeypairSlots, type Slot } from "./keypair_slots.ts";
import {
  REPEAT_ANSWER_MS,
  RETRY_JITTER_MS,
  RETRY_WAITS_MS,
  type SessionLimits,
  UNCONFIRMED_MS,
  WATCH_INTERVAL_MS,
} from "./limits.ts";
import { Liveness } from "./liveness.ts";
import type { Path } from "./path.ts";
import { TIMESTAMP_LENGTH, type TimestampSource } from "./timestamp.ts";
import { whyNotSend } from "./transport_keys.ts";

/** What all tunnels of a node share; its fields may be replaced by their owner. */
export interface TunnelContext extends HandshakeContext {
  readonly limits: SessionLimits;
  readonly timestamps: TimestampSource;
  readonly random: (length: number) => Uint8Array;
  readonly indices: IndexTable<Tunnel>;
  readonly answers: Answers;
}

/** Who a tunnel leads to. */
export interface TunnelPeer {
  readonly nodeId: string;
  /** 32 bytes. */
  readonly staticKey: Uint8Array;
  /** From `mac1Key`. */
  readonly mac1Key: Uint8Array;
}

/** An initiation that waits for its response. */
interface Outstanding {
  readonly handshake: HandshakeState;
  readonly localIndex: number;
  readonly datagram: Uint8Array;
  /** How many went unanswered before it. */
  readonly attempt: number;
  /** When the first of them was sent. */
  readonly wantedAt: number;
  /** Keypairs from this ordinal on serve the same want. */
  readonly servedFrom: number;
  readonly retryAt: number;
  /** Sent over this path alone; `undefined`: over all. */
  path: Path | undefined;
  /** The answer we gave to the peer's initiation meanwhile. */
  crossedBy: Slot | undefined;
}

/** What a fresh initiation goes on from. */
type Want = Pick<Outstanding, "attempt" | "wantedAt" | "servedFrom" | "path">;

const EMPTY = new Uint8Array(0);
const ECHO_ID_LENGTH = 8;

/** Everything between this node and one peer. */
export class Tunnel {
  readonly nodeId: string;
  readonly staticKey: Uint8Array;
  readonly mac1Key: Uint8Array;
  /** Whether to keep the way open by empty datagrams. */
  persistentKeepalive = false;
  readonly liveness = new Liveness();
  readonly slots: KeypairSlots;
  readonly #context: TunnelContext;
  #outstanding: Outstanding | undefined;
  /** Timestamp of the last initiation taken from the peer. */
  #lastTimestamp: Uint8Array = new Uint8Array(TIMESTAMP_LENGTH);
  #lastHandshakeAt: number | undefined;
  #handshakes = 0;
  #watchAt = -Infinity;
  #lastKeepaliveAt = -Infinity;
  #isPingWanted = false;

  /** Starts with nothing. */
  constructor(peer: TunnelPeer, context: TunnelContext) {
    this.nodeId = peer.nodeId;
    this.staticKey = peer.staticKey;
    this.mac1Key = peer.mac1Key;
    this.#context = context;
    this.slots = new KeypairSlots(compareBytes(context.staticKey.publicKey, peer.staticKey) < 0);
  }

  /** The initiation that waits for its response. */
  get outstanding(): Uint8Array | undefined {
    return this.#outstanding?.datagram;
  }

  /** When the last handshake completed here that led to a confirmed keypair. */
  get lastHandshakeAt(): number | undefined {
    return this.#lastHandshakeAt;
  }

  /** How many of them there were. */
  get handshakes(): number {
    return this.#handshakes;
  }

  /** The keypair to send with, if it may be sent with now. */
  usable(now: number): Keypair | undefined {
    const keypair = this.slots.current?.keypair;
    if (keypair === undefined) return undefined;
    return whyNotSend(keypair, this.#context.limits, now) === undefined ? keypair : undefined;
  }

  /** Called when a session is wanted. */
  want(now: number, out: Action[]): void {
    const outstanding = this.#outstanding;
    if (outstanding === undefined) {
      if (this.usable(now) === undefined || this.liveness.isSilent) this.handshake(now, out);
    } else if (outstanding.path !== undefined) {
      outstanding.path = undefined;
      out.push({ kind: "send", peer: this.nodeId, datagram: outstanding.datagram });
    }
  }

  /** Starts a handshake whatever there is; `path`: over that one alone. */
  handshake(now: number, out: Action[], path?: Path): void {
    const servedFrom = this.slots.nextOrdinal;
    const { datagram } = this.#start({ attempt: 0, wantedAt: now, servedFrom, path }, now);
    this.#send(datagram, path, out);
  }

  /** Called when data strayed in: the outstanding initiation, or a new one, to both ends. */
  heal(from: Path, bound: Path | undefined, now: number, out: Action[]): void {
    const servedFrom = this.slots.nextOrdinal;
    const { datagram } = this.#outstanding ??
      this.#start({ attempt: 0, wantedAt: now, servedFrom, path: undefined }, now);
    this.#send(datagram, from, out);
    if (bound !== undefined) this.#send(datagram, bound, out);
  }

  /** Whether a timestamp is greater than that of every initiation taken so far. */
  isFresh(timestamp: Uint8Array): boolean {
    return compareBytes(timestamp, this.#lastTimestamp) > 0;
  }

  /** Called with the peer's initiation, authentic and authorised: answers it. */
  answer(
    read: ReadInitiation<Tunnel>,
    initiation: Initiation,
    path: Path,
    now: number,
    out: Action[],
  ): void {
    const { indices, answers } = this.#context;
    this.#lastTimestamp = read.timestamp;
    // "a newer initiation of that peer replaces it"
    const replaced = this.slots.unconfirmed;
    if (replaced !== undefined) this.retire(replaced, out);

    const localIndex = indices.allocate(this);
    const { datagram, ...keys } = writeResponse(this.#context, this, read, localIndex);
    const slot = this.#add(
      keys,
      { local: localIndex, remote: read.senderIndex },
      { candidates: [path] },
      now,
      out,
    );
    if (this.#outstanding !== undefined) this.#outstanding.crossedBy = slot;
    answers.remember(initiation, {
      peer: this.nodeId,
      response: datagram,
      answeredAt: now,
      keypair: slot.keypair,
      paths: [path],
    });
    out.push({ kind: "install", keypair: slot.keypair });
    this.#send(datagram, path, out);
  }

  /** Called with a response to the index of our initiation; its mac1 was right. */
  complete(response: Response, path: Path, now: number, out: Action[]): void {
    const outstanding = this.#outstanding;
    if (outstanding === undefined || outstanding.localIndex !== response.receiverIndex) {
      return void out.push({ kind: "drop", reason: "no-handshake-outstanding" });
    }
    const keys = readResponse(outstanding.handshake, response);
    if (typeof keys === "string") return void out.push({ kind: "drop", reason: keys });

    this.#outstanding = undefined;
    const { localIndex, crossedBy } = outstanding;
    const slot = this.#add(
      keys,
      { local: localIndex, remote: response.senderIndex },
      { bound: path },
      now,
      out,
    );
    if (crossedBy !== undefined && this.slots.slotOf(crossedBy.keypair) !== undefined) {
      slot.rival = crossedBy;
      crossedBy.rival = slot;
    }
    out.push({ kind: "install", keypair: slot.keypair });
    this.#establish(slot, now, out);
    // "On completing a handshake the initiator sends at once: queued data, else an empty datagram."
    out.push({ kind: "seal", keypair: slot.keypair, plaintext: EMPTY, onlyIfUnused: true });
  }

  /** Called when the first data of a keypair authenticated, by one of its paths. */
  confirm(slot: Slot, path: Path, now: number, out: Action[]): void {
    const { keypair } = slot;
    keypair.path = path;
    keypair.unconfirmedPaths = [];
    keypair.isConfirmed = true;
    this.#establish(slot, now, out);
  }

  /** Sends an echo that somebody waits for, by a new session if need be. */
  ping(now: number, out: Action[]): void {
    const keypair = this.usable(now);
    if (keypair !== undefined) return this.#echo(keypair, now, true, out);
    this.#isPingWanted = true;
    this.want(now, out);
  }

  /** Called when the peer says, by this keypair, that its sessions are over. */
  leave(slot: Slot, now: number, out: Action[]): void {
    for (const other of [...this.slots.all]) {
      // A bye may be overtaken by the handshake of the next start.
      if (other.ordinal <= slot.ordinal) this.retire(other, out);
    }
    const newest = this.slots.all.findLast((other) => other.keypair.isConfirmed);
    if (this.slots.current === undefined && newest !== undefined) this.#use(newest, now, out);
    if (this.slots.all.length === 0) out.push({ kind: "left", peer: this.nodeId });
  }

  /** Tells the peer that its sessions are over. Before {@linkcode end}, which wipes the keys. */
  bye(now: number, out: Action[]): void {
    const keypair = this.usable(now);
    if (keypair !== undefined) out.push({ kind: "seal", keypair, plaintext: encodeBye() });
  }

  /** Ends everything at once, in both directions. */
  end(out: Action[], wipe: "at-once" | "by-data-plane" = "at-once"): void {
    this.#abandon();
    for (const slot of [...this.slots.all]) this.retire(slot, out, wipe);
    this.#context.answers.forget(this.nodeId);
  }

  /** Takes a keypair out of use for good, from this moment on. */
  retire(
    { keypair }: Slot,
    out: Action[],
    wipe: "at-once" | "by-data-plane" = "at-once",
  ): void {
    this.slots.remove(keypair);
    this.#context.indices.free(keypair.localIndex);
    if (wipe === "at-once") retireKeypair(keypair);
    out.push({ kind: "retire", keypair });
  }

  /** Does what is due. */
  tick(now: number, out: Action[]): void {
    if (now >= this.#context.answers.expiresAt(this.nodeId)) {
      this.#context.answers.forget(this.nodeId);
    }
    for (const slot of [...this.slots.all]) {
      if (now >= this.#endsAt(slot.keypair)) this.retire(slot, out);
    }
    if (this.#outstanding !== undefined) this.#retry(this.#outstanding, now, out);
    const keypair = this.usable(now);
    if (keypair !== undefined) return this.#watch(keypair, now, out);
    this.slots.setCurrent(undefined);
    if (this.persistentKeepalive) this.want(now, out);
  }

  /** When {@linkcode tick} has to be called next; `Infinity` if nothing is going on. */
  nextDeadlineAt(now: number): number {
    const { answers, limits } = this.#context;
    let at = answers.expiresAt(this.nodeId);
    for (const slot of this.slots.all) at = Math.min(at, this.#endsAt(slot.keypair));
    const outstanding = this.#outstanding;
    if (outstanding !== undefined) at = Math.min(at, this.#retryAt(outstanding));
    const keypair = this.usable(now);
    if (keypair === undefined) {
      const isDue = this.slots.current !== undefined ||
        (this.persistentKeepalive && outstanding === undefined);
      return isDue ? Math.min(at, now) : at;
    }
    return Math.min(
      at,
      keypair.createdAt + limits.rejectAfterMs,
      this.#watchAt,
      this.#rekeyAt(keypair),
      this.#keepaliveAt(keypair),
      this.liveness.nextAt(keypair),
    );
  }

  /** Writes a fresh initiation, which takes the place of the one outstanding. */
  #start(want: Want, now: number): Outstanding {
    const { indices, timestamps } = this.#context;
    this.#abandon();
    const localIndex = indices.allocate(this);
    const initiation = writeInitiation(this.#context, this, {
      senderIndex: localIndex,
      timestamp: timestamps.next(),
      attempt: want.attempt,
    });
    const waitMs = RETRY_WAITS_MS[Math.min(want.attempt, RETRY_WAITS_MS.length - 1)]!;
    const retryAt = now + waitMs + this.#context.random(1)[0]! / 256 * RETRY_JITTER_MS;
    return this.#outstanding = {
      ...want,
      ...initiation,
      localIndex,
      retryAt,
      crossedBy: undefined,
    };
  }

  /** Drops the outstanding initiation; its response will find nothing. */
  #abandon(): void {
    if (this.#outstanding === undefined) return;
    this.#context.indices.free(this.#outstanding.localIndex);
    this.#outstanding.handshake.wipe();
    this.#outstanding = undefined;
  }

  #retryAt(outstanding: Outstanding): number {
    return Math.min(
      outstanding.retryAt,
      outstanding.wantedAt + this.#context.limits.giveUpAfterMs,
    );
  }

  #retry(outstanding: Outstanding, now: number, out: Action[]): void {
    if (now < this.#retryAt(outstanding)) return;
    if (this.#isServed(outstanding, now)) return this.#abandon();
    if (now - outstanding.wantedAt >= this.#context.limits.giveUpAfterMs) {
      this.#abandon();
      this.liveness.gaveUp(now);
      return void out.push({ kind: "gave-up", peer: this.nodeId });
    }
    const { wantedAt, servedFrom } = outstanding;
    const attempt = outstanding.attempt + 1;
    const { datagram } = this.#start({ attempt, wantedAt, servedFrom, path: undefined }, now);
    this.#send(datagram, undefined, out);
  }

  /** Whether another keypair does what the outstanding initiation was sent for. */
  #isServed({ servedFrom, path }: Outstanding, now: number): boolean {
    const { current } = this.slots;
    if (current === undefined || this.usable(now) === undefined) return false;
    if (this.liveness.isSilent) return false;
    return path !== undefined || current.ordinal >= servedFrom;
  }

  #send(datagram: Uint8Array, path: Path | undefined, out: Action[]): void {
    out.push({ kind: "send", peer: this.nodeId, datagram, ...(path && { path }) });
  }

  /** Makes a keypair, the initiator's bound to its path, and makes room for it. */
  #add(
    keys: HandshakeResult,
    indices: { readonly local: number; readonly remote: number },
    paths: { readonly bound: Path } | { readonly candidates: readonly Path[] },
    now: number,
    out: Action[],
  ): Slot {
    const isInitiator = "bound" in paths;
    const slot = this.slots.add({
      peer: this.nodeId,
      localIndex: indices.local,
      remoteIndex: indices.remote,
      isInitiator,
      createdAt: now,
      sendKey: keys.sendKey,
      receiveKey: keys.receiveKey,
      path: isInitiator ? paths.bound : undefined,
      unconfirmedPaths: isInitiator ? [] : paths.candidates,
      isConfirmed: isInitiator,
      isRetired: false,
      activity: newActivity(),
    });
    const { surplus } = this.slots;
    if (surplus !== undefined) this.retire(surplus, out);
    return slot;
  }

  /** Called when a keypair is confirmed: it can be sent with, if it is the one to be. */
  #establish(slot: Slot, now: number, out: Action[]): void {
    this.#handshakes++;
    this.#lastHandshakeAt = slot.keypair.createdAt;
    if (!this.slots.supersedes(slot)) return;
    if (this.#outstanding !== undefined && this.#makesNeedless(slot, this.#outstanding)) {
      this.#abandon();
    }
    this.#use(slot, now, out);
  }

  /** Whether a keypair of the peer's handshake ends our own one. */
  #makesNeedless(slot: Slot, { crossedBy, wantedAt, path }: Outstanding): boolean {
    // Ours wins a crossing: it may still complete, though nobody waits for it.
    if (crossedBy === slot) return !this.slots.isOurKeySmaller;
    return path === undefined && slot.keypair.createdAt >= wantedAt - REPEAT_ANSWER_MS;
  }

  #use(slot: Slot, now: number, out: Action[]): void {
    const before = this.slots.current?.keypair.path?.key;
    const isPingOpen = this.liveness.takeOpenPings() || this.#isPingWanted;
    this.#isPingWanted = false;
    this.slots.setCurrent(slot);
    this.liveness.reset(before !== slot.keypair.path?.key);
    this.#watchAt = -Infinity;
    out.push({ kind: "use", keypair: slot.keypair });
    if (isPingOpen) this.#echo(slot.keypair, now, true, out);
  }

  #echo(keypair: Keypair, now: number, isPing: boolean, out: Action[]): void {
    const id = this.#context.random(ECHO_ID_LENGTH);
    this.liveness.echoSent(id, now, isPing);
    out.push({ kind: "seal", keypair, plaintext: encodeEcho(id) });
  }

  /** Looks at what the data plane wrote down about the keypair in use. */
  #watch(keypair: Keypair, now: number, out: Action[]): void {
    if (now >= this.#rekeyAt(keypair)) this.handshake(now, out);
    switch (this.liveness.due(keypair, now)) {
      case "echo":
        this.#echo(keypair, now, false, out);
        break;
      case "silent":
        this.want(now, out);
        break;
      case undefined:
    }
    if (now >= this.#keepaliveAt(keypair)) {
      this.#lastKeepaliveAt = now;
      out.push({ kind: "seal", keypair, plaintext: EMPTY });
    }
    this.#watchAt = now + Math.min(WATCH_INTERVAL_MS, this.#context.limits.rejectAfterMs / 20);
  }

  /** When a fresh handshake is due for a keypair in use. */
  #rekeyAt({ isInitiator, activity, createdAt }: Keypair): number {
    if (!isInitiator || this.#outstanding !== undefined) return Infinity;
    // Before the peer has used it, it may still be unconfirmed there, and would be replaced.
    if (activity.receivedAt === -Infinity) return Infinity;
    const { rekeyAfterMessages, rekeyAfterMs } = this.#context.limits;
    const messages = Math.max(activity.sendCounter, activity.receiveCounter + 1);
    if (messages >= rekeyAfterMessages) return -Infinity;
    const dueAt = createdAt + rekeyAfterMs;
    return Math.max(activity.sentAt, activity.payloadReceivedAt) > dueAt ? dueAt : Infinity;
  }

  /** When an empty datagram is due, to say that packets arrived or to keep the way open. */
  #keepaliveAt({ activity, createdAt }: Keypair): number {
    const { keepaliveMs, persistentKeepaliveMs } = this.#context.limits;
    const last = this.#lastKeepaliveAt;
    const passiveAt = activity.payloadReceivedAt > activity.sentAt
      ? Math.max(activity.unacknowledgedSince, last) + keepaliveMs
      : Infinity;
    if (!this.persistentKeepalive) return passiveAt;
    const persistentAt = Math.max(activity.sentAt, createdAt, last) + persistentKeepaliveMs;
    return Math.min(passiveAt, persistentAt);
  }

  /** When a keypair is taken out: its keys wiped, or nobody has confirmed it. */
  #endsAt({ createdAt, isConfirmed }: Keypair): number {
    const { wipeAfterMs, rejectAfterMs } = this.#context.limits;
    return createdAt + (isConfirmed ? wipeAfterMs : Math.min(UNCONFIRMED_MS, rejectAfterMs));
  }
}
