/**
 * Whom a node knows, by its own knowledge: `pins.json` in the state folder (protocol.md §1).
 *
 * ```
 * new ──a session with it──▶ seen ──a person compared──▶ verified ──forget──▶ new
 *  ▲                          │
 *  └──── another key came ────┘          another key for a verified name: conflict, until forgotten
 * ```
 *
 * What must hold: the pin of a verified name is changed by a person only, never by what a
 * coordinator says; what is on disk is there whole or not at all; a damaged file stays as it is.
 *
 * @module
 */

import { formatIpAddress, parseIpAddress } from "../net/ip_address.ts";
import { AgentError } from "./errors.ts";
import type { StateFolder } from "./state_folder.ts";

/** File in the state folder. */
export const PINS_FILE = "pins.json";

const VERSION = 1;

/**
 * What a node knows of a peer: nothing; that it had sessions with this key under this name; that a
 * person compared the key; or that the name is pinned to another key.
 */
export type PinState = "new" | "seen" | "verified" | "conflict";

/** One name. */
export interface Pin {
  /** Lower case. */
  readonly name: string;
  /** 64 hex digits. */
  readonly nodeId: string;
  readonly state: "seen" | "verified";
  /** Mesh addresses that are held for a verified node id; empty if none are known yet. */
  readonly addresses: readonly string[];
  /** The node id that was seen under this name before, until a person verifies or forgets it. */
  readonly before?: string;
}

/** Name and key of a peer, as a coordinator or a person names them. */
export interface NamedKey {
  readonly name: string;
  /** 64 hex digits. */
  readonly nodeId: string;
}

/** The pins of a state folder. */
export class PinStore {
  readonly #folder: StateFolder;
  #pins: ReadonlyMap<string, Pin>;
  /** Address => the pin that holds it. */
  #holders: ReadonlyMap<string, Pin>;

  private constructor(folder: StateFolder, pins: ReadonlyMap<string, Pin>) {
    this.#folder = folder;
    this.#pins = pins;
    this.#holders = holdersOf(pins);
  }

  /**
   * Reads the pins.
   *
   * @param folder Locked, if anything is to be changed.
   * @returns No pins if there is no file.
   * @throws {AgentError} `storage` if the file is damaged or cannot be read; it is left alone.
   */
  static load(folder: StateFolder): PinStore {
    const text = folder.read(PINS_FILE);
    return new PinStore(folder, text === undefined ? new Map() : readPins(folder, text));
  }

