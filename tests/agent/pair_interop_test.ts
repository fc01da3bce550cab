import { deepStrictEqual, ok, rejects, strictEqual } from "node:assert/strict";
import { agree } from "../../lib/agent/pair_agreement.ts";
import { PairLine } from "../../lib/agent/pair_line.ts";
import type { PairRole } from "../../lib/agent/pair_role.ts";
import { SYSTEM_CLOCK } from "../../lib/base/clock.ts";
import { generateKeyPair, type KeyPair } from "../../lib/crypto/x25519.ts";
import { NoiseCPeer } from "./noise_c_peer.ts";

const LOOPBACK = Uint8Array.of(127, 0, 0, 1);

/** Opens our side, in `pair-interop`. */
function open(role: PairRole, staticKey: KeyPair): PairLine {
  return new PairLine({
    role,
    profile: "pair-interop",
    partition: undefined,
    staticKey,
    giveUpAfterMs: 30_000,
    clock: SYSTEM_CLOCK,
    signal: new AbortController().signal,
  });
}

function dialling(port: number): PairRole {
  return { kind: "dial", endpoint: { address: LOOPBACK, port }, text: `127.0.0.1:${port}` };
}

/** Both sides say what is to be said; ours by `agree`. */
async function talk(line: PairLine, theirs: NoiseCPeer, own: KeyPair, other: KeyPair) {
  const kept: string[] = [];
  const agreed = agree(line, {
    hello: { kind: "hello", name: "ours", purpose: "static", range: "10.1.2.0/24" },
    check: () => {},
    decide({ publicKey, name }) {
      deepStrictEqual(publicKey, other.publicKey);
      strictEqual(name, "noise-c");
      return Promise.resolve({ isConfirmed: true });
    },
    makeInvite: () => Promise.reject(new Error("nobody is invited")),
    keep({ name }) {
      kept.push(name);
      return Promise.resolve({ undo: () => Promise.resolve() });
    },
  });
  // Awaited below: noise-c ends the process where a rejection is waited for by nobody.
  agreed.catch(() => {});
  await line.met;
  await theirs.say({ kind: "hello", name: "noise-c", purpose: "static" });
  deepStrictEqual(await theirs.hears("hello"), {
    ...{ kind: "hello", name: "ours", purpose: "static", range: "10.1.2.0/24" },
  });
  deepStrictEqual(theirs.remoteKey, own.publicKey, "noise-c has our key");
  deepStrictEqual(await theirs.hears("verdict"), { kind: "verdict", isConfirmed: true });
  deepStrictEqual(kept, [], "their verdict is missing");
  await theirs.say({ kind: "verdict", isConfirmed: true });
  await theirs.say({ kind: "done" });
  const { isMutual } = await agreed;
  ok(isMutual);
  deepStrictEqual(kept, ["noise-c"]);
  const { counters } = theirs;
  ok(counters.length >= 4 && counters.every((counter, i) => i === 0 || counter > counters[i - 1]!));
}

Deno.test("pair-interop completes with noise-c over UDP, ours the initiator", async () => {
  const [own, other] = [generateKeyPair(), generateKeyPair()];
  const theirs = await NoiseCPeer.open(other.privateKey, undefined);
  const line = open(dialling(theirs.port), own);
  try {
    await talk(line, theirs, own, other);
  } finally {
    await line.close();
    theirs.close();
  }
});

Deno.test("pair-interop completes with noise-c over UDP, ours the responder", async () => {
  const [own, other] = [generateKeyPair(), generateKeyPair()];
  const line = open({ kind: "listen", address: LOOPBACK, port: 0 }, own);
  const theirs = await NoiseCPeer.open(other.privateKey, line.port);
  try {
    await talk(line, theirs, own, other);
  } finally {
    await line.close();
    theirs.close();
  }
});

Deno.test("pair-interop fails at message 2 when noise-c has another prologue", async () => {
  const prologue = new TextEncoder().encode("tunnelmesh-pair/1");
  const theirs = await NoiseCPeer.open(generateKeyPair().privateKey, undefined, prologue);
  const line = open(dialling(theirs.port), generateKeyPair());
  try {
    await rejects(
      line.met,
      /^AgentError: Cannot pair with .* of another partition, or was altered/,
    );
  } finally {
    await line.close();
    theirs.close();
  }
});
