import { deepStrictEqual, ok, strictEqual } from "node:assert/strict";
import { seededRandom } from "../fakes/random.ts";
import { isSoak } from "../fakes/soak.ts";
import { type Flight, KEYS, PairWorld } from "./pair_world.ts";

/** Says two things at either end as soon as both have met, and checks that all of it arrives. */
function pairAndTalk(
  isLost: (flight: Flight, world: PairWorld) => boolean,
  what: string,
  profile: "pair" | "pair-interop" = "pair",
): number {
  const world = new PairWorld({ profile }, { profile });
  const { dialler, listener } = world;
  world.isLost = (flight) => isLost(flight, world);
  const spoken = new Set<unknown>();
  const took = world.until(() => {
    for (const side of [dialler, listener]) {
      if (side.met === undefined || spoken.has(side)) continue;
      spoken.add(side);
      for (const text of ["one", "two"]) world.say(side, text);
    }
    return dialler.heard.length === 2 && listener.heard.length === 2;
  }, 170_000);
  ok(took !== undefined, `${what}: ${dialler.failed}, ${listener.failed}`);
  deepStrictEqual([dialler.heard, listener.heard], [["one", "two"], ["one", "two"]], what);
  deepStrictEqual(dialler.met, KEYS.listener.publicKey, what);
  deepStrictEqual(listener.met, KEYS.dialler.publicKey, what);
  for (const { actions } of [dialler, listener]) {
    strictEqual(actions.filter(({ kind }) => kind === "met").length, 1, what);
  }
  return took;
}

/** Datagrams of a pairing without loss, with some to spare. */
const DATAGRAMS = 16;

for (const profile of ["pair", "pair-interop"] as const) {
  Deno.test(`T33: any one or two lost datagrams of a pairing cost time and nothing else (${profile})`, () => {
    let longest = 0;
    for (let first = 0; first < DATAGRAMS; first++) {
      for (let second = first; second < DATAGRAMS; second++) {
        const isLost = ({ number }: Flight) => number === first || number === second;
        longest = Math.max(longest, pairAndTalk(isLost, `${first} and ${second}`, profile));
      }
    }
    ok(longest < 2_000, `${longest} ms`);
  });
}

Deno.test("T33: every copy but one of each message of XX may be lost", () => {
  // Type, who sends it, how many of the first ones are lost, the most it may take in ms.
  const rows: [type: number, lost: number, mostMs: number][] = [
    [1, 1, 400],
    [1, 2, 700],
    [1, 3, 1_500],
    [1, 6, 3_600],
    [2, 1, 400],
    [2, 3, 1_500],
    [2, 6, 3_600],
    [3, 1, 400],
    [3, 2, 700],
    [3, 3, 1_200],
    [3, 4, 2_200],
    // All five copies: a fresh handshake.
    [3, 5, 5_400],
    [3, 12, 16_000],
  ];
  for (const [type, lost, mostMs] of rows) {
    let left = lost;
    const isLost = ({ datagram }: Flight) => datagram[0] === type && left-- > 0;
    const took = pairAndTalk(isLost, `${lost} of type ${type}`);
    ok(took <= mostMs, `${lost} of type ${type}: ${took} ms`);
  }
});

Deno.test("T33: the listener's first datagrams may all be lost; the dialler starts afresh", () => {
  for (const lost of [1, 2, 5, 12, 20]) {
    let left = lost;
    const isLost = ({ from, datagram }: Flight) =>
      from === "listener" && datagram[0] === 5 && left-- > 0;
    pairAndTalk(isLost, `${lost} of the listener`);
  }
});

Deno.test("T33: each copy of message 3 is answered, though nobody has anything to say", () => {
  for (const [lost, mostMs] of [[0, 40], [1, 300], [2, 600], [4, 2_100]] as const) {
    const world = new PairWorld();
    let left: number = lost;
    world.isLost = ({ from, datagram }) => from === "listener" && datagram[0] === 5 && left-- > 0;
    const took = world.until(() => world.dialler.met !== undefined);
    ok(took !== undefined && took <= mostMs, `${lost} lost: ${took} ms`);
    strictEqual(world.flights.filter(({ datagram }) => datagram[0] === 1).length, 1);
  }
});

Deno.test("T33: a pairing gets through a line that loses, doubles and delays", () => {
  const runs = isSoak() ? 2_000 : 40;
  for (let seed = 0; seed < runs; seed++) {
    const random = seededRandom(seed);
    const isLost = ({ from, datagram }: Flight, world: PairWorld) => {
      if (random() < 0.2) return true;
      if (random() < 0.3) {
        const other = from === "dialler" ? world.listener : world.dialler;
        const at = world.clock.now() + random() * 3_000;
        const copy = datagram.slice();
        world.clock.schedule(at, () => world.deliver(other, copy));
      }
      return false;
    };
    pairAndTalk(isLost, `seed ${seed}`);
  }
});
