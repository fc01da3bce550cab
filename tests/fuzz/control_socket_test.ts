/**
 * The control socket, from its owner's programs: every line is answered, with a result or an error,
 * and the process goes on.
 *
 * @module
 */

import { ok, strictEqual } from "node:assert/strict";
import { callControlSocket, ControlSocketServer } from "../../lib/agent/control_socket.ts";
import { concatBytes } from "../../lib/base/bytes.ts";
import { inTempFolder } from "../agent/temp_folder.ts";
import { isSoak } from "../fakes/soak.ts";
import { bytesOf, Forger, report, seedOfRun, textOf } from "./fuzz.ts";

const LINES = isSoak() ? 1_000_000 : 4_000;
/** Lines written at once: the socket's buffers hold their answers. */
const BATCH = 50;
const LINE_FEED = 10;

Deno.test("fuzz: every line on a control socket is answered", () =>
  inTempFolder(async (folder) => {
    const methods = {
      status: () => ({ ok: true }),
      ping: ({ peer, timeoutMs }: Record<string, unknown>) => `${peer} ${timeoutMs}`,
    };
    const server = new ControlSocketServer(folder, "a.sock", methods);
    const seed = seedOfRun();
    const forger = new Forger({
      samples: bytesOf(
        '{"id":1,"method":"status","params":{}}',
        '{"id":2,"method":"ping","params":{"peer":"laptop","timeoutMs":100}}',
        // Long words, so that much of what is damaged is still JSON.
        `{"id":"${"i".repeat(90)}","method":"status","params":{"${"x".repeat(90)}":0}}`,
        `{"id":4,"method":"ping","params":{"peer":"${"p".repeat(200)}","timeoutMs":100}}`,
      ),
      pieces: bytesOf(
        ...["null", "[]", "{}", '"toString"', '"__proto__"', '"constructor"', "1e999", "-0", '"'],
        ...[',"id":7', ',"method":"status"', '"\\ud800"', "true"],
      ),
    }, seed);
    const connection = await Deno.connect({ transport: "unix", path: `${folder}/a.sock` });
    const answers = answersOf(connection);
    const counts = { results: 0, errors: 0, json: 0 };
    const startedAt = performance.now();
    for (let sent = 0; sent < LINES; sent += BATCH) {
      const lines = Array.from({ length: BATCH }, () => lineOf(forger.next()));
      await writeAll(connection, concatBytes(...lines));
      for (const line of lines) {
        const answer = await answers.next();
        const shown = `TUNNELMESH_SEED=${seed}: ${JSON.stringify(textOf(line))}`;
        ok(!answer.done, `the connection ended: ${shown}`);
        const { result, error } = JSON.parse(answer.value) as Record<string, unknown>;
        strictEqual(error === undefined, result !== undefined, shown);
        counts[error === undefined ? "results" : "errors"]++;
        if (isJson(line)) counts.json++;
      }
    }
    const seconds = ((performance.now() - startedAt) / 1000).toFixed(1);
    report(`fuzz control socket: ${LINES} lines, ${JSON.stringify(counts)}, ${seconds} s`);
    ok(counts.json >= LINES / 5 && counts.results >= LINES / 20);
    strictEqual(JSON.stringify(await callControlSocket(folder, "a.sock", "status")), '{"ok":true}');
    connection.close();
    server.close();
  }));

/** A line that is not empty: an empty one is nobody's. */
function lineOf(input: Uint8Array): Uint8Array {
  const line = input.map((byte) => byte === LINE_FEED ? 0x20 : byte);
  return concatBytes(textOf(line).trim() === "" ? Uint8Array.of(0x5b) : line, Uint8Array.of(10));
}

function isJson(line: Uint8Array): boolean {
  try {
    JSON.parse(textOf(line));
    return true;
  } catch {
    return false;
  }
}

async function writeAll(connection: Deno.UnixConn, bytes: Uint8Array): Promise<void> {
  for (let at = 0; at < bytes.length;) at += await connection.write(bytes.subarray(at));
}

async function* answersOf(connection: Deno.UnixConn): AsyncGenerator<string, void> {
  const decoder = new TextDecoder();
  const chunk = new Uint8Array(65_536);
  let pending = "";
  for (;;) {
    const length = await connection.read(chunk);
    if (length === null) return;
    const lines = (pending + decoder.decode(chunk.subarray(0, length), { stream: true })).split(
      "\n",
    );
    pending = lines.pop()!;
    yield* lines;
  }
}
