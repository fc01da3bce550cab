/**
 * Pins: what a node knows of its peers by its own knowledge.
 *
 * @module
 */

import { deepStrictEqual, ok, strictEqual, throws } from "node:assert/strict";
import fc from "fast-check";
import { AgentError } from "../../lib/agent/errors.ts";
import { PINS_FILE, PinStore } from "../../lib/agent/pins.ts";
import { StateFolder } from "../../lib/agent/state_folder.ts";
import { inTempFolder } from "./temp_folder.ts";

const [A, B, C] = ["a", "b", "c"].map((digit) => digit.repeat(64)) as [string, string, string];

/** Runs a test on an empty state folder. */
function withFolder(body: (folder: StateFolder) => void): Promise<void> {
  return inTempFolder((path) => {
    const folder = StateFolder.open(path);
    try {
      body(folder);
    } finally {
      folder.close();
    }
  });
}

function isRefused(error: unknown): boolean {
  return error instanceof AgentError && error.fault === "failed";
}

Deno.test("PinStore goes from new to seen to verified, and back when forgotten", () =>
  withFolder((folder) => {
    const pins = PinStore.load(folder);
    strictEqual(pins.stateOf("laptop", A), "new");
    strictEqual(pins.see("laptop", A), "seen");
    pins.verify("laptop", A);
    strictEqual(pins.stateOf("laptop", A), "verified");
    strictEqual(pins.stateOf("LAPTOP", A), "verified", "names have no case");
    strictEqual(pins.stateOf("desk", A), "new", "a pin is of a name, not of a key alone");
    strictEqual(pins.forget("laptop")?.nodeId, A);
    strictEqual(pins.stateOf("laptop", A), "new");
    strictEqual(pins.forget("laptop"), undefined);
  }));

Deno.test("PinStore.verify() needs no session before", () =>
  withFolder((folder) => {
    const pins = PinStore.load(folder);
    pins.verify("laptop", A);
    strictEqual(pins.stateOf("laptop", A), "verified");
  }));

Deno.test("PinStore keeps a verified name for its key, whatever else comes", () =>
  withFolder((folder) => {
    const pins = PinStore.load(folder);
    pins.verify("laptop", A);
    strictEqual(pins.stateOf("laptop", B), "conflict");
    strictEqual(pins.see("laptop", B), "conflict", "a session with another key pins nothing");
    throws(() => pins.verify("laptop", B), isRefused, "nor does a person who did not look");
    strictEqual(pins.stateOf("laptop", A), "verified");
    pins.forget("laptop");
    pins.verify("laptop", B);
    strictEqual(pins.stateOf("laptop", A), "conflict");
  }));

Deno.test("PinStore pins no empty name, and no part of a node id", () =>
  withFolder((folder) => {
    const pins = PinStore.load(folder);
    strictEqual(pins.stateOf("", A), "new");
    strictEqual(pins.see("", A), "new");
    throws(() => pins.verify("", A), RangeError);
    throws(() => pins.verify("laptop", A.slice(1)), RangeError);
    throws(() => pins.see("laptop", A.toUpperCase()), RangeError);
    deepStrictEqual(pins.pins, []);
  }));

Deno.test("PinStore.see() takes another key for a seen name, and remembers the first", () =>
  withFolder((folder) => {
    const pins = PinStore.load(folder);
    pins.see("laptop", A);
    strictEqual(pins.stateOf("laptop", B), "new");
    strictEqual(pins.see("laptop", B), "seen");
    strictEqual(pins.pin("laptop")?.before, A);
    strictEqual(PinStore.load(folder).pin("laptop")?.before, A, "over a restart too");
    pins.verify("laptop", B);
    strictEqual(pins.pin("laptop")?.before, undefined, "somebody looked");
  }));

Deno.test("PinStore holds the addresses of a verified key in any spelling", () =>
  withFolder((folder) => {
    const pins = PinStore.load(folder);
    pins.see("desk", B);
    strictEqual(pins.holderOf("100.64.0.3"), undefined);
    pins.verify("laptop", A, ["100.64.0.3", "fd00::3"]);
    for (const address of ["100.64.0.3", "fd00::3", "FD00:0:0::0003"]) {
      strictEqual(pins.holderOf(address)?.name, "laptop", address);
    }
    strictEqual(pins.holderOf("100.64.0.4"), undefined);
    strictEqual(pins.holderOf("no address"), undefined);
    throws(() => pins.verify("desk", B, ["100.64.0.4", "fd00::3"]), isRefused);
    strictEqual(pins.stateOf("desk", B), "seen", "half a pin is none");
    pins.verify("laptop", A);
    strictEqual(pins.holderOf("fd00::3")?.name, "laptop", "none named: those it had stay");
    pins.verify("laptop", A, ["100.64.0.9"]);
    strictEqual(pins.holderOf("fd00::3"), undefined, "others named: a person did that");
    pins.forget("laptop");
    strictEqual(pins.holderOf("100.64.0.9"), undefined);
  }));

