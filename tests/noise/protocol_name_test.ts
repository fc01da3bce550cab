import { deepStrictEqual, ok, strictEqual, throws } from "node:assert/strict";
import fc from "fast-check";
import { HandshakeError } from "../../lib/noise/errors.ts";
import { PATTERNS, type Token, withPsks } from "../../lib/noise/patterns.ts";
import { parseProtocolName } from "../../lib/noise/protocol_name.ts";
import { everyProtocolName } from "./pairs.ts";

/** Protocol, and the tokens of its messages as the specification's §9.4 and §10.5 write them. */
const SPELLED_OUT: [name: string, messages: string[]][] = [
  ["Noise_NNpsk0_25519_ChaChaPoly_SHA256", ["psk e", "e ee"]],
  ["Noise_NNpsk2_25519_ChaChaPoly_SHA256", ["e", "e ee psk"]],
  ["Noise_NKpsk0_25519_ChaChaPoly_SHA256", ["psk e es", "e ee"]],
  ["Noise_NKpsk2_25519_ChaChaPoly_SHA256", ["e es", "e ee psk"]],
  ["Noise_XXpsk3_25519_ChaChaPoly_SHA256", ["e", "e ee s es", "s se psk"]],
  ["Noise_XKpsk3_25519_ChaChaPoly_BLAKE2s", ["e es", "e ee", "s se psk"]],
  ["Noise_KKpsk0_25519_ChaChaPoly_SHA256", ["psk e es ss", "e ee se"]],
  ["Noise_IKpsk1_25519_ChaChaPoly_SHA256", ["e es s ss psk", "e ee se"]],
  ["Noise_IKpsk2_25519_ChaChaPoly_SHA256", ["e es s ss", "e ee se psk"]],
  ["Noise_IXpsk2_25519_ChaChaPoly_SHA256", ["e s", "e ee se s es psk"]],
  ["Noise_XXpsk0+psk3_25519_ChaChaPoly_SHA256", ["psk e", "e ee s es", "s se psk"]],
  ["Noise_XXpsk0+psk1+psk2_25519_ChaChaPoly_SHA256", ["psk e psk", "e ee s es psk", "s se"]],
];

Deno.test("parseProtocolName() puts the tokens where the specification has them", () => {
  for (const [name, messages] of SPELLED_OUT) {
    const { pattern } = parseProtocolName(name);
    deepStrictEqual(pattern.messages.map((tokens) => tokens.join(" ")), messages, name);
  }
});

/** Name, why it is refused. */
const REFUSED: [name: string, why: string][] = [
  ["", "empty"],
  ["Noise_IK_25519_ChaChaPoly", "no hash"],
  ["Noise_IK_25519_AESGCM_SHA256", "another cipher"],
  ["Noise_IK_448_ChaChaPoly_SHA256", "another curve"],
  ["Noise_IK_25519_ChaChaPoly_SHA512", "another hash"],
  ["Noise_IK_25519_ChaChaPoly_BLAKE2b", "another hash"],
  ["Noise_ik_25519_ChaChaPoly_SHA256", "lower case"],
  ["Noise_N_25519_ChaChaPoly_SHA256", "one-way"],
  ["Noise_KN_25519_ChaChaPoly_SHA256", "not in the table"],
  ["Noise_constructor_25519_ChaChaPoly_SHA256", "a name that every object has"],
  ["Noise_IKpsk3_25519_ChaChaPoly_SHA256", "there is no third message"],
  ["Noise_XXpsk4_25519_ChaChaPoly_SHA256", "there is no fourth message"],
  ["Noise_IKpsk_25519_ChaChaPoly_SHA256", "no number"],
  ["Noise_IKpsk2+_25519_ChaChaPoly_SHA256", "nothing behind the plus"],
  ["Noise_IKpsk2psk0_25519_ChaChaPoly_SHA256", "no plus"],
  ["Noise_IKpsk2+psk0_25519_ChaChaPoly_SHA256", "descending"],
  ["Noise_IKpsk0+psk0_25519_ChaChaPoly_SHA256", "twice"],
  ["Noise_IKfallback_25519_ChaChaPoly_SHA256", "another modifier"],
  ["Noise_IK_25519_ChaChaPoly_SHA256 ", "a space behind"],
  ["Noise_IK_25519_ChaChaPoly_SHA256\n", "a line end"],
  [`Noise_IK_25519_ChaChaPoly_SHA256${"x".repeat(300)}`, "longer than 255"],
];

Deno.test("parseProtocolName() refuses every other name", () => {
  for (const [name, why] of REFUSED) {
    throws(() => parseProtocolName(name), { fault: "bad-protocol-name" }, why);
  }
  fc.assert(fc.property(fc.string(), (name) => {
    throws(() => parseProtocolName(name), HandshakeError);
  }));
});

Deno.test("every protocol of the engine obeys the specification's validity rules", () => {
  const names = everyProtocolName();
  strictEqual(new Set(names).size, 144);
  for (const name of names) {
    const { pattern, pskCount } = parseProtocolName(name);
    const { knownBefore, messages } = pattern;
    // What the receiver of a message knows of the sender: keys sent, or known beforehand.
    const known: Record<"i" | "r", Set<string>> = { i: new Set(), r: new Set() };
    if (knownBefore.initiator) known.i.add("s");
    if (knownBefore.responder) known.r.add("s");
    const seen = new Set<Token>();
    for (const [i, tokens] of messages.entries()) {
      const writer = i % 2 === 0 ? "i" : "r";
      for (const token of tokens) {
        if (token === "psk") continue;
        if (token === "e" || token === "s") {
          ok(!known[writer].has(token), `${name}: §7.3 rule 2, a key is sent once`);
          known[writer].add(token);
          continue;
        }
        ok(!seen.has(token), `${name}: §7.3 rule 3, one ${token} at most`);
        seen.add(token);
        ok(known.i.has(token[0]!) && known.r.has(token[1]!), `${name}: rule 1, ${token} too early`);
      }
      // §7.3 rule 4 and §9.3: what follows is sealed with a fresh key of the writer inside.
      ok(tokens.includes("e") || i > 1, `${name}: message ${i} brings no ephemeral key`);
    }
    ok(!seen.has("se") || seen.has("ee"), `${name}: §7.3 rule 4, se without ee`);
    ok(!seen.has("ss") || seen.has("es"), `${name}: §7.3 rule 4, ss without es`);
    strictEqual(messages.flat().filter((token) => token === "psk").length, pskCount);
  }
});

Deno.test("withPsks() leaves the table as it is and refuses places that are not there", () => {
  const before = JSON.stringify(PATTERNS);
  withPsks(PATTERNS.IK, [0, 2]);
  strictEqual(JSON.stringify(PATTERNS), before);
  throws(() => withPsks(PATTERNS.IK, [3]), RangeError);
});
