/**
 * The BLAKE2 authors' known answers (CC0): every message length from 0 to 255 bytes, with and
 * without a key.
 *
 * @module
 */

import { strictEqual } from "node:assert/strict";
import { fromHex, toHex } from "../../lib/base/bytes.ts";
import { NATIVE_BACKEND } from "../../lib/crypto/backend.ts";
import { NOBLE_BACKEND } from "../../lib/crypto/noble.ts";
import { testWithVectors } from "./external.ts";

/** One answer; `key` is empty for the unkeyed hash. */
interface Row {
  hash: string;
  in: string;
  key: string;
  out: string;
}

for (const backend of [NATIVE_BACKEND, NOBLE_BACKEND]) {
  testWithVectors<Row[]>(
    `BLAKE2s of ${backend.name} gives the known answers`,
    "blake2s-kat.json",
    (rows) => {
      strictEqual(rows.length, 512);
      strictEqual(rows.filter((row) => row.key !== "").length, 256);
      for (const row of rows) {
        const message = fromHex(row.in);
        const answer = row.key === ""
          ? backend.blake2s(message)
          : backend.keyedBlake2s(fromHex(row.key), 32, message);
        strictEqual(toHex(answer), row.out, `length ${message.length}`);
      }
    },
  );
}
