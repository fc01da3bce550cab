/**
 * Every pair of networks is connected, by the best path there can be. Runs only if
 * `TUNNELMESH_NAT_CELLS` says which pairs: `short`, `full`, or names such as `cone-random`. Twice:
 * as it is, and with wires before the gateways that delay and lose; `TUNNELMESH_NAT_WIRE` asks for
 * one run with other wires, as in `delay=50 jitter=5`, or with none if it is empty.
 *
 * @module
 */

import { deepStrictEqual, throws } from "node:assert/strict";
import { installPackages } from "../packages.ts";
import {
  allCells,
  expectedPath,
  formatResults,
  formatTimes,
  isAsExpected,
  parseCells,
  tryCells,
} from "./nat_matrix.ts";

/** Where the nodes serve SSH: a port that even strict firewalls let out to. */
const SSH_PORT = 443;

/** Each way through a gateway: 20 ms, and one of a hundred is lost. */
const BAD_LINE = "delay=20 loss=1";

const wanted = Deno.env.get("TUNNELMESH_NAT_CELLS");
const asked = Deno.env.get("TUNNELMESH_NAT_WIRE");
const wires = asked === undefined ? ["", BAD_LINE] : [asked];

for (const wire of wanted === undefined ? [] : wires) {
  const how = `${wanted}, ${wire || "no delay"}`;
  Deno.test(`every pair of networks is connected (${how})`, async () => {
    const needed = ["ip", "nsenter", "nft", "conntrack", "ping", ...wire === "" ? [] : ["gcc"]];
    deepStrictEqual(await installPackages(needed), undefined);
    const results = await tryCells({
      cells: parseCells(wanted!),
      sshPort: SSH_PORT,
      ...(wire === "" ? {} : { wire }),
    });
    const table = `${formatResults(results)}${formatTimes(results)}`;
    Deno.stdout.writeSync(new TextEncoder().encode(`\n${table}`));
    const wrong = results.filter((result) => !isAsExpected(result));
    deepStrictEqual(wrong.map(({ a, b }) => `${a}-${b}`), [], table);
  });
}

Deno.test("expectedPath() is the same from both ends", () => {
  for (const { a, b } of allCells()) {
    deepStrictEqual(expectedPath({ a, b }, 443), expectedPath({ a: b, b: a }, 443), `${a}-${b}`);
  }
});

Deno.test("expectedPath() counts the cells of each kind", () => {
  const count = (sshPort: number) => {
    const kinds = allCells().map((cell) => expectedPath(cell, sshPort));
    return ["udp", "ssh", "relay"].map((kind) => kinds.filter((one) => one === kind).length);
  };
  // Of 5 × 5 pairs that have UDP, random-cone (twice) and random-random cannot be punched.
  deepStrictEqual(count(443), [22, 4, 23]);
  deepStrictEqual(count(8445), [22, 2, 25]);
});

Deno.test("parseCells() knows both sets and names what is no cell", () => {
  deepStrictEqual([parseCells("short").length, parseCells("full").length], [12, 49]);
  deepStrictEqual(parseCells("cone-random"), [{ a: "cone", b: "random" }]);
  throws(() => parseCells("cone-rand"), /No cell "cone-rand"/);
});
