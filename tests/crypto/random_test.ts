import { notDeepStrictEqual, ok, strictEqual } from "node:assert/strict";
import { isAllZero } from "../../lib/base/bytes.ts";
import { randomBytes } from "../../lib/crypto/random.ts";

Deno.test("randomBytes() fills any length, also beyond what one system call gives", () => {
  for (const length of [0, 1, 32, 65536, 65537, 200_000]) {
    const bytes = randomBytes(length);
    strictEqual(bytes.length, length);
    if (length >= 32) ok(!isAllZero(bytes.subarray(-32)), `the end of ${length} bytes`);
  }
  notDeepStrictEqual(randomBytes(32), randomBytes(32));
});
