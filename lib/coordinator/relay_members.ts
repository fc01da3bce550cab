/**
 * Who may use the relay: the members, as the registry's thread tells them, and the tickets by which
 * they connect.
 *
 * @module
 */

import { toHex } from "../base/bytes.ts";
import type { Clock } from "../base/clock.ts";
import { RefusalError } from "../wire/refusal.ts";

/** Bytes of a ticket. */
export const RELAY_TICKET_LENGTH = 32;
/** How long a ticket is good. */
const TICKET_MS = 60_000;
/** Tickets that one member may hold; beyond that the oldest goes. */
const MAX_TICKETS_OF_NODE = 4;
/** How long others may go on sending to one who is a member no longer, before they could know. */
const FORMER_MS = 30_000;

/** Members by node id, with their tickets. */
export class RelayMembers {
  readonly #clock: Clock;
  readonly #members = new Set<string>();
  /** When the others must have heard that one is a member no longer. */
  readonly #former = new Map<string, number>();
  /** By their hex digits, the oldest first. */
  readonly #tickets = new Map<string, { readonly nodeId: string; readonly until: number }>();

  /** Starts with nobody. */
  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Whether this is a member now. */
  has(nodeId: string): boolean {
    return this.#members.has(nodeId);
  }

  /** Whether this was a member until so lately that others need not have heard. */
  wasLately(nodeId: string): boolean {
    return (this.#former.get(nodeId) ?? -Infinity) > this.#clock.now();
  }

  /** These are members from here on, or again. */
  add(nodeIds: readonly string[]): void {
    for (const nodeId of nodeIds) {
      this.#members.add(nodeId);
      this.#former.delete(nodeId);
    }
  }

  /** No member any longer: its tickets end at once. */
  remove(nodeId: string): void {
    const now = this.#clock.now();
    for (const [former, until] of this.#former) if (until <= now) this.#former.delete(former);
    if (this.#members.delete(nodeId)) this.#former.set(nodeId, now + FORMER_MS);
    for (const [key, ticket] of this.#tickets) {
      if (ticket.nodeId === nodeId) this.#tickets.delete(key);
    }
  }

  /** This member may connect by this ticket, once, for a minute. */
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

  /**
   * Whose ticket this is, which is spent by that.
   *
   * @throws {RefusalError} when it is none, or good no longer.
   */
  redeem(message: Uint8Array): string {
    if (message.length !== RELAY_TICKET_LENGTH) throw new RefusalError("bad-message");
    const now = this.#clock.now();
    const key = toHex(message);
    const ticket = this.#tickets.get(key);
    this.#tickets.delete(key);
    if (ticket === undefined || ticket.until <= now || !this.#members.has(ticket.nodeId)) {
      throw new RefusalError("bad-ticket");
    }
    return ticket.nodeId;
  }
}
