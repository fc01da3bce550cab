/**
 * Two real processes that pair, with somebody at each screen.
 *
 * @module
 */

import { match, strictEqual } from "node:assert/strict";
import type { Host } from "../lab/namespaces.ts";
import { type Background, run } from "../lab/processes.ts";
import { COMMAND, ENVIRONMENT, tunnelmesh } from "./mesh.ts";

/** UDP port of every listening side. */
export const PAIR_PORT = 51_820;

/** What `pair` says when both keys are proven. */
export interface Met {
  readonly name: string;
  readonly nodeId: string;
  readonly remote: string;
  readonly outcome: string;
  /** Text of the QR code. */
  readonly qr: string;
}

/** What it says at the end. */
export interface Paired {
  readonly name: string;
  readonly nodeId: string;
  readonly outcome: string;
  readonly isMutual: boolean;
  readonly file?: string;
  readonly command?: string;
}

/** One machine that pairs. */
export class PairEnd {
  /** Its state folder. */
  readonly state: string;
  #process: Background | undefined;

  /**
   * Describes a machine; nothing is started.
   *
   * @param host Where it is.
   * @param folder Open to its owner only.
   */
  constructor(readonly host: Host, private readonly folder: string) {
    this.state = `${folder}/${host.name}`;
  }

  /** The running process. */
  get process(): Background {
    return this.#process!;
  }

  /** Starts `pair` with a keyboard of its own. */
  async start(...args: string[]): Promise<this> {
    await run(["mkfifo", "-m", "600", this.#keyboard]);
    const words = [...COMMAND, "pair", ...args, "--name", this.host.name, "--state", this.state];
    // Opened for reading and writing: it never comes to an end.
    const shell = ["sh", "-c", 'keyboard=$1; shift; exec "$@" <>"$keyboard"', "sh"];
    this.#process = this.host.start([...shell, this.#keyboard, ...words, "--json"], {
      env: ENVIRONMENT,
    });
    return this;
  }

  /** Starts the listening side, and waits until it listens. */
  async listen(...args: string[]): Promise<this> {
    await this.start("--listen", ...args);
    await this.process.shows(/"event":"listening"/);
    return this;
  }

  /** Types a line. */
  async type(text: string): Promise<void> {
    await Deno.writeTextFile(this.#keyboard, `${text}\n`, { create: false });
  }

  /** Waits for both keys to be proven, and for the question. */
  async met(): Promise<Met> {
    await this.process.shows(/Pair with .* \[y, n/);
    await this.#hasMet(1);
    return this.#event<Met>("met");
  }

  /**
   * Waits for one of several questions, counted from 1.
   *
   * @returns The machine that it is about, and what says yes to it.
   */
  async question(number: number): Promise<{ readonly met: Met; readonly yes: string }> {
    const questions = `(?:Pair with [^]*?\\[(\\w+), n[^]*?){${number}}`;
    const [, yes] = await this.process.shows(new RegExp(questions));
    await this.#hasMet(number);
    return { met: this.#event<Met>("met"), yes: yes! };
  }

  /** Waits until it listens for another machine, because of what `why` says; then ends that. */
  async listensOn(why: RegExp): Promise<void> {
    await this.process.shows(/tunnelmesh: .*; this side listens on$/m);
    match(this.process.stderr, why);
    this.process.signal("SIGINT");
    strictEqual(await this.process.ended, 1);
    match(this.process.stderr, /^tunnelmesh: Cannot pair: stopped$/m);
  }

  /** Waits for the end, which must be a good one. */
  async paired(): Promise<Paired> {
    await this.process.shows(/"event":"paired"/);
    const code = await this.process.ended;
    if (code !== 0) throw new Error(`${this.host.name} ended ${code}: ${this.process.stderr}`);
    return this.#event<Paired>("paired");
  }

  /** Tells the process what was scanned, from another one. */
  scan(text: string) {
    return tunnelmesh(this.host, ["pair", "--scan", text, "--state", this.state]);
  }

  /** What is in the state folder; `undefined` if there is none. */
  async files(): Promise<string[] | undefined> {
    try {
      const names: string[] = [];
      for await (const { name } of Deno.readDir(this.state)) names.push(name);
      return names.sort();
    } catch (error) {
      if (error instanceof Deno.errors.NotFound) return undefined;
      throw error;
    }
  }

  /** Its pins, as `name state node id`. */
  async pins(): Promise<string[]> {
    const text = await Deno.readTextFile(`${this.state}/pins.json`);
    const { pins } = JSON.parse(text) as {
      pins: { name: string; state: string; nodeId: string }[];
    };
    return pins.map(({ name, state, nodeId }) => `${name} ${state} ${nodeId}`);
  }

  get #keyboard(): string {
    return `${this.folder}/${this.host.name}.keyboard`;
  }

  /** Waits until so many were met: what is said on one stream may be read before the other one's. */
  async #hasMet(number: number): Promise<void> {
    await this.process.shows(new RegExp(`(?:"event":"met"[^]*?\\n[^]*?){${number}}`));
  }

  #event<T>(event: string): T {
    const lines = this.process.stdout.split("\n").filter((line) => line.startsWith("{"));
    const found = lines.map((line) => JSON.parse(line)).findLast((one) => one.event === event);
    if (found === undefined) throw new Error(`No "${event}" in:\n${this.process.stdout}`);
    return found as T;
  }
}
