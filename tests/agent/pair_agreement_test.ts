import { deepStrictEqual, match, ok, strictEqual } from "node:assert/strict";
import { AgentError } from "../../lib/agent/errors.ts";
import {
  agree,
  type Agreement,
  type AgreementParts,
  NotThisOne,
} from "../../lib/agent/pair_agreement.ts";
import { PairLine } from "../../lib/agent/pair_line.ts";
import { type Clock, SYSTEM_CLOCK } from "../../lib/base/clock.ts";
import { generateKeyPair } from "../../lib/crypto/x25519.ts";
import { FakeClock } from "../fakes/clock.ts";

/** A fake clock that runs so much faster, and stands still while this process does. */
const FASTER = 20;
const TICK_MS = 10;
const LOOPBACK = Uint8Array.of(127, 0, 0, 1);

/** What a test makes different at one side. */
type SideParts = Partial<AgreementParts>;

/** How one side ended. */
interface Ended {
  readonly agreement?: Agreement;
  readonly why?: string;
  /** Whether another machine may be the right one. */
  readonly isThisOneOnly?: boolean;
  /** What was written down and is still there. */
  readonly kept: readonly string[];
}

/** Two sides over loopback; `left` listens. A silent one goes when its key is proven. */
async function pairUp(
  left: SideParts,
  right: SideParts | "silent",
  clock: Clock = SYSTEM_CLOCK,
): Promise<{ left: Ended; right: Ended }> {
  const stop = new AbortController();
  const open = (role: ConstructorParameters<typeof PairLine>[0]["role"]) =>
    new PairLine({
      role,
      profile: "pair",
      partition: undefined,
      staticKey: generateKeyPair(),
      clock,
      signal: stop.signal,
    });
  const listener = open({ kind: "listen", address: LOOPBACK, port: 0 });
  const endpoint = { address: LOOPBACK, port: listener.port };
  const dialler = open({ kind: "dial", endpoint, text: "left" });
  try {
    const other = right === "silent"
      ? dialler.met.then(() => dialler.close()).then(() => ({ kept: [] }))
      : run(dialler, "right", right);
    const [a, b] = await Promise.all([run(listener, "left", left), other]);
    return { left: a, right: b };
  } finally {
    await listener.close();
    await dialler.close();
  }
}

async function run(line: PairLine, name: string, parts: SideParts): Promise<Ended> {
  const kept = new Set<string>();
  const whole: AgreementParts = {
    hello: { kind: "hello", name, purpose: "static" },
    check: () => {},
    decide: () => Promise.resolve({ isConfirmed: true }),
    makeInvite: () =>
      Promise.resolve({ kind: "invite", coordinator: "https://192.0.2.1:1", token: "tm1_x" }),
    keep(peer) {
      kept.add(peer.name);
      return Promise.resolve({
        undo() {
          kept.delete(peer.name);
          return Promise.resolve();
        },
      });
    },
    ...parts,
  };
  try {
    return { agreement: await agree(line, whole), kept: [...kept] };
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    return { why, isThisOneOnly: error instanceof NotThisOne, kept: [...kept] };
  }
}

const inviting = (name: string) => ({ hello: { kind: "hello", name, purpose: "invite" } as const });
const no = { decide: () => Promise.resolve({ isConfirmed: false }) };
const full = { keep: () => Promise.reject(new Error("Cannot write: No space left on device")) };

Deno.test("agree() keeps at both ends what both have confirmed", async () => {
  const { left, right } = await pairUp({}, {});
  deepStrictEqual([left.kept, right.kept], [["right"], ["left"]]);
  ok(left.agreement?.isMutual && right.agreement?.isMutual);
  const [a, b] = [left.agreement.peer, right.agreement.peer];
  deepStrictEqual(a.handshakeHash, b.handshakeHash);
  deepStrictEqual([a.outcome, b.outcome], ["static", "static"]);
});

Deno.test("agree() hands an invite over when both have confirmed, whichever side invites", async () => {
  for (const inviter of ["left", "right"] as const) {
    let handed: unknown;
    const invited: SideParts = {
      keep(_, invite) {
        handed = invite;
        return Promise.resolve({ undo: () => Promise.resolve() });
      },
    };
    const host = inviting(inviter);
    const ended = inviter === "left" ? await pairUp(host, invited) : await pairUp(invited, host);
    deepStrictEqual(handed, {
      ...{ kind: "invite", coordinator: "https://192.0.2.1:1", token: "tm1_x" },
    });
    const outcomes = [ended.left, ended.right].map(({ agreement }) => agreement?.peer.outcome);
    deepStrictEqual(outcomes.toSorted(), ["they-invite", "we-invite"]);
  }
});

