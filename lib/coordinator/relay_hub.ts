/**
 * The relay: takes messages of members and passes them on to members (protocol.md §6).
 *
 * ```
 * opened ──ticket──▶ bound to a node ──▶ closed
 *    message in:  destination node id 32 │ (length u16 │ datagram)…      ≤ 65,536 bytes in all
 *    message out: source node id 32      │ the same datagrams
 *    grant out:   bytes of messages that may have been sent since the ticket, u64
 * ```
 *
 * What must hold: the source is that of the ticket and nothing else; a message that is wrong in any
 * way is not passed on and ends its connection; what waits is bounded, for each member and in all;
 * one who reads slowly, or sends much, delays nobody else. What is in the datagrams is sealed, and
 * not looked at.
 *
 * No sockets here: those are relay_endpoint.ts. Who is a member is known from the registry's thread
 * (relay_desk.ts, relay_members.ts); what each may send, relay_grants.ts says.
 *
 * @module
 */

import { fromHex, toHex } from "../base/bytes.ts";
import type { Clock } from "../base/clock.ts";
import { readU16Le } from "../base/integers.ts";
import { RefusalError, type RefusalReason } from "../wire/refusal.ts";
import { type Allowance, RelayGrants } from "./relay_grants.ts";
import {
  DEFAULT_RELAY_LIMITS,
  MAX_RELAY_MESSAGE,
  type RelayLimits,
  RelayMeter,
} from "./relay_limits.ts";
import { RelayMembers } from "./relay_members.ts";
import { FairQueue } from "./relay_queue.ts";

const NODE_ID_LENGTH = 32;
/** How often a socket that was full is looked at: there is no event for that. */
const DRAIN_MS = 1;

/** Counters of a relay, for status and metrics. */
export interface RelayCounts {
  /** Members connected now. */
  connections: number;
  forwardedDatagrams: number;
  forwardedBytes: number;
  /** Datagrams lost since their receiver was too slow: no room, or waited too long. */
  queueFull: number;
  /** Datagrams lost since their sender sent too many or too much. */
  rateLimited: number;
  /** Datagrams lost since their receiver was not connected. */
  notConnected: number;
  /** Connections that were ended for what came on them, and such as had no good ticket. */
  refused: number;
}

/** Counters before anything happened. */
export function newRelayCounts(): RelayCounts {
  return {
    connections: 0,
    forwardedDatagrams: 0,
    forwardedBytes: 0,
    queueFull: 0,
    rateLimited: 0,
    notConnected: 0,
    refused: 0,
  };
}

/** What the registry's thread tells a relay. */
export interface RelayControl {
  /** These are members from here on, or again. */
  addMembers(nodeIds: readonly string[]): void;
  /** No member any longer: its connection and its tickets end at once. */
  removeMember(nodeId: string, reason: RefusalReason): void;
  /** This member may connect by this ticket, once, for a minute. */
  addTicket(nodeId: string, ticket: Uint8Array): void;
  /** Perhaps a second old. */
  readonly counts: Readonly<RelayCounts>;
}

/** One WebSocket, as far as the relay needs it. */
export interface RelaySocket {
  /** Bytes sent that have not left the process. */
  readonly bufferedAmount: number;
  /** Sends one message; owned by the socket. */
  send(message: Uint8Array): void;
  /** Ends the connection, and says why. */
  close(refusal: RefusalError): void;
  /** It has shown a good ticket. */
  admitted(): void;
}

/** The far side of a relay's socket. */
export interface RelayConnection {
  /** A message came; owned by the relay. */
  receive(message: Uint8Array): void;
  /** The far end is gone. */
  closed(): void;
}

interface Member {
  readonly nodeId: string;
  readonly id: Uint8Array;
  readonly socket: RelaySocket;
  readonly queue: FairQueue;
  readonly meter: RelayMeter;
  readonly allowance: Allowance;
}

/** Passes messages on. */
export class RelayHub implements RelayControl {
  readonly counts: RelayCounts = newRelayCounts();
  readonly #clock: Clock;
  readonly #limits: RelayLimits;
  readonly #members: RelayMembers;
  readonly #grants: RelayGrants;
  readonly #connected = new Map<string, Member>();
  /** Members for whom something waits. */
  readonly #waiting = new Set<Member>();
  #queuedBytes = 0;
  #cancelDrain: (() => void) | undefined;

  constructor(clock: Clock, limits: Partial<RelayLimits> = {}) {
    this.#clock = clock;
    this.#limits = { ...DEFAULT_RELAY_LIMITS, ...limits };
    this.#members = new RelayMembers(clock);
    this.#grants = new RelayGrants(clock, this.#limits.totalWindowBytes);
  }

  /** Bytes that wait outside of sockets. */
  get queuedBytes(): number {
    return this.#queuedBytes;
  }

  /** @inheritdoc */
  addMembers(nodeIds: readonly string[]): void {
    this.#members.add(nodeIds);
  }

  /** @inheritdoc */
  removeMember(nodeId: string, reason: RefusalReason): void {
    this.#members.remove(nodeId);
    const member = this.#connected.get(nodeId);
    if (member !== undefined) this.#end(member, new RefusalError(reason));
  }

  /** @inheritdoc */
  addTicket(nodeId: string, ticket: Uint8Array): void {
    this.#members.addTicket(nodeId, ticket);
  }

  /** Somebody joins: those who send are not asked for more for a moment. */
  giveWay(): void {
    this.#grants.giveWay();
  }

