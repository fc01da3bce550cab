/**
 * What waits for one member of the relay: a lane per sender, served in turn by bytes (deficit round
 * robin, Shreedhar and Varghese 1995), so that one who sends much delays nobody else for longer
 * than a turn.
 *
 * What must hold: the queue never holds more than its limit; when it is full, whoever holds most of
 * it loses first.
 *
 * @module
 */

/** Bytes that one lane may send before it is the next one's turn; the longest message fits. */
const TURN_BYTES = 65_536;

/** A message that waits. */
export interface QueuedMessage {
  readonly message: Uint8Array;
  /** How many datagrams are in it. */
  readonly datagrams: number;
  /** Since when, on the scale of `Clock.now`. */
  readonly at: number;
}

interface Lane {
  readonly sender: string;
  readonly messages: QueuedMessage[];
  bytes: number;
  /** What is left of its turn, in bytes. */
  credit: number;
}

/** Messages for one member, by sender. */
export class FairQueue {
  readonly #maxBytes: number;
  readonly #lanes = new Map<string, Lane>();
  /** Lanes that are not empty; the first one's turn it is. */
  readonly #turns: Lane[] = [];
  #bytes = 0;

  /** @param maxBytes Never exceeded. */
  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes;
  }

  /** Bytes that wait. */
  get bytes(): number {
    return this.#bytes;
  }

  /**
   * Takes a message.
   *
   * @returns Datagrams that were lost for it, its own if it was not taken.
   */
  push(sender: string, queued: QueuedMessage): number {
    const { length } = queued.message;
    let lost = 0;
    while (this.#bytes + length > this.#maxBytes) {
      const longest = this.#longest();
      const own = this.#lanes.get(sender)?.bytes ?? 0;
      if (longest === undefined || longest.bytes <= own + length) return lost + queued.datagrams;
      lost += this.#take(longest).datagrams;
    }
    let lane = this.#lanes.get(sender);
    if (lane === undefined) {
      lane = { sender, messages: [], bytes: 0, credit: TURN_BYTES };
      this.#lanes.set(sender, lane);
      this.#turns.push(lane);
    }
    lane.messages.push(queued);
    lane.bytes += length;
    this.#bytes += length;
    return lost;
  }

  /** Takes the next message out; `undefined` if nothing waits. */
  next(): QueuedMessage | undefined {
    for (;;) {
      const [lane] = this.#turns;
      if (lane === undefined) return undefined;
      const { length } = lane.messages[0]!.message;
      if (length <= lane.credit) {
        lane.credit -= length;
        return this.#take(lane);
      }
      this.#turns.push(this.#turns.shift()!);
      lane.credit += TURN_BYTES;
    }
  }

  #longest(): Lane | undefined {
    let longest: Lane | undefined;
    for (const lane of this.#turns) {
      if (longest === undefined || lane.bytes > longest.bytes) longest = lane;
    }
    return longest;
  }

  #take(lane: Lane): QueuedMessage {
    const queued = lane.messages.shift()!;
    lane.bytes -= queued.message.length;
    this.#bytes -= queued.message.length;
    if (lane.messages.length === 0) {
      this.#lanes.delete(lane.sender);
      this.#turns.splice(this.#turns.indexOf(lane), 1);
    }
    return queued;
  }
}
