import { deepStrictEqual, notStrictEqual, strictEqual } from "node:assert/strict";
import { IndexTable } from "../../lib/session/index_table.ts";
import { seededBytes } from "../fakes/random.ts";

Deno.test("IndexTable.allocate() takes what chance gives, unless it is taken", () => {
  const draws = [[1, 0, 0, 0], [1, 0, 0, 0], [0xff, 0xff, 0xff, 0xff], [1, 0, 0, 0], [2, 0, 0, 0]];
  const table = new IndexTable<string>(() => Uint8Array.from(draws.shift()!));
  strictEqual(table.allocate("a"), 1);
  strictEqual(table.allocate("b"), 0xffff_ffff, "the second draw of 1 is refused");
  strictEqual(table.allocate("c"), 2);
  deepStrictEqual([table.get(1), table.get(0xffff_ffff), table.get(2)], ["a", "b", "c"]);
});

Deno.test("IndexTable.free() gives an index back, and only that one", () => {
  const table = new IndexTable<string>(seededBytes(1));
  const [a, b] = [table.allocate("a"), table.allocate("b")];
  table.free(a);
  table.free(12345);
  strictEqual(table.get(a), undefined);
  strictEqual(table.get(b), "b");
  strictEqual(table.size, 1);
});

Deno.test("IndexTable draws do not repeat or count up (T34)", () => {
  const table = new IndexTable<number>(seededBytes(2));
  const indices = Array.from({ length: 200 }, (_, i) => table.allocate(i));
  strictEqual(new Set(indices).size, 200);
  for (let i = 1; i < indices.length; i++) notStrictEqual(indices[i], indices[i - 1]! + 1);
});
