/**
 * Much data through the mesh: nothing is lost, nothing is changed.
 *
 * ```
 *   a ══ TCP, both ways at once ══ b        over their mesh addresses
 * ```
 *
 * @module
 */

import { ok, strictEqual } from "node:assert/strict";
import { pings } from "../lab/namespaces.ts";
import { figure, IS_SOAK, Mesh, testProgram } from "./mesh.ts";

/** Each way, in each family. */
const BYTES = IS_SOAK ? 1_000_000_000 : 100_000_000;

Deno.test("TCP carries 100 MB both ways at once, unchanged, in both families", async () => {
  await using mesh = await Mesh.create({ agents: ["a", "b"] });
  const [a, b] = [mesh.agent("a"), mesh.agent("b")];
  const { addresses } = await b.status();
  for (const [family, address] of Object.entries(addresses)) {
    await pings(a.host, address);
    const listener = b.host.start(testProgram("tcp_transfer", "listen", "5000", String(BYTES)));
    await listener.shows(/^ready$/m);
    const startedAt = performance.now();
    const connect = testProgram("tcp_transfer", "connect", address, "5000", String(BYTES));
    const connector = a.host.start(connect);
    strictEqual(await a.survives(b.survives(connector.ended)), 0, connector.stderr);
    strictEqual(await listener.ended, 0, listener.stderr);
    const seconds = (performance.now() - startedAt) / 1000;
    figure(`TCP ${family}, both ways`, 2 * BYTES * 8 / seconds / 1e6, "Mbit/s");
    const [sentByA, receivedByB] = [sent(connector.stdout), received(listener.stdout)];
    const [sentByB, receivedByA] = [sent(listener.stdout), received(connector.stdout)];
    strictEqual(receivedByB, `${sentByA} ${BYTES}`, `${family}: a to b`);
    strictEqual(receivedByA, `${sentByB} ${BYTES}`, `${family}: b to a`);
  }
  const peer = await a.peer("b");
  ok(peer.rxBytes > 2 * BYTES && peer.txBytes > 2 * BYTES, "the mesh carried it");
});

function sent(output: string): string | undefined {
  return /^sent (\w{64})$/m.exec(output)?.[1];
}

function received(output: string): string | undefined {
  return /^received (\w{64} \d+)$/m.exec(output)?.[1];
}