Deno.test("PinStore is the same after a restart", () =>
  withFolder((folder) => {
    const pins = PinStore.load(folder);
    pins.verify("laptop", A, ["100.64.0.3", "fd00::3"]);
    pins.seeAll([{ name: "desk", nodeId: B }, { name: "attic", nodeId: C }]);
    const again = PinStore.load(folder);
    deepStrictEqual(again.pins, pins.pins);
    deepStrictEqual(again.pins.map(({ name }) => name), ["attic", "desk", "laptop"]);
    strictEqual(again.holderOf("fd00::3")?.nodeId, A);
  }));

Deno.test("PinStore writes nothing where nothing changed", () =>
  withFolder((folder) => {
    const pins = PinStore.load(folder);
    strictEqual(folder.read(PINS_FILE), undefined, "looking makes no file");
    pins.see("laptop", A);
    folder.remove(PINS_FILE);
    pins.see("laptop", A);
    pins.forget("desk");
    strictEqual(folder.read(PINS_FILE), undefined);
  }));

Deno.test("PinStore is as it was when the disk does not take a change", () =>
  withFolder((folder) => {
    const pins = PinStore.load(folder);
    pins.verify("laptop", A, ["100.64.0.3"]);
    // A folder where the temporary file would be: the write fails, for root too.
    Deno.mkdirSync(folder.pathOf(`${PINS_FILE}.new/x`), { recursive: true });
    throws(() => pins.forget("laptop"), AgentError);
    throws(() => pins.verify("desk", B), AgentError);
    strictEqual(pins.stateOf("laptop", A), "verified");
    strictEqual(pins.stateOf("desk", B), "new");
    deepStrictEqual(PinStore.load(folder).pins, pins.pins);
  }));

/** A whole file with one pin, changed. */
function fileWith(pin: Record<string, unknown>, rest: Record<string, unknown> = {}): string {
  const whole = { name: "laptop", nodeId: A, state: "verified", addresses: [], ...pin };
  return JSON.stringify({ version: 1, pins: [whole], ...rest });
}

/** Damaged files, and why they are. */
const DAMAGED: [text: string, why: string][] = [
  ["", "cut off to nothing"],
  [fileWith({}).slice(0, -3), "cut off"],
  ["null", "no object"],
  ["[]", "no version"],
  [fileWith({}, { version: 2 }), "of a later version, which may hold more"],
  [JSON.stringify({ version: 1, pins: {} }), "no list"],
  [JSON.stringify({ version: 1, pins: [null] }), "no pin"],
  [fileWith({ name: "" }), "no name"],
  [fileWith({ name: "Laptop" }), "a name that would never be found"],
  [fileWith({ name: 7 }), "a name that is no text"],
  [fileWith({ nodeId: A.slice(1) }), "no node id"],
  [fileWith({ nodeId: A.toUpperCase() }), "a node id that would never match"],
  [fileWith({ state: "trusted" }), "no state"],
  [fileWith({ addresses: "100.64.0.3" }), "no list of addresses"],
  [fileWith({ addresses: ["100.64.0"] }), "no address"],
  [fileWith({ before: "x" }), "no node id before"],
  [
    JSON.stringify({ version: 1, pins: [...Array(2)].map(() => JSON.parse(fileWith({})).pins[0]) }),
    "one name twice",
  ],
];

Deno.test("PinStore.load() says in one line that a file is damaged, and leaves it alone", () =>
  withFolder((folder) => {
    for (const [text, why] of DAMAGED) {
      folder.write(PINS_FILE, text);
      throws(
        () => PinStore.load(folder),
        (error) => {
          ok(error instanceof AgentError, why);
          strictEqual(error.fault, "storage");
          ok(/^Cannot read ".*pins\.json": it is damaged; .+$/.test(error.message), error.message);
          return true;
        },
        why,
      );
      strictEqual(folder.read(PINS_FILE), text, why);
    }
  }));

Deno.test("PinStore.load() takes no file for anything but pins or an AgentError", () =>
  withFolder((folder) => {
    const json = fc.oneof(
      fc.string(),
      fc.json(),
      fc.record({ name: fc.jsonValue(), nodeId: fc.jsonValue(), state: fc.constant("seen") })
        .map((pin) => fileWith(pin)),
    );
    fc.assert(fc.property(json, (text) => {
      Deno.writeTextFileSync(folder.pathOf(PINS_FILE), text);
      try {
        PinStore.load(folder);
      } catch (error) {
        ok(error instanceof AgentError, String(error));
      }
    }));
  }));
