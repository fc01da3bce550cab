import { deepStrictEqual, strictEqual, throws } from "node:assert/strict";
import { PskRing, type PskRingKeys } from "../../lib/session/psk_ring.ts";

const key = (epoch: number, fill = epoch) => ({ epoch, psk: new Uint8Array(32).fill(fill) });

Deno.test("PskRing.epochs has the order in which an initiator tries them", () => {
  deepStrictEqual(
    new PskRing({ previous: key(6), current: key(7), next: key(8) }).epochs,
    [7, 6, 8],
  );
  deepStrictEqual(new PskRing({ current: key(7), next: key(8) }).epochs, [7, 8]);
  deepStrictEqual(new PskRing({ current: key(0, 1) }).epochs, [0]);
});

Deno.test("PskRing.get() gives the key of a held epoch", () => {
  const ring = new PskRing({ previous: key(6), current: key(7) });
  deepStrictEqual(ring.get(6), key(6).psk);
  strictEqual(ring.get(8), undefined);
});

/** What is refused, and why (T11). */
const REFUSED: [keys: PskRingKeys, why: string][] = [
  [{ current: key(1, 0) }, "all zero"],
  [{ current: key(1), next: key(2, 0) }, "all zero, not current"],
  [{ current: { epoch: 1, psk: new Uint8Array(31).fill(1) } }, "too short"],
  [{ current: key(1), previous: key(1, 2) }, "two keys of one epoch"],
  [{ current: key(-1) }, "a negative epoch"],
  [{ current: key(2 ** 32) }, "an epoch beyond 32 bits"],
  [{ current: key(1.5) }, "half an epoch"],
];

Deno.test("PskRing refuses keys that protect nothing (T11)", () => {
  for (const [keys, why] of REFUSED) throws(() => new PskRing(keys), RangeError, why);
});

Deno.test("PskRing shows no key as JSON", () => {
  strictEqual(JSON.stringify(new PskRing({ current: key(7) })), '{"epochs":[7]}');
});
