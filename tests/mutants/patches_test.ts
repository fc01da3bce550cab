/**
 * Every threat has a test and a mutant, and every mutant fits the code as it is: what `deno task
 * mutants` would find out much later.
 *
 * @module
 */

import { deepStrictEqual, ok } from "node:assert/strict";
import { changesOf, loadMutants } from "./mutant.ts";

const root = new URL("../../", import.meta.url);
/** Rows of the table of threats. */
const THREATS = Array.from({ length: 38 }, (_, i) => i + 1);

Deno.test("every mutant fits the code, and names tests that there are", async () => {
  for (const mutant of await loadMutants()) {
    const changes = changesOf(mutant);
    ok(changes.length > 0, mutant.name);
    for (const { file, before } of changes) {
      const text = await Deno.readTextFile(new URL(file, root));
      for (const lines of before) {
        ok(lines !== "" && text.includes(lines), `${mutant.name}: ${file} has no longer\n${lines}`);
      }
    }
    const names: string[] = [];
    for (const file of mutant.tests) {
      const own = testNames(await Deno.readTextFile(new URL(file, root)));
      ok(own.length > 0, `${mutant.name}: ${file}`);
      names.push(...own);
    }
    const { filter = "" } = mutant;
    ok(names.some((name) => name.includes(filter)), `${mutant.name}: no test named ${filter}`);
  }
});

Deno.test("every threat has a mutant", async () => {
  const mutants = await loadMutants();
  const without = THREATS.filter((threat) =>
    !mutants.some(({ name }) => name.startsWith(`t${String(threat).padStart(2, "0")}_`))
  );
  deepStrictEqual(without, []);
});

Deno.test("every threat has a test of its name", async () => {
  const named = new Set<string>();
  for await (const text of testFiles(new URL("tests/", root))) {
    for (const name of testNames(text)) {
      for (const [threat] of name.matchAll(/\bT\d+\b/g)) named.add(threat);
    }
  }
  deepStrictEqual(THREATS.filter((threat) => !named.has(`T${threat}`)), []);
});

/** Names of the tests that a file defines. */
function testNames(text: string): string[] {
  return [...text.matchAll(/\bDeno\.test\(\s*(["`])(.+?)\1/g)].map(([, , name]) => name!);
}

async function* testFiles(folder: URL): AsyncGenerator<string> {
  for await (const { name, isDirectory } of Deno.readDir(folder)) {
    if (isDirectory) yield* testFiles(new URL(`${name}/`, folder));
    else if (name.endsWith("_test.ts")) yield await Deno.readTextFile(new URL(name, folder));
  }
}
