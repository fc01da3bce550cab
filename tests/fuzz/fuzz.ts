/**
 * Fuzzing of parsers: valid samples that are damaged in the ways bytes get damaged and forged, and
 * some noise. Whatever comes, a parser may throw its declared error and nothing else.
 *
 * Who can send the bytes is said by each target. A few thousand inputs in CI, the same in every run;
 * a million in a soak, others each time: the seed of a run that fails is shown, and
 * `TUNNELMESH_SEED` repeats it.
 *
 * @module
 */

import { ok } from "node:assert/strict";
import { isSoak } from "../fakes/soak.ts";
import { seededRandom } from "../fakes/random.ts";

/**
 * How far an input got: `refused` by the first check (length, prefix, syntax), `past` it but
 * refused by a later one, `taken`.
 */
export type Depth = "refused" | "past" | "taken";

/** A parser, and what to feed it with. */
export interface FuzzTarget {
  /** What is parsed. */
  readonly name: string;
  /** Inputs that are taken, unless {@linkcode FuzzTarget.mayRefuseSamples} says otherwise. */
  readonly samples: readonly Uint8Array[];
  /** What stands in such inputs, to be put where it does not belong. */
  readonly pieces?: readonly Uint8Array[];
  /** Makes the first check pass again (a checksum, a MAC), in place or not; used half of the time. */
  readonly repair?: (input: Uint8Array) => Uint8Array;
  /** Parses; throws what must not be thrown. */
  readonly judge: (input: Uint8Array) => Depth | Promise<Depth>;
  /** Whether samples are only taken at the right moment. @default {false} */
  readonly mayRefuseSamples?: boolean;
  /** Inputs in CI. @default {4000} */
  readonly few?: number;
  /** Least share that gets past the first check. @default {0.15} */
  readonly share?: number;
}

/** A million for each parser: the figure that a soak has to show. */
const MANY = 1_000_000;
const FEW = 4_000;
const NOISE_SHARE = 0.05;
const NOISE_MAX_LENGTH = 300;
/** Bytes at which parsers change their minds. */
const EDGES = [0x00, 0x01, 0x0a, 0x20, 0x22, 0x2d, 0x30, 0x7b, 0x7f, 0x80, 0xfe, 0xff];

/** Feeds a target and judges the figures. */
export async function fuzz(target: FuzzTarget): Promise<void> {
  const { name, samples, share = 0.15, few = FEW } = target;
  const seed = seedOfRun();
  const forge = new Forger(target, seed);
  const counts: Record<Depth, number> = { refused: 0, past: 0, taken: 0 };
  for (const [i, sample] of samples.entries()) {
    const depth = await target.judge(sample.slice());
    ok(depth === "taken" || target.mayRefuseSamples, `${name}: sample ${i} is not taken`);
  }
  const inputs = isSoak() ? MANY : few;
  const startedAt = performance.now();
  for (let i = 0; i < inputs; i++) {
    const input = forge.next();
    try {
      const depth = target.judge(input);
      counts[typeof depth === "string" ? depth : await depth]++;
    } catch (error) {
      const shown = JSON.stringify(new TextDecoder().decode(input));
      const what = `${name}, TUNNELMESH_SEED=${seed}, input ${i}: ${input.toHex()} ${shown}`;
      throw new Error(what, { cause: error });
    }
  }
  const seconds = (performance.now() - startedAt) / 1000;
  const past = (counts.past + counts.taken) / inputs;
  report(
    `fuzz ${name}: ${inputs} inputs, ${percent(past)} past the first check, ` +
      `${percent(counts.taken / inputs)} taken, ${seconds.toFixed(1)} s`,
  );
  ok(past >= share, `${name}: only ${percent(past)} get past the first check`);
}

/** The same seed in every run of CI, a new one in each soak, unless one is given. */
export function seedOfRun(): number {
  const { state } = Deno.permissions.querySync({ name: "env", variable: "TUNNELMESH_SEED" });
  const given = state === "granted" ? Deno.env.get("TUNNELMESH_SEED") : undefined;
  return Number(given ?? (isSoak() ? 1 + Math.floor(Math.random() * 2 ** 31) : 1));
}

/** Prints a line that says what was measured. */
export function report(line: string): void {
  Deno.stdout.writeSync(new TextEncoder().encode(`figure: ${line}\n`));
}

/** Makes inputs: noise, samples, and samples with one to four damages. */
export class Forger {
  readonly #target: Pick<FuzzTarget, "samples" | "pieces" | "repair">;
  readonly #random: () => number;

  constructor(target: Pick<FuzzTarget, "samples" | "pieces" | "repair">, seed: number) {
    this.#target = target;
    this.#random = seededRandom(seed);
  }

  /** The next input, the caller's own. */
  next(): Uint8Array {
    const { samples, repair } = this.#target;
    if (this.#random() < NOISE_SHARE) return this.#noise(this.#below(NOISE_MAX_LENGTH));
    let input: Uint8Array = this.#oneOf(samples).slice();
    for (let damages = 1 + this.#below(4); damages > 0; damages--) input = this.#damage(input);
    return repair !== undefined && this.#random() < 0.5 ? repair(input) : input;
  }

  #damage(input: Uint8Array): Uint8Array {
    const at = this.#below(input.length + 1);
    const end = Math.min(input.length, at + 1 + this.#below(this.#random() < 0.8 ? 4 : 64));
    switch (this.#below(10)) {
      case 0:
      case 1:
        if (at < input.length) input[at]! ^= 1 << this.#below(8);
        return input;
      case 2:
        if (at < input.length) input[at] = this.#oneOf(EDGES);
        return input;
      case 3: // a length, a count or an index that is off by a little
        if (at < input.length) input[at]! += this.#below(2) * 2 - 1;
        return input;
      case 4:
        return joined(input.subarray(0, at), input.subarray(end));
      case 5:
        return joined(input.subarray(0, end), input.subarray(at));
      case 6:
        return joined(input.subarray(0, at), this.#noise(1 + this.#below(8)), input.subarray(at));
      case 7:
        return this.#random() < 0.3 ? input.slice(0, at) : this.#noised(input, at, end);
      case 8: { // the beginning of one, the end of another
        const other = this.#oneOf(this.#target.samples);
        return this.#random() < 0.3
          ? joined(input.subarray(0, at), other.subarray(this.#below(other.length + 1)))
          : joined(input.subarray(0, at), other.subarray(at, end), input.subarray(end));
      }
      default: {
        const { pieces } = this.#target;
        if (pieces === undefined) return this.#noised(input, at, end);
        return joined(input.subarray(0, at), this.#oneOf(pieces), input.subarray(end));
      }
    }
  }

  #noised(input: Uint8Array, at: number, end: number): Uint8Array {
    input.set(this.#noise(end - Math.min(at, end)), Math.min(at, end));
    return input;
  }

  #noise(length: number): Uint8Array {
    return Uint8Array.from({ length }, () => this.#below(256));
  }

  #oneOf<T>(list: readonly T[]): T {
    return list[this.#below(list.length)]!;
  }

  #below(end: number): number {
    return Math.floor(this.#random() * end);
  }
}

/** Text as parsers of text get it. */
export function textOf(input: Uint8Array): string {
  return new TextDecoder().decode(input);
}

/** Text as bytes, each. */
export function bytesOf(...texts: string[]): Uint8Array[] {
  return texts.map((text) => new TextEncoder().encode(text));
}

function joined(...parts: Uint8Array[]): Uint8Array {
  const whole = new Uint8Array(parts.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}

function percent(share: number): string {
  return `${(share * 100).toFixed(0)} %`;
}