  /** All pins, by name. */
  get pins(): readonly Pin[] {
    return [...this.#pins.values()];
  }

  /** The pin of a name. */
  pin(name: string): Pin | undefined {
    return this.#pins.get(keyOf(name));
  }

  /** What is known of a name together with this very key. */
  stateOf(name: string, nodeId: string): PinState {
    const pin = this.pin(name);
    if (pin?.nodeId === nodeId) return pin.state;
    return pin?.state === "verified" ? "conflict" : "new";
  }

  /** The verified pin that holds a mesh address; text that is no address is held by nobody. */
  holderOf(address: string): Pin | undefined {
    try {
      return this.#holders.get(canonical(address));
    } catch {
      return undefined;
    }
  }

  /**
   * There was a session with this key under this name. Never touches a verified pin.
   *
   * @returns What is known from here on.
   * @throws {AgentError} If the disk does not take it; nothing has changed then.
   */
  see(name: string, nodeId: string): PinState {
    this.seeAll([{ name, nodeId }]);
    return this.stateOf(name, nodeId);
  }

  /** The same for many, in one write. */
  seeAll(peers: Iterable<NamedKey>): void {
    const fresh: Pin[] = [];
    for (const { name, nodeId } of peers) {
      requireNodeId(nodeId);
      const known = this.pin(name);
      // An empty name is nobody's; a coordinator may say it all the same.
      if (name === "" || this.stateOf(name, nodeId) !== "new") continue;
      const before = known?.nodeId;
      const pin: Pin = { name: keyOf(name), nodeId, state: "seen", addresses: [] };
      fresh.push(before === undefined ? pin : { ...pin, before });
    }
    if (fresh.length > 0) this.#change((pins) => fresh.forEach((pin) => pins.set(pin.name, pin)));
  }

  /**
   * A person compared the key: pins it, and the addresses with it.
   *
   * @param addresses Mesh addresses to hold for this key; those held before if empty.
   * @throws {RangeError} If the name is empty, or the node id is none.
   * @throws {AgentError} `failed` if the name is pinned to another key, or an address held for
   * one: that has to be forgotten first; `storage` if the disk does not take it. Nothing has changed
   * then.
   */
  verify(name: string, nodeId: string, addresses: readonly string[] = []): void {
    requireNodeId(nodeId);
    if (name === "") throw new RangeError("Cannot pin a name that is empty");
    const known = this.pin(name);
    if (this.stateOf(name, nodeId) === "conflict") throw pinnedToAnother(known!);
    const held = addresses.map(canonical);
    const holder = held.map((address) => this.#holders.get(address))
      .find((pin) => pin !== undefined && pin.nodeId !== nodeId);
    if (holder !== undefined) throw heldForAnother(name, holder);
    const kept = known?.nodeId === nodeId && held.length === 0 ? known.addresses : held;
    const pin: Pin = { name: keyOf(name), nodeId, state: "verified", addresses: kept };
    this.#change((pins) => pins.set(pin.name, pin));
  }

  /**
   * Forgets a name: whatever key comes under it is new.
   *
   * @returns The pin that was there.
   * @throws {AgentError} If the disk does not take it; nothing has changed then.
   */
  forget(name: string): Pin | undefined {
    const known = this.pin(name);
    if (known !== undefined) this.#change((pins) => pins.delete(known.name));
    return known;
  }

  #change(change: (pins: Map<string, Pin>) => void): void {
    const pins = new Map(this.#pins);
    change(pins);
    const sorted = new Map([...pins].sort(([a], [b]) => a < b ? -1 : 1));
    const json = { version: VERSION, pins: [...sorted.values()] };
    this.#folder.write(PINS_FILE, JSON.stringify(json, null, 2) + "\n");
    this.#pins = sorted;
    this.#holders = holdersOf(sorted);
  }
}

function readPins(folder: StateFolder, text: string): ReadonlyMap<string, Pin> {
  try {
    const json: unknown = JSON.parse(text);
    const { version, pins } = objectOf(json);
    if (version !== VERSION || !Array.isArray(pins)) throw new TypeError("no pins of this version");
    const read = pins.map(readPin);
    const byName = new Map(read.map((pin) => [pin.name, pin]));
    if (byName.size !== read.length) throw new TypeError("a name is there twice");
    return byName;
  } catch (cause) {
    // To go on without would be to take any key for a verified one.
    throw new AgentError(
      "storage",
      `Cannot read "${folder.pathOf(PINS_FILE)}": it is damaged; restore it, or remove it and ` +
        "verify every peer again",
      { cause },
    );
  }
}

function readPin(json: unknown): Pin {
  const { name, nodeId, state, addresses, before } = objectOf(json);
  if (typeof name !== "string" || name === "" || name !== keyOf(name)) {
    throw new TypeError("no name");
  }
  requireNodeId(nodeId);
  if (state !== "seen" && state !== "verified") throw new TypeError("no state of a pin");
  if (!Array.isArray(addresses)) throw new TypeError("no addresses");
  const held = addresses.map((address) => canonical(String(address)));
  if (before === undefined) return { name, nodeId, state, addresses: held };
  requireNodeId(before);
  return { name, nodeId, state, addresses: held, before };
}

function objectOf(json: unknown): Record<string, unknown> {
  if (typeof json !== "object" || json === null) throw new TypeError("no object");
  return json as Record<string, unknown>;
}

function requireNodeId(nodeId: unknown): asserts nodeId is string {
  if (typeof nodeId === "string" && /^[0-9a-f]{64}$/.test(nodeId)) return;
  throw new RangeError("Cannot pin node id: it must be 64 lower-case hex digits");
}

/** Names are compared in lower case. */
function keyOf(name: string): string {
  return name.toLowerCase();
}

/** One spelling for each address, so that another one does not pass for another address. */
function canonical(address: string): string {
  return formatIpAddress(parseIpAddress(address));
}

function holdersOf(pins: ReadonlyMap<string, Pin>): ReadonlyMap<string, Pin> {
  const verified = [...pins.values()].filter(({ state }) => state === "verified");
  return new Map(verified.flatMap((pin) => pin.addresses.map((address) => [address, pin])));
}

function pinnedToAnother({ name, nodeId }: Pin): AgentError {
  return new AgentError(
    "failed",
    `Cannot verify "${name}": the name is pinned to another key, ${nodeId.slice(0, 16)}…; if ` +
      `that change is right, do tunnelmesh peer forget ${name} first`,
  );
}

function heldForAnother(name: string, holder: Pin): AgentError {
  return new AgentError(
    "failed",
    `Cannot verify "${name}": its address is held for "${holder.name}", whose key is another one; ` +
      `if that is no member any more, do tunnelmesh peer forget ${holder.name} first`,
  );
}
