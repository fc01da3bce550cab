/**
 * What is written in several places says the same in all of them.
 *
 * @module
 */

import { ok, strictEqual } from "node:assert/strict";
import project from "../../deno.json" with { type: "json" };
import { VERSION } from "../../lib/base/version.ts";

const root = new URL("../../", import.meta.url);
const read = (name: string) => Deno.readTextFile(new URL(name, root));

Deno.test("VERSION is that of deno.json", () => strictEqual(VERSION, project.version));

Deno.test("README and .ci/run pin the Deno version of .dvmrc", async () => {
  const pinned = (await read(".dvmrc")).trim();
  for (const name of ["README.md", ".ci/run"]) {
    const versions = [...(await read(name)).matchAll(/\bdeno@([\w.]+)/g)].map(([, one]) => one);
    ok(versions.length > 0, `${name} names a version`);
    for (const version of versions) strictEqual(version, pinned, name);
  }
});

Deno.test("no file but .ci/run names a folder outside of the project", async () => {
  const { stdout } = await new Deno.Command("git", {
    args: [
      "grep",
      "-lE",
      "\\.\\./shared",
      "--",
      ".",
      ":!.ci/run",
      ":!tests/cli/versions_test.ts",
    ],
    cwd: root,
  }).output();
  strictEqual(new TextDecoder().decode(stdout), "");
});
