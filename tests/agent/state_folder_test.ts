/**
 * @module
 */

import { deepStrictEqual, ok, strictEqual, throws } from "node:assert/strict";
import { AgentError } from "../../lib/agent/errors.ts";
import { StateFolder } from "../../lib/agent/state_folder.ts";
import { inTempFolder } from "./temp_folder.ts";

Deno.test("StateFolder.open() makes folder and files for the owner only, whatever the umask", () =>
  inTempFolder((base) => {
    const before = Deno.umask(0o000);
    try {
      const folder = StateFolder.open(`${base}/a/b`);
      folder.write("static.key", "secret\n");
      strictEqual(modeOf(`${base}/a/b`), 0o700);
      for (const name of ["static.key", "lock"]) strictEqual(modeOf(folder.pathOf(name)), 0o600);
      deepStrictEqual(folder.warnings, []);
      folder.close();
    } finally {
      Deno.umask(before);
    }
  }));

Deno.test("StateFolder.open() lets one process in, and the next one after it", () =>
  inTempFolder(async (base) => {
    const first = StateFolder.open(base);
    // The lock is between processes as much as between openings: both are tried.
    throws(() => StateFolder.open(base), isFault("in-use"));
    strictEqual(await openInAnotherProcess(base), "in-use");
    first.close();
    first.close();
    strictEqual(await openInAnotherProcess(base), "opened");
    StateFolder.open(base).close();
  }));

Deno.test("StateFolder.open() warns of a folder that others can read", () =>
  inTempFolder((base) => {
    Deno.chmodSync(base, 0o755);
    const folder = StateFolder.open(base);
    strictEqual(folder.warnings.length, 1);
    ok(folder.warnings[0]!.includes(`chmod 700 ${base}`));
    folder.close();
  }));

Deno.test("StateFolder.write() replaces a file whole, whatever a crash left behind", () =>
  inTempFolder((base) => {
    const folder = StateFolder.open(base);
    folder.write("roster.json", "long contents of the first time");
    Deno.writeTextFileSync(`${base}/roster.json.new`, "half of someth", { mode: 0o644 });
    folder.write("roster.json", "second");
    strictEqual(folder.read("roster.json"), "second");
    strictEqual(modeOf(`${base}/roster.json`), 0o600);
    deepStrictEqual([...Deno.readDirSync(base)].map(({ name }) => name).sort(), [
      "lock",
      "roster.json",
    ]);
    folder.close();
  }));

Deno.test("StateFolder.write() leaves the file as it was when the disk refuses", () =>
  inTempFolder((base) => {
    const folder = StateFolder.open(base);
    folder.write("timestamp", "1");
    // A folder in the way of the temporary file stands for any refusal, also for root.
    Deno.mkdirSync(`${base}/timestamp.new/x`, { recursive: true });
    throws(() => folder.write("timestamp", "2"), isFault("storage"));
    strictEqual(folder.read("timestamp"), "1");
    folder.close();
  }));

Deno.test("StateFolder.read() tells a missing file from one it cannot read", () =>
  inTempFolder((base) => {
    const folder = StateFolder.peek(base);
    strictEqual(folder.read("nothing"), undefined);
    Deno.mkdirSync(`${base}/odd`);
    throws(() => folder.read("odd"), AgentError);
    strictEqual(StateFolder.peek(`${base}/not/there`).read("x"), undefined);
  }));

function modeOf(path: string): number {
  return Deno.statSync(path).mode! & 0o777;
}

function isFault(fault: string) {
  return (error: unknown) => error instanceof AgentError && error.fault === fault;
}

async function openInAnotherProcess(folder: string): Promise<string> {
  const module = new URL("../../lib/agent/state_folder.ts", import.meta.url).href;
  const code = `import { StateFolder } from "${module}";
    try { StateFolder.open(${JSON.stringify(folder)}); console.log("opened"); }
    catch (error) { console.log(error.fault); }`;
  const { stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["eval", "--no-check", "--ext=ts", code],
    cwd: new URL("../../", import.meta.url),
  }).output();
  const decoder = new TextDecoder();
  return decoder.decode(stdout).trim() || decoder.decode(stderr);
}
