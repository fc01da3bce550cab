import { ok, strictEqual } from "node:assert/strict";

/** SHA-256 of "abc" (FIPS 180-2, B.1). */
const DIGEST = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

Deno.test("forgetProgramText() takes code out of memory, and the program works on", async () => {
  const script = new URL("forget_text_child.ts", import.meta.url).pathname;
  const { success, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", script],
  }).output();
  ok(success, new TextDecoder().decode(stderr));
  const said = JSON.parse(new TextDecoder().decode(stdout));
  ok(said.before > 4096, `${said.before} KiB are what a start touches`);
  ok(said.after < said.before / 2, `${said.after} of ${said.before} KiB are still there`);
  strictEqual(said.digest, DIGEST);
});
