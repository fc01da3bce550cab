/**
 * The relay as the registry's thread sees it: hands out tickets, and keeps the relay's copy of the
 * list of members true.
 *
 * @module
 */

import { randomBytes } from "../crypto/random.ts";
import type { RefusalReason } from "../wire/refusal.ts";
import type { RelayControl } from "./relay_hub.ts";
import { RELAY_TICKET_LENGTH } from "./relay_members.ts";

/** Tickets and members. */
export class RelayDesk {
  readonly #relay: RelayControl | undefined;

  /**
   * @param relay `undefined` where there is none.
   * @param members Node ids of those there are.
   */
  constructor(relay: RelayControl | undefined, members: Iterable<string>) {
    this.#relay = relay;
    relay?.addMembers([...members]);
  }

  /** A node is a member, now or as before. */
  admit(nodeId: string): void {
    this.#relay?.addMembers([nodeId]);
  }

  /** A node is none any more: nothing more is relayed from or to it. */
  expel(nodeId: string, reason: RefusalReason): void {
    this.#relay?.removeMember(nodeId, reason);
  }

  /** A ticket for a member; `undefined` without a relay. */
  ticketFor(nodeId: string): Uint8Array | undefined {
    if (this.#relay === undefined) return undefined;
    const ticket = randomBytes(RELAY_TICKET_LENGTH);
    this.#relay.addTicket(nodeId, ticket.slice());
    return ticket;
  }
}
