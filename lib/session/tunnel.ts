/**
 * The peer-long machine: handshakes in either role, the keypairs they leave, and when each comes.
 *
 * As initiator ({@linkcode Initiator}) it acts when a session is wanted, a keypair in use gets old,
 * the peer is silent, or data strayed in. As responder it answers whatever else is going on: that
 * leads to an unconfirmed keypair, which displaces nothing.
 *
 * Actions are appended to `out`, in the order in which they have to be carried out.
 *
 * @module
 */

import { compareBytes, wipe } from "../base/bytes.ts";
import type { Cookie, Initiation, Response } from "../wire/datagram.ts";
import { encodeBye, encodePathReport } from "../wire/inner_control.ts";
import { AcceptedResponse } from "./accepted_response.ts";
import type { Action } from "./actions.ts";
import { Echoes } from "./echoes.ts";
import { type HandshakeResult, type ReadInitiation, writeResponse } from "./handshake_messages.ts";
import { Initiator, type Outstanding, type Over } from "./initiator.ts";
import { Keepalive } from "./keepalive.ts";
import type { Keypair } from "./keypair.ts";
import { KeypairSlots, type Slot } from "./keypair_slots.ts";
import { REPEAT_ANSWER_MS, WATCH_INTERVAL_MS } from "./limits.ts";
import type { Path } from "./path.ts";
import { PeerKeypairs, type Wiping } from "./peer_keypairs.ts";
import { rekeyAt } from "./timers.ts";
import { TIMESTAMP_LENGTH } from "./timestamp.ts";
import type { TunnelContext, TunnelPeer } from "./tunnel_context.ts";

const EMPTY = new Uint8Array(0);

/** Everything between this node and one peer. */
export class Tunnel {
  readonly nodeId: string;
  readonly staticKey: Uint8Array;
  readonly mac1Key: Uint8Array;
  /** When to send empty datagrams. */
  readonly keepalive = new Keepalive();
  readonly echoes: Echoes;
  readonly slots: KeypairSlots;
  readonly #keypairs: PeerKeypairs;
  readonly #context: TunnelContext<Tunnel>;
  readonly #initiator: Initiator;
  readonly #accepted = new AcceptedResponse();
  /** Timestamp of the last initiation taken from the peer. */
  #lastTimestamp: Uint8Array = new Uint8Array(TIMESTAMP_LENGTH);
  #lastHandshakeAt: number | undefined;
  #handshakes = 0;
  #watchAt = -Infinity;
  /** The peer was removed, perhaps while one of its messages was being read. */
  #isEnded = false;

