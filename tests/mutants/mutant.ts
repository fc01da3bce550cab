/**
 * What a mutant's file says: see run.ts for its form.
 *
 * @module
 */

/** One protection taken out, and the tests that shall notice. */
export interface Mutant {
  /** Name of its file, without `.patch`. */
  readonly name: string;
  /** Where its file is. */
  readonly file: URL;
  /** What it lacks. */
  readonly why: string;
  /** Test files, from the root. */
  readonly tests: readonly string[];
  /** Text in the names of the tests that are run of them; `undefined`: all are. */
  readonly filter: string | undefined;
  /** Permissions of the tests. */
  readonly flags: readonly string[];
  /** A unified diff against the root. */
  readonly diff: string;
}

/** One file that a mutant changes. */
export interface Change {
  /** From the root. */
  readonly file: string;
  /** What must stand there, whole lines each, for every place that is changed. */
  readonly before: readonly string[];
}

const folder = new URL("./", import.meta.url);

/**
 * Reads mutants.
 *
 * @param names Beginnings of their names; none: all of them.
 * @throws {SyntaxError} when a file does not say what is to be run.
 */
export async function loadMutants(names: readonly string[] = []): Promise<Mutant[]> {
  const found: Mutant[] = [];
  for await (const { name: entry } of Deno.readDir(folder)) {
    if (!entry.endsWith(".patch")) continue;
    const name = entry.replace(/\.patch$/, "");
    if (names.length > 0 && !names.some((start) => name.startsWith(start))) continue;
    found.push(parseMutant(name, await Deno.readTextFile(new URL(entry, folder))));
  }
  return found.sort((a, b) => a.name < b.name ? -1 : 1);
}

/** What a mutant changes, and what must be there for that. */
export function changesOf({ diff }: Mutant): Change[] {
  return diff.split(/^--- a\//m).slice(1).map((section) => {
    const file = section.slice(0, section.indexOf("\n"));
    const hunks = section.split(/^@@ .*\n/m).slice(1);
    return { file, before: hunks.map(beforeOf) };
  });
}

function parseMutant(name: string, text: string): Mutant {
  const at = text.indexOf("\n--- ");
  const head = text.slice(0, at);
  const values = (field: string) =>
    [...head.matchAll(new RegExp(`^${field}: (.+)$`, "gm"))].map(([, value]) => value!);
  const [why, tests] = [values("why")[0], values("test")];
  if (at < 0 || why === undefined || tests.length === 0) {
    throw new SyntaxError(`Cannot read ${name}.patch: it needs "why:", "test:" and a diff`);
  }
  return {
    name,
    file: new URL(`${name}.patch`, folder),
    why,
    tests,
    filter: values("filter")[0],
    flags: values("flags").flatMap((line) => line.split(" ")),
    diff: text.slice(at + 1),
  };
}

/** The lines that a hunk expects: those that it keeps and those that it takes out. */
function beforeOf(hunk: string): string {
  return hunk.split("\n").filter((line) => /^[ -]/.test(line)).map((line) => `${line.slice(1)}\n`)
    .join("");
}
