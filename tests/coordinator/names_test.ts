/**
 * Which names nodes get, and which they do not.
 *
 * @module
 */

import { ok, strictEqual, throws } from "node:assert/strict";
import fc from "fast-check";
import { chooseName, isValidName, labelOf } from "../../lib/coordinator/names.ts";
import { RefusalError, type RefusalReason } from "../../lib/wire/refusal.ts";

const LONG = "a".repeat(63);
/** A suffix falls behind its hyphen. */
const CUT = "a".repeat(60) + "-bb";

/** Wished, explicit, taken names, outcome (a name, or why it is refused), why. */
const WISHES: [string, boolean, string[], string, why: string][] = [
  ["laptop", false, [], "laptop", "free"],
  ["Laptop.example.org", false, [], "laptop", "a host name's first label, in lower case"],
  ["my_host 1", false, [], "my-host-1", "what is no label is made one"],
  ["-x-", false, [], "x", "no hyphen at either end"],
  ["", false, [], "node", "nothing to go by"],
  ["...", false, [], "node", "still nothing"],
  ["42", false, [], "node-42", "digits alone would read as an IPv4 address"],
  ["0x1f", false, [], "node-0x1f", "and so would these"],
  ["laptop", false, ["laptop"], "laptop-2", "a clash gets a suffix"],
  ["laptop", false, ["laptop", "laptop-2"], "laptop-3", "the next free one"],
  ["localhost", false, [], "localhost-2", "a reserved host name is no one's fault"],
  [LONG, false, [LONG], "a".repeat(61) + "-2", "the suffix fits into 63"],
  [CUT, false, [CUT], "a".repeat(60) + "-2", "no double hyphen"],
  ["laptop", true, [], "laptop", "asked for and free"],
  ["LapTop", true, [], "laptop", "names have no case"],
  ["laptop", true, ["laptop"], "name-taken", "a person chose it, so no surprise"],
  ["localhost", true, [], "reserved-name", "means this machine everywhere"],
  ["Local", true, [], "reserved-name", "whatever the case"],
  ["wpad", true, [], "reserved-name", "machines ask it for a proxy"],
  ["my_host", true, [], "bad-name", "no underscore"],
  ["a.b", true, [], "bad-name", "one label"],
  ["-a", true, [], "bad-name", "no hyphen first"],
  ["42", true, [], "bad-name", "no number"],
  [LONG + "a", true, [], "bad-name", "64 characters"],
  ["", true, [], "bad-name", "empty"],
];

Deno.test("chooseName() gives, suffixes or refuses", () => {
  for (const [wished, isExplicit, taken, outcome, why] of WISHES) {
    const choose = () =>
      chooseName({ wished, isExplicit, isTaken: (name) => taken.includes(name) });
    if (["name-taken", "reserved-name", "bad-name"].includes(outcome)) {
      throws(choose, (error: unknown) => {
        ok(error instanceof RefusalError);
        strictEqual(error.reason, outcome as RefusalReason, why);
        return true;
      }, why);
    } else {
      strictEqual(choose(), outcome, why);
    }
  }
});

Deno.test("chooseName() makes a valid, free name of any host name", () => {
  // Any member can send any text as its host name.
  const anyText = fc.uint8Array({ maxLength: 80 }).map((bytes) => new TextDecoder().decode(bytes));
  fc.assert(fc.property(fc.oneof(fc.string({ maxLength: 80 }), anyText), (hostname) => {
    const first = labelOf(hostname);
    ok(isValidName(first), first);
    const second = chooseName({
      wished: hostname,
      isExplicit: false,
      isTaken: (name) => name === first,
    });
    ok(isValidName(second) && second !== first, second);
  }));
});