  /** Starts with nothing. */
  constructor(peer: TunnelPeer, context: TunnelContext<Tunnel>) {
    this.nodeId = peer.nodeId;
    this.staticKey = peer.staticKey;
    this.mac1Key = peer.mac1Key;
    this.#context = context;
    this.echoes = new Echoes(peer.nodeId, context);
    this.#initiator = new Initiator(context, peer, {
      allocate: () => context.indices.allocate(this),
      free: (index) => context.indices.free(index),
    });
    this.slots = new KeypairSlots(compareBytes(context.staticKey.publicKey, peer.staticKey) < 0);
    this.#keypairs = new PeerKeypairs(peer.nodeId, this.slots, context);
  }

  /** The initiation that waits for its response. */
  get outstanding(): Uint8Array | undefined {
    return this.#initiator.outstanding?.datagram;
  }

  /** When the last handshake completed here that led to a confirmed keypair. */
  get lastHandshakeAt(): number | undefined {
    return this.#lastHandshakeAt;
  }

  /** How many of them there were. */
  get handshakes(): number {
    return this.#handshakes;
  }

  /** Called when a session is wanted. */
  want(now: number, out: Action[]): void {
    const { outstanding } = this.#initiator;
    if (outstanding === undefined) {
      if (this.#keypairs.usable(now) === undefined || this.echoes.liveness.isSilent) {
        this.handshake(now, out);
      }
    } else if (outstanding.over !== undefined) {
      outstanding.over = undefined;
      out.push({ kind: "send", peer: this.nodeId, datagram: outstanding.datagram });
    }
  }

  /** Starts a handshake whatever there is, everywhere unless said otherwise. */
  handshake(now: number, out: Action[], over?: Over): void {
    const { datagram } = this.#begin(now, over);
    this.#send(datagram, over, out);
  }

  /** Called when data strayed in: the outstanding initiation, or a new one, to both ends. */
  heal(from: Path, bound: Path | undefined, now: number, out: Action[]): void {
    const { datagram } = this.#initiator.outstanding ?? this.#begin(now);
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
    const localIndex = indices.allocate(this);
    const written = writeResponse(this.#context, this, read, localIndex);
    if (typeof written === "string") {
      indices.free(localIndex);
      return void out.push({ kind: "drop", reason: written });
    }
    if (this.#isEnded) {
      indices.free(localIndex);
      return refuseEnded(written, out);
    }
    this.#lastTimestamp = read.timestamp;
    // "a newer initiation of that peer replaces it"
    const replaced = this.slots.unconfirmed;
    if (replaced !== undefined) this.#keypairs.retire(replaced, out);

    const { datagram } = written;
    const slot = this.#keypairs.add(
      written,
      { local: localIndex, remote: read.senderIndex },
      { candidates: [path] },
      now,
      out,
    );
    const { outstanding } = this.#initiator;
    if (outstanding !== undefined) outstanding.crossedBy = slot;
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

  /** Called when an initiation of ours goes out by a path; see `Sessions.goingBy`. */
  goingBy(path: Path, datagram: Uint8Array): Uint8Array {
    return this.#initiator.goingBy(path, datagram);
  }

  /** Called with a cookie to the index of our initiation: sends the same once more. */
  takeCookie(cookie: Cookie, path: Path, out: Action[]): void {
    const taken = this.#initiator.takeCookie(cookie, path);
    if (typeof taken === "string") out.push({ kind: "drop", reason: taken });
    else out.push({ kind: "reply", datagram: taken, path });
  }

  /** Called with a response to the index of our initiation; its mac1 was right. */
  complete(response: Response, path: Path, now: number, out: Action[]): void {
    if (this.#accepted.isCopy(response)) return this.#acceptAgain(path, now, out);
    const completed = this.#initiator.complete(response);
    if (typeof completed === "string") return void out.push({ kind: "drop", reason: completed });
    if (this.#isEnded) return refuseEnded(completed.keys, out);

    const { keys, outstanding: { localIndex, crossedBy } } = completed;
    const slot = this.#keypairs.add(
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
    this.#accepted.remember(response, slot.keypair, path);
    out.push({ kind: "install", keypair: slot.keypair });
    this.#establish(slot, now, out);
    // "On completing a handshake the initiator sends at once: queued data, else an empty datagram."
    out.push({ kind: "seal", keypair: slot.keypair, plaintext: EMPTY, onlyIfUnused: true });
  }

  /** Called with a copy of the response that completed the last own handshake. */
  #acceptAgain(path: Path, now: number, out: Action[]): void {
    if (this.#accepted.proves(path, now)) out.push({ kind: "proven", peer: this.nodeId, path });
    else out.push({ kind: "drop", reason: "no-handshake-outstanding" });
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
    const keypair = this.#keypairs.usable(now);
    if (keypair !== undefined) return this.echoes.ask(keypair, now, true, out);
    this.echoes.wantPing();
    this.want(now, out);
  }

  /** Sends an echo for its length, if there is a session to send it by. */
  probe(size: number, how: "whole" | "in-fragments", now: number, out: Action[]): void {
    const keypair = this.#keypairs.usable(now);
    if (keypair !== undefined) this.echoes.probe(keypair, size, how, out);
  }

  /** Tells the peer something about paths, if there is a session to tell it by. */
  report(body: Uint8Array, now: number, out: Action[]): void {
    const keypair = this.#keypairs.usable(now);
    if (keypair !== undefined) {
      out.push({ kind: "seal", keypair, plaintext: encodePathReport(body) });
    }
  }

  /** Called when the peer says, by this keypair, that its sessions are over. */
  leave(slot: Slot, now: number, out: Action[]): void {
    for (const other of [...this.slots.all]) {
      // A bye may be overtaken by the handshake of the next start.
      if (other.ordinal <= slot.ordinal) this.#keypairs.retire(other, out);
    }
    const newest = this.slots.all.findLast((other) => other.keypair.isConfirmed);
    if (this.slots.current === undefined && newest !== undefined) this.#use(newest, now, out);
    if (this.slots.all.length === 0) out.push({ kind: "left", peer: this.nodeId });
  }

  /** Tells the peer that its sessions are over. Before {@linkcode end}, which wipes the keys. */
  bye(now: number, out: Action[]): void {
    const keypair = this.#keypairs.usable(now);
    if (keypair !== undefined) out.push({ kind: "seal", keypair, plaintext: encodeBye() });
  }

  /** Ends everything at once, in both directions. */
  end(out: Action[], wiping: Wiping = "at-once"): void {
    this.#isEnded = true;
    this.#initiator.abandon();
    this.#keypairs.retireAll(out, wiping);
    this.#context.answers.forget(this.nodeId);
  }

  /** Does what is due. */
  tick(now: number, out: Action[]): void {
    if (now >= this.#context.answers.expiresAt(this.nodeId)) {
      this.#context.answers.forget(this.nodeId);
    }
    this.#keypairs.retireAged(now, out);
    if (now >= this.#initiator.deadlineAt) this.#retry(now, out);
    const keypair = this.#keypairs.usable(now);
    if (keypair !== undefined) return this.#watch(keypair, now, out);
    this.slots.setCurrent(undefined);
    if (this.keepalive.wantsSession(this.slots.all, now)) this.want(now, out);
  }

  /** When {@linkcode tick} has to be called next; `Infinity` if nothing is going on. */
  nextDeadlineAt(now: number): number {
    const { answers, limits } = this.#context;
    const at = Math.min(
      answers.expiresAt(this.nodeId),
      this.#initiator.deadlineAt,
      this.#keypairs.nextAgedAt(),
    );
    const keypair = this.#keypairs.usable(now);
    if (keypair === undefined) {
      const isDue = this.slots.current !== undefined ||
        (this.outstanding === undefined && this.keepalive.wantsSession(this.slots.all, now));
      return isDue ? Math.min(at, now) : at;
    }
    return Math.min(
      at,
      keypair.createdAt + limits.rejectAfterMs,
      this.#watchAt,
      this.#rekeyAt(keypair),
      this.keepalive.nextAt(keypair, this.slots.all, limits),
      this.echoes.liveness.nextAt(keypair),
    );
  }

  #begin(now: number, over?: Over): Outstanding {
    return this.#initiator.begin(
      { wantedAt: now, servedFrom: this.slots.nextOrdinal, over },
      now,
    );
  }

  /** Called when nobody has answered the initiation under way. */
  #retry(now: number, out: Action[]): void {
    if (this.#isServed(now)) return this.#initiator.abandon();
    const outstanding = this.#initiator.again(now);
    if (outstanding !== undefined) return this.#send(outstanding.datagram, undefined, out);
    this.echoes.liveness.gaveUp(now);
    this.keepalive.gaveUp(now);
    out.push({ kind: "gave-up", peer: this.nodeId });
  }

  /** Whether another keypair does what the outstanding initiation was sent for. */
  #isServed(now: number): boolean {
    const { current } = this.slots;
    const { outstanding } = this.#initiator;
    if (current === undefined || this.#keypairs.usable(now) === undefined) return false;
    if (outstanding === undefined || this.echoes.liveness.isSilent) return false;
    return outstanding.over !== undefined || current.ordinal >= outstanding.servedFrom;
  }

  #send(datagram: Uint8Array, over: Over | undefined, out: Action[]): void {
    const where = over === "better" ? { over } : over && { path: over };
    out.push({ kind: "send", peer: this.nodeId, datagram, ...where });
  }

  /** Called when a keypair is confirmed: it can be sent with, if it is the one to be. */
  #establish(slot: Slot, now: number, out: Action[]): void {
    this.#handshakes++;
    this.#lastHandshakeAt = slot.keypair.createdAt;
    const { current } = this.slots;
    if (!this.slots.supersedes(slot)) return this.#prove(slot, out);
    const { outstanding } = this.#initiator;
    if (outstanding !== undefined && this.#makesNeedless(slot, outstanding)) {
      this.#initiator.abandon();
    }
    this.#use(slot, now, out);
    if (current !== undefined && slot.rival === current) this.#prove(current, out);
  }

  /** What lost a crossing worked all the same, and perhaps by a better path than the winner. */
  #prove({ keypair: { path } }: Slot, out: Action[]): void {
    if (path !== undefined) out.push({ kind: "proven", peer: this.nodeId, path });
  }

  /** Whether a keypair of the peer's handshake ends our own one. */
  #makesNeedless(slot: Slot, { crossedBy, wantedAt, over }: Outstanding): boolean {
    // Ours wins a crossing: it may still complete, though nobody waits for it.
    if (crossedBy === slot) return !this.slots.isOurKeySmaller;
    return over === undefined && slot.keypair.createdAt >= wantedAt - REPEAT_ANSWER_MS;
  }

  #use(slot: Slot, now: number, out: Action[]): void {
    const before = this.slots.current?.keypair.path?.key;
    const isPingOpen = this.echoes.takeOpenPings();
    this.slots.setCurrent(slot);
    this.echoes.liveness.reset(before !== slot.keypair.path?.key);
    this.#watchAt = -Infinity;
    out.push({ kind: "use", keypair: slot.keypair });
    if (isPingOpen) this.echoes.ask(slot.keypair, now, true, out);
  }

  /** Looks at what the data plane wrote down about the keypair in use. */
  #watch(keypair: Keypair, now: number, out: Action[]): void {
    // What works is not given up for whoever answers first; other paths come with the next try.
    if (now >= this.#rekeyAt(keypair)) {
      this.#send(this.#begin(now).datagram, keypair.path, out);
    }
    switch (this.echoes.liveness.due(keypair, now)) {
      case "echo":
        this.echoes.ask(keypair, now, false, out);
        out.push({ kind: "unanswered", peer: this.nodeId });
        break;
      case "silent":
        this.want(now, out);
        break;
      case undefined:
    }
    if (now >= this.keepalive.nextAt(keypair, this.slots.all, this.#context.limits)) {
      this.keepalive.sent(now);
      out.push({ kind: "seal", keypair, plaintext: EMPTY });
    }
    this.#watchAt = now + Math.min(WATCH_INTERVAL_MS, this.#context.limits.rejectAfterMs / 20);
  }

  #rekeyAt(keypair: Keypair): number {
    return this.outstanding === undefined ? rekeyAt(keypair, this.#context.limits) : Infinity;
  }
}

/** Called when the peer was removed during its handshake: as if it had been removed before. */
function refuseEnded({ sendKey, receiveKey }: HandshakeResult, out: Action[]): void {
  wipe(sendKey);
  wipe(receiveKey);
  out.push({ kind: "drop", reason: "unknown-static-key" });
}
