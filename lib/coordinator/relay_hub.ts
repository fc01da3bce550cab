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
 * Grants exist because messages are handled as fast as they come: one who sends without end would
 * have this thread to itself. 65,536 bytes are granted by the protocol; relay_pace.ts says how many
 * more, and when.
 *
 * What must hold: the source is that of the ticket and nothing else; a message that is wrong in any
 * way is not passed on and ends its connection; what waits is bounded, for each member and in all;
 * one who reads slowly, or sends much, delays nobody else. What is in the datagrams is sealed, and
 * not looked at.
 *
 * No sockets here: those are relay_endpoint.ts. It knows members and tickets by what the registry's
 * thread tells it (relay_desk.ts).
 *
 * @module
 */

import { fromHex, toHex } from "../base/bytes.ts";
import type { Clock } from "../base/clock.ts";
import { readU16Le, writeU64Le } from "../base/integers.ts";
import { RefusalError, type RefusalReason } from "../wire/refusal.ts";
import {
  DEFAULT_RELAY_LIMITS,
  RELAY_FIRST_WINDOW,
  type RelayLimits,
  RelayMeter,
} from "./relay_limits.ts";
import { RelayPace } from "./relay_pace.ts";
import { FairQueue } from "./relay_queue.ts";

/** Bytes of a ticket. */
export const RELAY_TICKET_LENGTH = 32;
/** Most bytes of a message. */
export const MAX_RELAY_MESSAGE = 65_536;
const NODE_ID_LENGTH = 32;
/** How long a ticket is good. */
const TICKET_MS = 60_000;
/** Tickets that one member may hold; beyond that the oldest goes. */
const MAX_TICKETS_OF_NODE = 4;
/** How long others may go on sending to one who is a member no longer, before they could know. */
const FORMER_MS = 30_000;
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
  /** Bytes of messages that came, and that may come. */
  received: number;
  granted: number;
  /** How much it may have on the way; grows to its share. */
  windowBytes: number;
  /** When the last one came. */
  sentAt: number;
}

/** Passes messages on. */
export class RelayHub implements RelayControl {
  readonly counts: RelayCounts = newRelayCounts();
  readonly #clock: Clock;
  readonly #limits: RelayLimits;
  readonly #members = new Set<string>();
  /** When the others must have heard that one is a member no longer. */
  readonly #former = new Map<string, number>();
  /** By their hex digits, the oldest first. */
  readonly #tickets = new Map<string, { readonly nodeId: string; readonly until: number }>();
  readonly #connected = new Map<string, Member>();
  /** Members for whom something waits. */
  readonly #waiting = new Set<Member>();
  #queuedBytes = 0;
  readonly #pace: RelayPace;
  /** Bytes of messages of all members. */
  #receivedBytes = 0;
  #cancelDrain: (() => void) | undefined;
  /** Members that are to be granted more when this thread comes to it. */
  readonly #granting = new Set<Member>();
  #cancelGrant: (() => void) | undefined;

  constructor(clock: Clock, limits: Partial<RelayLimits> = {}) {
    this.#clock = clock;
    this.#limits = { ...DEFAULT_RELAY_LIMITS, ...limits };
    this.#pace = new RelayPace(this.#limits.totalWindowBytes);
  }

  /** Bytes that wait outside of sockets. */
  get queuedBytes(): number {
    return this.#queuedBytes;
  }

  /** @inheritdoc */
  addMembers(nodeIds: readonly string[]): void {
    for (const nodeId of nodeIds) {
      this.#members.add(nodeId);
      this.#former.delete(nodeId);
    }
  }

