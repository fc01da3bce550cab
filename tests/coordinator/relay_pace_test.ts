import { deepStrictEqual, ok, strictEqual } from "node:assert/strict";
import { RelayPace } from "../../lib/coordinator/relay_pace.ts";

const MOST = 4_194_304;
const LEAST = 65_536;

/** So many members that send all the time. */
function senders(count: number): { readonly sentAt: number }[] {
  return Array.from({ length: count }, () => ({ sentAt: Infinity }));
}

Deno.test("RelayPace.shareOf() halves what is on the way while it stands before all else, and gives it back", () => {
  const pace = new RelayPace(MOST);
  const members = senders(7);
  let now = 0;
  const share = (bytes: number) => {
    pace.cameAfter(bytes);
    pace.cameAfter(0);
    return pace.shareOf(now += 100, members);
  };
  const full = MOST / 8;
  deepStrictEqual([0, 1_000, 1_048_576].map(share), [full, full, full]);
  deepStrictEqual([1_048_577, 2e6, 1e7].map(share), [full / 2, full / 4, full / 8]);
  strictEqual(full / 8, LEAST);
  strictEqual(share(1e7), LEAST, "the longest message always fits");
  strictEqual(share(1e7), LEAST);
  const back = Array.from({ length: 8 }, () => share(1));
  ok(back.every((bytes, i) => i === 0 || bytes >= back[i - 1]!));
  strictEqual(back.at(-1), full);
});

Deno.test("RelayPace.shareOf() counts who sent within a second, and looks ten times a second", () => {
  const pace = new RelayPace(MOST);
  const members = [{ sentAt: 1_000 }, { sentAt: 1_000 }, { sentAt: 1_000 }, { sentAt: -Infinity }];
  strictEqual(pace.shareOf(1_500, members), MOST / 4);
  members.length = 0;
  strictEqual(pace.shareOf(1_599, members), MOST / 4);
  strictEqual(pace.shareOf(1_600, members), MOST / 2, "as much as one may have");
});

Deno.test("RelayPace.giveWay() holds grants for a moment, and a quarter of the time at most", () => {
  const pace = new RelayPace(MOST);
  strictEqual(pace.grantAt(1_000), 1_000);
  pace.giveWay(1_000);
  strictEqual(pace.grantAt(1_000), 1_020);
  pace.giveWay(1_010);
  strictEqual(pace.grantAt(1_010), 1_030);
  strictEqual(pace.grantAt(1_030), 1_030);
  // One who says that he joins, again and again, for a minute.
  let held = 0;
  for (let now = 2_000; now < 62_000; now++) {
    pace.giveWay(now);
    if (pace.grantAt(now) > now) held++;
  }
  ok(held > 14_000 && held <= 60_000 * 0.25 + 250 + 20, `${held} ms of 60 s`);
});
