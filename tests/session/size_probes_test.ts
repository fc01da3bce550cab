/**
 * Echoes that are sent for their length.
 *
 * @module
 */

import { deepStrictEqual, strictEqual } from "node:assert/strict";
import { SizeProbes } from "../../lib/session/size_probes.ts";

const PATH = { kind: "udp", key: "udp 192.0.2.1:1", remote: "192.0.2.1:1" } as const;
const id = (number: number) => Uint8Array.of(number, 0, 0, 0, 0, 0, 0, 0);

Deno.test("SizeProbes.answered() tells what arrived in full length, once", () => {
  const probes = new SizeProbes();
  probes.sent(id(1), { path: PATH, size: 1408 });
  probes.sent(id(2), { path: PATH, size: 1300 });
  strictEqual(probes.answered(id(3), 1408), undefined, "nobody asked");
  strictEqual(probes.answered(id(1), 1407), undefined, "it arrived shorter");
  strictEqual(probes.answered(id(1), 1408), undefined, "and was taken");
  deepStrictEqual(probes.answered(id(2), 1300), { path: PATH, size: 1300 });
  strictEqual(probes.answered(id(2), 1300), undefined);
});

Deno.test("SizeProbes forgets the oldest of many", () => {
  const probes = new SizeProbes();
  for (let i = 0; i <= 64; i++) probes.sent(id(i), { path: PATH, size: 100 });
  strictEqual(probes.answered(id(0), 100), undefined);
  deepStrictEqual(probes.answered(id(1), 100), { path: PATH, size: 100 });
});
