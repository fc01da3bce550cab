import { deepStrictEqual, strictEqual } from "node:assert/strict";
import { type Keypair, newActivity } from "../../lib/session/keypair.ts";
import { KeypairSlots } from "../../lib/session/keypair_slots.ts";

function keypair(isInitiator: boolean, isConfirmed = true): Keypair {
  return {
    peer: "p",
    localIndex: 0,
    remoteIndex: 0,
    isInitiator,
    createdAt: 0,
    sendKey: new Uint8Array(32),
    receiveKey: new Uint8Array(32),
    path: undefined,
    unconfirmedPaths: [],
    isConfirmed,
    isRetired: false,
    activity: newActivity(),
  };
}

Deno.test("KeypairSlots.supersedes() prefers the later keypair", () => {
  const slots = new KeypairSlots(true);
  const [first, second] = [slots.add(keypair(true)), slots.add(keypair(false))];
  strictEqual(slots.supersedes(first), true, "there is none yet");
  slots.setCurrent(first);
  strictEqual(slots.supersedes(second), true);
  slots.setCurrent(second);
  strictEqual(slots.supersedes(first), false);
});

/** Whose key is smaller, who initiated candidate and current, whether the candidate wins, why. */
const CROSSINGS: [ours: boolean, candidate: boolean, wins: boolean, why: string][] = [
  [true, true, true, "our key is smaller, our handshake comes second"],
  [true, false, false, "our key is smaller, the peer's handshake comes second"],
  [false, true, false, "the peer's key is smaller, our handshake comes second"],
  [false, false, true, "the peer's key is smaller, the peer's handshake comes second"],
];

Deno.test("KeypairSlots.supersedes() goes by the smaller key where two cross, in any order", () => {
  for (const [isOurKeySmaller, isInitiator, wins, why] of CROSSINGS) {
    for (const isCandidateOlder of [false, true]) {
      const slots = new KeypairSlots(isOurKeySmaller);
      const [older, newer] = [
        slots.add(keypair(isInitiator === isCandidateOlder)),
        slots.add(keypair(isInitiator !== isCandidateOlder)),
      ];
      [older.rival, newer.rival] = [newer, older];
      const [candidate, current] = isCandidateOlder ? [older, newer] : [newer, older];
      slots.setCurrent(current);
      strictEqual(slots.supersedes(candidate), wins, why);
    }
  }
});

Deno.test("KeypairSlots.surplus is the oldest of five that is not current, if none was heard", () => {
  for (const current of [0, 1, 4]) {
    const slots = new KeypairSlots(true);
    const all = Array.from({ length: 4 }, () => slots.add(keypair(true)));
    strictEqual(slots.surplus, undefined);
    all.push(slots.add(keypair(true)));
    slots.setCurrent(all[current]);
    strictEqual(slots.surplus, all[current === 0 ? 1 : 0]);
  }
});

Deno.test("KeypairSlots.surplus is the one of five by which nothing came for longest", () => {
  const slots = new KeypairSlots(true);
  const all = Array.from({ length: 5 }, () => slots.add(keypair(true)));
  slots.setCurrent(all[4]);
  for (const [i, receivedAt] of [50, 20, 40, 30, 10].entries()) {
    all[i]!.keypair.activity.receivedAt = receivedAt;
  }
  strictEqual(slots.surplus, all[1], "the peer may still send by the oldest");
});

Deno.test("KeypairSlots.remove() forgets the keypair, as current and as rival", () => {
  const slots = new KeypairSlots(true);
  const [first, second] = [slots.add(keypair(true)), slots.add(keypair(false, false))];
  [first.rival, second.rival] = [second, first];
  slots.setCurrent(first);
  strictEqual(slots.unconfirmed, second);
  slots.remove(first.keypair);
  strictEqual(slots.current, undefined);
  strictEqual(second.rival, undefined);
  deepStrictEqual(slots.all, [second]);
  slots.remove(first.keypair);
  deepStrictEqual(slots.all, [second]);
});