/** Both sides, what each says in the end; nothing may be kept at either. */
const FAILURES: [what: string, left: SideParts, right: SideParts, says: [RegExp, RegExp]][] = [
  ["a no at the listening end", no, {}, [/not confirmed; nothing/, /refused or stopped/]],
  ["a no at the dialling end", {}, no, [/refused or stopped/, /not confirmed; nothing/]],
  ["a no at both", no, no, [/not confirmed/, /not confirmed|refused or stopped/]],
  ["one disk is full", full, {}, [/No space left/, /refused or stopped/]],
  ["the other disk is full", {}, full, [/refused or stopped/, /No space left/]],
  ["both invite", inviting("left"), inviting("right"), [/both sides invite/, /both sides invite/]],
  [
    "no invite can be made",
    { ...inviting("left"), makeInvite: () => Promise.reject(new Error("no coordinator")) },
    {},
    [/no coordinator/, /refused or stopped/],
  ],
  ["the invited one's disk is full", inviting("left"), full, [/refused or stopped/, /No space/]],
  [
    "one cannot keep it",
    { check: () => Promise.reject(new Error("it is there already")) },
    { decide: (_, signal) => aborts(signal) },
    [/there already/, /refused or stopped/],
  ],
  [
    "a name that is none",
    { hello: { kind: "hello", name: "-x-", purpose: "static" } },
    { decide: () => Promise.reject(new Error("asked about a name that is none")) },
    [/refused or stopped|no usable name/, /no usable name/],
  ],
];

Deno.test("agree() keeps nothing at either end when anything goes wrong at one", async () => {
  for (const [what, left, right, says] of FAILURES) {
    const ended = await pairUp(left, right);
    deepStrictEqual([ended.left.kept, ended.right.kept], [[], []], what);
    match(ended.left.why!, says[0], what);
    match(ended.right.why!, says[1], what);
  }
});

Deno.test("agree() tells who was not the right one from what ends the waiting for anybody", async () => {
  const silent = { decide: (_: unknown, signal: AbortSignal) => aborts(signal) };
  const taken = new AgentError("usage", "it is there already");
  const FULL = new AgentError("storage", "disk full");
  /** What happens, both sides, whether the left one may wait for another. */
  const rows: [what: string, left: SideParts, right: SideParts, mayWait: boolean][] = [
    ["a no here", no, {}, true],
    ["a no there", {}, no, true],
    ["both invite", inviting("left"), inviting("right"), true],
    ["a name that is none", {}, { hello: { kind: "hello", name: "-", purpose: "static" } }, true],
    ["a name that cannot be kept here", { check: () => Promise.reject(taken) }, silent, true],
    ["the disk is full here", { keep: () => Promise.reject(FULL) }, {}, false],
    ["the disk is full there", {}, { keep: () => Promise.reject(FULL) }, false],
    ["no invite here", { ...inviting("left"), makeInvite: () => Promise.reject(FULL) }, {}, false],
    ["the screen fails here", { decide: () => Promise.reject(new Error("no file")) }, {}, false],
  ];
  for (const [what, left, right, mayWait] of rows) {
    const ended = await pairUp(left, right);
    strictEqual(ended.left.isThisOneOnly, mayWait, `${what}: ${ended.left.why}`);
    deepStrictEqual([ended.left.kept, ended.right.kept], [[], []], what);
  }
});

Deno.test("agree() lets go of a machine that proves its key and says nothing more", async () => {
  const clock = new FakeClock();
  const ticking = setInterval(() => clock.advance(TICK_MS * FASTER), TICK_MS);
  try {
    const { left } = await pairUp({}, "silent", clock);
    match(left.why!, /nothing comes from the other machine any more/);
    deepStrictEqual([left.isThisOneOnly, left.kept], [true, []]);
  } finally {
    clearInterval(ticking);
  }
});

Deno.test("agree() asks once, however long the answer takes", async () => {
  let asked = 0;
  const { left, right } = await pairUp({}, {
    async decide() {
      asked++;
      await new Promise((resolve) => setTimeout(resolve, 300));
      return { isConfirmed: false };
    },
  });
  strictEqual(asked, 1);
  deepStrictEqual([left.kept, right.kept], [[], []]);
});

/** Somebody who is still thinking when it is over. */
function aborts(signal: AbortSignal): Promise<{ isConfirmed: boolean }> {
  return new Promise((resolve) => {
    const done = () => resolve({ isConfirmed: false });
    if (signal.aborted) done();
    else signal.addEventListener("abort", done, { once: true });
  });
}
