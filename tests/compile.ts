/**
 * `deno task compile`: makes the program one file, `dist/out/tunnelmesh`.
 *
 * Worker modules and WebAssembly are not found by following imports, so they are named to the
 * compiler; a missing one would be fatal at the start of the compiled program. `--expose-gc` lets it
 * give memory back (lib/base/garbage.ts); functions are compiled for good after 300 calls instead of
 * 3000, since before that a system call goes the slow way into native code, and the loops of a quiet
 * tunnel are called too seldom to get past it.
 *
 * @module
 */

import { exec } from "./tally.ts";

const root = new URL("../", import.meta.url);

const V8_FLAGS = "--expose-gc,--invocation-count-for-turbofan=300";

/** What came of compiling. */
export type Compiled =
  | { readonly ok: true; readonly file: string }
  | { readonly ok: false; readonly isBaseMissing: boolean; readonly why: string };

/** Compiles the program for this machine. */
export async function compileProgram(): Promise<Compiled> {
  const file = decodeURIComponent(new URL("dist/out/tunnelmesh", root).pathname);
  await Deno.mkdir(new URL("dist/out/", root), { recursive: true });
  const includes = (await sidecars("lib/")).concat(await sidecars("ffi/"))
    .flatMap((name) => ["--include", name]);
  const result = await exec(
    [
      ...[Deno.execPath(), "compile", "--no-check", "-A"],
      ...[`--v8-flags=${V8_FLAGS}`, ...includes, "-o", file, "main.ts"],
    ],
    { cwd: root },
  );
  if (result.code === 0) return { ok: true, file };
  const isBaseMissing = /denort|dl\.deno\.land|[Dd]ownload/.test(result.output);
  const why = isBaseMissing
    ? "the base of compiled programs, denort, could not be downloaded"
    : "deno compile failed";
  return { ok: false, isBaseMissing, why };
}

/** A file beside a module that is opened or run by its URL, not imported. */
const BESIDE = /new URL\(\s*"([^"]+)",\s*import\.meta\.url/g;

/** Files that the program opens at run time: WebAssembly, and modules that run in workers. */
async function sidecars(folder: string): Promise<string[]> {
  const found = new Set<string>();
  for await (const { name, isDirectory } of Deno.readDir(new URL(folder, root))) {
    if (isDirectory) { for (const file of await sidecars(`${folder}${name}/`)) found.add(file); }
    if (!name.endsWith(".ts")) continue;
    const module = new URL(folder + name, root);
    for (const [, specifier] of (await Deno.readTextFile(module)).matchAll(BESIDE)) {
      const file = new URL(specifier!, module);
      if (/\.(ts|wasm)$/.test(file.pathname)) found.add(file.href.slice(root.href.length));
    }
  }
  return [...found].sort();
}

if (import.meta.main) {
  const compiled = await compileProgram();
  if (!compiled.ok) {
    Deno.stderr.writeSync(new TextEncoder().encode(`Cannot compile: ${compiled.why}\n`));
    Deno.exit(1);
  }
}
