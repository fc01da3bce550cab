/**
 * A whole coordinator on loopback: worker, TLS, SQLite, real WebSockets.
 *
 * @module
 */

import { deepStrictEqual, ok, rejects, strictEqual } from "node:assert/strict";
import { SYSTEM_CLOCK } from "../../lib/base/clock.ts";
import type { Log } from "../../lib/base/log.ts";
import { Coordinator, type CoordinatorOptions } from "../../lib/coordinator/coordinator.ts";
import { connect } from "./connect.ts";
import { helloOf, SimulatedAgent } from "./simulated_agent.ts";

const SILENT: Log = { debug() {}, info() {}, warning() {}, error() {} };

function optionsFor(
  stateFolder: string,
  change: Partial<CoordinatorOptions> = {},
): CoordinatorOptions {
  return {
    stateFolder,
    listen: [{ hostname: "127.0.0.1", port: 0 }],
    tls: { kind: "self-signed", names: ["coordinator.test"] },
    udpPorts: [8443, 8444],
    software: "tunnelmesh test",
    clock: SYSTEM_CLOCK,
    log: SILENT,
    onFailed: (error) => {
      throw error;
    },
    verifyStatement: () => true,
    ...change,
  };
}

function urlOf(coordinator: Coordinator, scheme = "https"): string {
  const [address] = coordinator.listening;
  return `${scheme}://127.0.0.1:${address!.port}`;
}

Deno.test("Coordinator.start() admits agents over HTTPS and tells them of each other", async () => {
  const folder = await Deno.makeTempDir();
  const coordinator = await Coordinator.start(optionsFor(folder));
  try {
    const token = coordinator.token();
    const a = connect(new SimulatedAgent({ token, hello: helloOf("a") }), urlOf(coordinator));
    await a.until(() => a.online.size === 1 || a.closed !== undefined);
    strictEqual(a.closed, undefined);
    const b = connect(new SimulatedAgent({ token, hello: helloOf("b") }), urlOf(coordinator));
    await b.until(() => b.online.size === 2);
    await a.until(() => a.online.size === 2);
    strictEqual(a.said("welcome")!.addresses.ipv4, "100.64.0.1");
    strictEqual(b.said("welcome")!.addresses.ipv4, "100.64.0.2");
    deepStrictEqual(a.roster, b.roster);
    deepStrictEqual(a.peer("b")!.staticKey, b.staticKey.publicKey);
    a.hangUp();
    await b.until(() => b.online.size === 1);
    strictEqual(b.roster.size, 2, "offline is not gone");
    b.hangUp();
    await b.until(() => b.closed !== undefined);
  } finally {
    await coordinator.stop();
    await Deno.remove(folder, { recursive: true });
  }
});