  /** A WebSocket was opened. Until it shows a ticket it costs nothing here. */
  open(socket: RelaySocket): RelayConnection {
    let member: Member | undefined;
    let isOver = false;
    const refuse = (refusal: RefusalError) => {
      isOver = true;
      this.counts.refused++;
      if (member === undefined) socket.close(refusal);
      else this.#end(member, refusal);
    };
    return {
      receive: (message) => {
        if (isOver) return;
        // A connection that was ended from this side may still have messages on the way.
        if (member !== undefined && this.#connected.get(member.nodeId) !== member) return;
        try {
          if (member === undefined) member = this.#admit(socket, message);
          else this.#forward(member, message);
        } catch (error) {
          if (!(error instanceof RefusalError)) throw error;
          refuse(error);
        }
      },
      closed: () => {
        isOver = true;
        if (member !== undefined) this.#forget(member);
      },
    };
  }

  /** Ends everything. */
  stop(): void {
    for (const member of [...this.#connected.values()]) {
      this.#end(member, new RefusalError("shutdown"));
    }
    this.#cancelDrain?.();
    this.#cancelDrain = undefined;
    this.#grants.stop();
  }

  /** Binds a connection to the node of its ticket, which is spent. */
  #admit(socket: RelaySocket, message: Uint8Array): Member {
    const nodeId = this.#members.redeem(message);
    const older = this.#connected.get(nodeId);
    if (older !== undefined) this.#end(older, new RefusalError("newer-connection"));
    const member: Member = {
      nodeId,
      id: fromHex(nodeId),
      socket,
      queue: new FairQueue(this.#limits.queueBytes),
      meter: new RelayMeter(this.#limits, this.#clock.now()),
      allowance: this.#grants.open((grant) => socket.send(grant)),
    };
    this.#connected.set(nodeId, member);
    this.counts.connections++;
    socket.admitted();
    return member;
  }

  #forward(from: Member, message: Uint8Array): void {
    this.#grants.count(from.allowance, message.length);
    const datagrams = countDatagrams(message);
    if (datagrams === 0) throw new RefusalError("bad-message");
    const destination = toHex(message.subarray(0, NODE_ID_LENGTH));
    if (destination === from.nodeId) throw new RefusalError("bad-message");
    if (!this.#members.has(destination)) {
      if (!this.#members.wasLately(destination)) {
        throw new RefusalError("bad-message", "the destination of a relayed message is no member");
      }
      this.counts.notConnected += datagrams;
      return;
    }
    if (!from.meter.spend(message.length, datagrams, this.#clock.now())) {
      this.counts.rateLimited += datagrams;
      return;
    }
    const to = this.#connected.get(destination);
    if (to === undefined) {
      this.counts.notConnected += datagrams;
      return;
    }
    message.set(from.id);
    if (to.queue.bytes > 0) this.#drain(to);
    if (to.queue.bytes === 0 && to.socket.bufferedAmount < this.#limits.socketBytes) {
      this.#send(to, message, datagrams);
    } else this.#queue(from, to, message, datagrams);
  }

  #send({ socket }: Member, message: Uint8Array, datagrams: number): void {
    this.counts.forwardedDatagrams += datagrams;
    this.counts.forwardedBytes += message.length;
    socket.send(message);
  }

  #queue(from: Member, to: Member, message: Uint8Array, datagrams: number): void {
    if (this.#queuedBytes + message.length > this.#limits.totalQueueBytes) {
      this.counts.queueFull += datagrams;
      return;
    }
    this.#queuedBytes -= to.queue.bytes;
    this.counts.queueFull += to.queue.push(from.nodeId, {
      message,
      datagrams,
      at: this.#clock.now(),
    });
    this.#queuedBytes += to.queue.bytes;
    if (to.queue.bytes > 0) this.#waiting.add(to);
    this.#armDrain();
  }

  /** Sends what waits for a member, as far as its socket takes it. */
  #drain(to: Member): void {
    const oldest = this.#clock.now() - this.#limits.maxWaitMs;
    while (to.socket.bufferedAmount < this.#limits.socketBytes) {
      const next = to.queue.next();
      if (next === undefined) break;
      this.#queuedBytes -= next.message.length;
      if (next.at < oldest) {
        this.counts.queueFull += next.datagrams;
        continue;
      }
      this.#send(to, next.message, next.datagrams);
    }
    if (to.queue.bytes === 0) this.#waiting.delete(to);
  }

  #armDrain(): void {
    if (this.#cancelDrain !== undefined || this.#waiting.size === 0) return;
    this.#cancelDrain = this.#clock.schedule(this.#clock.now() + DRAIN_MS, () => {
      this.#cancelDrain = undefined;
      for (const member of this.#waiting) this.#drain(member);
      this.#armDrain();
    });
  }

  #end(member: Member, refusal: RefusalError): void {
    this.#forget(member);
    member.socket.close(refusal);
  }

  #forget(member: Member): void {
    if (this.#connected.get(member.nodeId) !== member) return;
    this.#connected.delete(member.nodeId);
    this.#grants.close(member.allowance);
    this.counts.connections--;
    this.#waiting.delete(member);
    this.#queuedBytes -= member.queue.bytes;
  }
}

/** How many datagrams a message holds; 0 if it is not made of whole ones that are not empty. */
function countDatagrams(message: Uint8Array): number {
  if (message.length > MAX_RELAY_MESSAGE) return 0;
  let count = 0;
  let at = NODE_ID_LENGTH;
  while (at + 2 <= message.length) {
    const length = readU16Le(message, at);
    if (length === 0) return 0;
    at += 2 + length;
    count++;
  }
  return at === message.length ? count : 0;
}
