import { deepStrictEqual } from "node:assert/strict";
import { collectGarbage } from "../../lib/base/garbage.ts";

Deno.test("collectGarbage() asks for all of it, and does without an engine that offers it", () => {
  const scope = globalThis as { gc?: unknown };
  const before = scope.gc;
  const asked: unknown[] = [];
  try {
    scope.gc = undefined;
    collectGarbage();
    scope.gc = (how: unknown) => asked.push(how);
    collectGarbage();
  } finally {
    scope.gc = before;
  }
  deepStrictEqual(asked, [{ type: "major", execution: "sync", flavor: "last-resort" }]);
});
