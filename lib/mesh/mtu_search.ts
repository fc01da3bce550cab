/**
 * The search for the largest packet that fits a path, by echoes of several lengths at a time: which
 * to send next, and what their answers say. Holds no clock: whoever asks for the next step has waited
 * for the answers to the one before.
 *
 * ```text
 *  wanted size, up to three times ── answered ──► found
 *        │ in vain, but short ones are answered
 *        ▼
 *  usual sizes below it, twice ──► between the largest answered and the smallest in vain ──► found
 * ```
 *
 * Nothing is concluded where nothing at all is answered: then the path is dead, not narrow.
 *
 * @module
 */

/** MTUs that links have: Ethernet, PPPoE, tunnels in tunnels, the least of IPv6 and of IPv4. */
const USUAL_MTUS = [
  ...[1500, 1492, 1480, 1460, 1440, 1420, 1400, 1380, 1360, 1340, 1320, 1300, 1280],
  ...[1200, 1024, 576],
];
/** An echo that fits everywhere. */
const SHORT = 64;
/** How often the wanted size is tried, and how often any other: ours, since links lose packets. */
const WANTED_TRIES = 3;
const OTHER_TRIES = 2;
/** Lengths tried at a time between two that are known. */
const AT_A_TIME = 8;

/** What a search starts from. Sizes are those of inner packets. */
export interface MtuSearchOptions {
  /** The largest that may fit. */
  readonly wanted: number;
  /** What the path adds to an inner packet: headers of IP, UDP and the datagram. */
  readonly overhead: number;
  /** Whether there is reason to think that it does not fit. @default {false} */
  readonly isDoubtful?: boolean;
}

/** One search. */
export class MtuSearch {
  readonly #wanted: number;
  readonly #usual: readonly number[];
  readonly #isDoubtful: boolean;
  #steps = 0;
  #proven = 0;
  /** Smallest size above `#proven` that was tried in vain, once the usual ones have been tried. */
  #refuted: number | undefined;
  #asked: readonly number[] = [];
  #triesLeft = OTHER_TRIES;
  readonly #answered = new Set<number>();

  /** Nothing is sent yet. */
  constructor({ wanted, overhead, isDoubtful = false }: MtuSearchOptions) {
    this.#wanted = wanted;
    this.#isDoubtful = isDoubtful;
    this.#usual = USUAL_MTUS.map((mtu) => mtu - overhead)
      .filter((size) => size > SHORT && size < wanted);
  }

  /** The largest size that was answered; 0 before. */
  get proven(): number {
    return this.#proven;
  }

  /** The smallest size that is known not to fit; `undefined` while the wanted one still may. */
  get refuted(): number | undefined {
    return this.#refuted;
  }

  /** Whether every echo of the last step was answered: no need to wait longer. */
  get isAnswered(): boolean {
    return this.#asked.every((size) => this.#answered.has(size));
  }

  /** An echo of this size arrived at the far end. */
  answered(size: number): void {
    if (size > this.#wanted) return;
    this.#answered.add(size);
    this.#proven = Math.max(this.#proven, size);
  }

  /**
   * The sizes to send now, the largest first.
   *
   * @returns `undefined` when the search is over: then {@linkcode proven} is the result, 0 for a
   * path by which nothing was answered.
   */
  step(): readonly number[] | undefined {
    if (this.#proven >= this.#wanted) return undefined;
    return this.#refuted === undefined ? this.#tryWanted() : this.#narrow();
  }

  #tryWanted(): readonly number[] | undefined {
    const hasShort = this.#answered.size > 0;
    const steps = WANTED_TRIES + (hasShort ? OTHER_TRIES - 1 : 0);
    if (++this.#steps > steps) {
      if (!hasShort) return undefined;
      this.#refuted = Math.min(
        ...[...this.#usual, this.#wanted].filter((size) => size > this.#proven),
      );
      return this.#narrow();
    }
    const others = this.#steps > 1 || this.#isDoubtful ? [SHORT] : [];
    return this.#ask([this.#wanted, ...hasShort ? this.#usual : [], ...others]);
  }

  #narrow(): readonly number[] | undefined {
    const open = this.#unanswered().filter((size) => size > this.#proven && size < this.#refuted!);
    if (open.length > 0) {
      if (this.#triesLeft-- > 0) return this.#ask(open);
      this.#refuted = Math.min(...open);
    }
    const [low, high] = [this.#proven, this.#refuted!];
    if (high - low <= 1) return undefined;
    const count = Math.min(AT_A_TIME, high - low - 1);
    const sizes = Array.from(
      { length: count },
      (_, i) => low + Math.ceil((high - low) * (count - i) / (count + 1)),
    );
    this.#triesLeft = OTHER_TRIES - 1;
    return this.#ask(sizes);
  }

  #ask(sizes: readonly number[]): readonly number[] {
    this.#asked = sizes.filter((size) => !this.#answered.has(size));
    return this.#asked;
  }

  #unanswered(): readonly number[] {
    return this.#asked.filter((size) => !this.#answered.has(size));
  }
}