  /** @inheritdoc */
  removeMember(nodeId: string, reason: RefusalReason): void {
    const now = this.#clock.now();
    for (const [former, until] of this.#former) if (until <= now) this.#former.delete(former);
    if (this.#members.delete(nodeId)) this.#former.set(nodeId, now + FORMER_MS);
    for (const [key, ticket] of this.#tickets) {
      if (ticket.nodeId === nodeId) this.#tickets.delete(key);
    }
    const member = this.#connected.get(nodeId);
    if (member !== undefined) this.#end(member, new RefusalError(reason));
  }

  /** @inheritdoc */
  addTicket(nodeId: string, ticket: Uint8Array): void {
    const now = this.#clock.now();
    const own: string[] = [];
    for (const [key, known] of this.#tickets) {
      if (known.until <= now) this.#tickets.delete(key);
      else if (known.nodeId === nodeId) own.push(key);
    }
    if (own.length >= MAX_TICKETS_OF_NODE) this.#tickets.delete(own[0]!);
    this.#tickets.set(toHex(ticket), { nodeId, until: now + TICKET_MS });
  }

  /** Somebody joins: those who send are not asked for more for a moment. */
  giveWay(): void {
    this.#pace.giveWay(this.#clock.now());
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
    this.#cancelGrant?.();
    this.#cancelGrant = undefined;
  }

  /** Binds a connection to the node of its ticket, which is spent. */
  #admit(socket: RelaySocket, message: Uint8Array): Member {
    if (message.length !== RELAY_TICKET_LENGTH) throw new RefusalError("bad-message");
    const now = this.#clock.now();
    const key = toHex(message);
    const ticket = this.#tickets.get(key);
    this.#tickets.delete(key);
    if (ticket === undefined || ticket.until <= now || !this.#members.has(ticket.nodeId)) {
      throw new RefusalError("bad-ticket");
    }
    const { nodeId } = ticket;
    const older = this.#connected.get(nodeId);
    if (older !== undefined) this.#end(older, new RefusalError("newer-connection"));
    const member: Member = {
      nodeId,
      id: fromHex(nodeId),
      socket,
      queue: new FairQueue(this.#limits.queueBytes),
      meter: new RelayMeter(this.#limits, now),
      received: 0,
      granted: RELAY_FIRST_WINDOW,
      windowBytes: RELAY_FIRST_WINDOW,
      sentAt: -Infinity,
    };
    this.#connected.set(nodeId, member);
    this.counts.connections++;
    socket.admitted();
    return member;
  }

  #forward(from: Member, message: Uint8Array): void {
    this.#count(from, message.length);
    const datagrams = countDatagrams(message);
    if (datagrams === 0) throw new RefusalError("bad-message");
    const destination = toHex(message.subarray(0, NODE_ID_LENGTH));
    if (destination === from.nodeId) throw new RefusalError("bad-message");
    if (!this.#members.has(destination)) {
      if ((this.#former.get(destination) ?? -Infinity) <= this.#clock.now()) {
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

  /** Holds a member to what it was granted, and sees to it that it is granted more in time. */
  #count(from: Member, length: number): void {
    from.received += length;
    if (from.received > from.granted) {
      throw new RefusalError("bad-message", "more was sent to the relay than it granted");
    }
    this.#receivedBytes += length;
    from.sentAt = this.#clock.now();
    const windowBytes = Math.min(from.windowBytes, this.#shareOf(from.sentAt));
    const isEnough = from.granted - from.received >= Math.max(windowBytes / 2, MAX_RELAY_MESSAGE);
    if (isEnough) return;
    this.#granting.add(from);
    this.#armGrant();
  }

  /** Not at once: what this thread has no time for must not be asked for. */
  #armGrant(): void {
    if (this.#cancelGrant !== undefined) return;
    const receivedBytes = this.#receivedBytes;
    this.#cancelGrant = this.#clock.schedule(this.#clock.now(), () => {
      this.#cancelGrant = undefined;
      this.#pace.cameAfter(this.#receivedBytes - receivedBytes);
      this.#grantAll();
    });
  }

  #grantAll(): void {
    const now = this.#clock.now();
    const at = this.#pace.grantAt(now);
    if (at > now) {
      // Somebody joins.
      this.#cancelGrant = this.#clock.schedule(at, () => {
        this.#cancelGrant = undefined;
        this.#grantAll();
      });
    } else {
      for (const member of this.#granting) this.#grant(member);
      this.#granting.clear();
    }
  }

  #grant(to: Member): void {
    if (this.#connected.get(to.nodeId) !== to) return;
    // By steps, so that many who begin at once are not granted what is one's alone.
    to.windowBytes = Math.min(this.#shareOf(this.#clock.now()), to.windowBytes * 2);
    to.granted = Math.max(to.granted, to.received + to.windowBytes);
    const grant = new Uint8Array(8);
    writeU64Le(grant, 0, to.granted);
    to.socket.send(grant);
  }

  #shareOf(now: number): number {
    return this.#pace.shareOf(now, this.#connected.values());
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
