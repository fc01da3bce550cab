/**
 * @module
 */

import { deepStrictEqual, rejects, strictEqual } from "node:assert/strict";
import { callControlSocket, ControlSocketServer } from "../../lib/agent/control_socket.ts";
import { AgentError } from "../../lib/agent/errors.ts";
import { inTempFolder } from "./temp_folder.ts";

const NAME = "agent.sock";

Deno.test("callControlSocket() gets results and failures of methods", () =>
  inTempFolder(async (folder) => {
    const server = new ControlSocketServer(folder, NAME, {
      echo: (params) => Promise.resolve(params),
      nothing: () => undefined,
      refuse: () => {
        throw new AgentError("refused", "Cannot: no");
      },
    });
    try {
      const long = "ü".repeat(20_000);
      deepStrictEqual(await callControlSocket(folder, NAME, "echo", { long }), { long });
      strictEqual(await callControlSocket(folder, NAME, "nothing"), null);
      const refused = { name: "AgentError", fault: "refused", message: "Cannot: no" };
      await rejects(callControlSocket(folder, NAME, "refuse"), refused);
      await rejects(callControlSocket(folder, NAME, "other"), { fault: "usage" });
      await rejects(callControlSocket(folder, NAME, "toString"), { fault: "usage" });
      strictEqual(Deno.statSync(`${folder}/${NAME}`).mode! & 0o777, 0o600);
    } finally {
      server.close();
    }
    server.close();
    await rejects(callControlSocket(folder, NAME, "echo"), { fault: "not-running" });
  }));

Deno.test("callControlSocket() tells a process that is not there, and one that was killed", () =>
  inTempFolder(async (folder) => {
    await rejects(callControlSocket(`${folder}/none`, NAME, "x"), { fault: "not-running" });
    // What kill -9 leaves: a name in the folder that nobody listens on.
    Deno.writeTextFileSync(`${folder}/${NAME}`, "");
    await rejects(callControlSocket(folder, NAME, "x"), { fault: "not-running" });
    const server = new ControlSocketServer(folder, NAME, { ok: () => 1 });
    strictEqual(await callControlSocket(folder, NAME, "ok"), 1);
    server.close();
  }));

Deno.test("callControlSocket() gives up on a process that does not answer", () =>
  inTempFolder(async (folder) => {
    const server = new ControlSocketServer(folder, NAME, { wait: () => new Promise(() => {}) });
    await rejects(callControlSocket(folder, NAME, "wait", {}, 1), /took too long/);
    server.close();
  }));

Deno.test("ControlSocketServer survives clients that send nonsense", () =>
  inTempFolder(async (folder) => {
    const server = new ControlSocketServer(folder, NAME, { ok: () => 1 });
    const rows = ["\n", "{", "null\n", "[]\n", '{"method":"ok"}\n', "\u0000\n", "x".repeat(70_000)];
    for (const text of rows) {
      const client = await Deno.connect({ transport: "unix", path: `${folder}/${NAME}` });
      await client.write(new TextEncoder().encode(text)).catch(() => 0);
      client.close();
    }
    strictEqual(await callControlSocket(folder, NAME, "ok"), 1);
    server.close();
  }));
