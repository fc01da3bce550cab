/**
 * A relay without sockets, and what members send to it.
 *
 * @module
 */

import { ok } from "node:assert/strict";
import { fromHex } from "../../lib/base/bytes.ts";
import { readU64Le } from "../../lib/base/integers.ts";
import {
  type RelayConnection,
  RelayHub,
  type RelaySocket,
} from "../../lib/coordinator/relay_hub.ts";
import type { RelayLimits } from "../../lib/coordinator/relay_limits.ts";
import { encodeLengthPrefixed } from "../../lib/wire/length_prefix.ts";
import type { RefusalError } from "../../lib/wire/refusal.ts";
import { FakeClock } from "../fakes/clock.ts";

/** Members of a {@linkcode Bench}. */
export const A = "aa".repeat(32);
export const B = "bb".repeat(32);
export const C = "cc".repeat(32);
/** Who is no member. */
export const STRANGER = "99".repeat(32);

/** A WebSocket that keeps what it was given. */
export class FakeSocket implements RelaySocket {
  bufferedAmount = 0;
  readonly sent: Uint8Array[] = [];
  /** Bytes that it may have sent in all, as the relay said last. */
  granted = 65_536;
  refusal: RefusalError | undefined;
  isAdmitted = false;
  /** Whether what is sent stays in the socket. */
  isStuck = false;

  send(message: Uint8Array): void {
    if (message.length === 8) {
      this.granted = readU64Le(message, 0);
      return;
    }
    this.sent.push(message);
    if (this.isStuck) this.bufferedAmount += message.length;
  }
  close(refusal: RefusalError): void {
    this.refusal = refusal;
  }
  admitted(): void {
    this.isAdmitted = true;
  }
}

/** A member, or who wants to be one. */
export interface Client {
  readonly socket: FakeSocket;
  readonly connection: RelayConnection;
}

/** A relay with the members A, B and C. */
export class Bench {
  readonly clock = new FakeClock();
  readonly hub: RelayHub;
  #nextTicket = 1;

  /** @param limits Instead of the defaults. */
  constructor(limits: Partial<RelayLimits> = {}) {
    this.hub = new RelayHub(this.clock, limits);
    this.hub.addMembers([A, B, C]);
  }

  /** A fresh ticket, which the relay knows. */
  ticket(nodeId: string): Uint8Array {
    const ticket = new Uint8Array(32).fill(this.#nextTicket++);
    this.hub.addTicket(nodeId, ticket);
    return ticket.slice();
  }

  /** A connection without a ticket. */
  open(): Client {
    const socket = new FakeSocket();
    return { socket, connection: this.hub.open(socket) };
  }

  /** A connection of a member. */
  connect(nodeId: string): Client {
    const client = this.open();
    client.connection.receive(this.ticket(nodeId));
    ok(client.socket.isAdmitted);
    return client;
  }
}

/** A message of these datagrams. */
export function messageTo(nodeId: string, ...datagrams: Uint8Array[]): Uint8Array {
  return Uint8Array.of(...fromHex(nodeId), ...encodeLengthPrefixed(...datagrams));
}

/** A message of one datagram of this length. */
export function bulkTo(nodeId: string, length: number): Uint8Array {
  const message = new Uint8Array(34 + length);
  message.set(fromHex(nodeId));
  message[32] = length & 0xff;
  message[33] = length >> 8;
  return message;
}

/** A datagram. */
export const ONE = Uint8Array.of(1, 2, 3);
