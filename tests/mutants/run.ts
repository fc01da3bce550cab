/**
 * `deno task mutants [NAME]…`: takes each protection out, in a copy of the tree, and expects the
 * tests that are said to show it to fail.
 *
 * A mutant is a file `tNN_what_is_missing.patch` of this folder, for the row TNN of the table of
 * threats: a unified diff against the root, after lines that say what is to be run.
 *
 * ```text
 * why: one sentence: what the mutant lacks
 * test: tests/session/some_test.ts           one line per file
 * filter: text in the names of tests         optional; otherwise all of those files
 * flags: -A                                  optional; otherwise no permissions
 * ```
 *
 * `NAME` is the beginning of a file's name. The same tests must pass without the patch. The last
 * line is `N caught, N survived, N broken`; the exit code is 0 if all were caught.
 *
 * @module
 */

import { loadMutants, type Mutant } from "./mutant.ts";

const root = new URL("../../", import.meta.url);
/** What tests may need of the tree. */
const COPIED = ["deno.json", "deno.lock", "mod.ts", "main.ts", "lib", "ffi", "tests", "docs"];
/** A mutant may loop; that is noticed, too. */
const TIMEOUT_MS = 180_000;

/** What became of a mutant. `broken`: it says nothing, because the patch or its tests are wrong. */
type Fate = "caught" | "survived" | "broken";

const mutants = await loadMutants(Deno.args);
if (mutants.length === 0) {
  say("No such mutant");
  Deno.exit(2);
}
const copy = await Deno.makeTempDir({ prefix: "tunnelmesh-mutants-" });
const counts: Record<Fate, number> = { caught: 0, survived: 0, broken: 0 };
try {
  for (const name of COPIED) await must("cp", ["-R", path(new URL(name, root)), `${copy}/${name}`]);
  const sound = new Map<string, boolean>();
  const width = Math.max(...mutants.map(({ name }) => name.length));
  for (const mutant of mutants) {
    const run = argumentsOf(mutant);
    const key = run.join(" ");
    if (!sound.has(key)) {
      const { isGreen, output } = await test(run);
      sound.set(key, isGreen && / [1-9]\d* passed/.test(output));
    }
    const [fate, note] = sound.get(key)!
      ? await judge(mutant)
      : ["broken", "its tests fail without it, or there are none"] as const;
    counts[fate]++;
    say(`${mutant.name.padEnd(width)}  ${fate.padEnd(8)}  ${mutant.why}; ${note}`);
  }
} finally {
  await Deno.remove(copy, { recursive: true });
}
say(`${counts.caught} caught, ${counts.survived} survived, ${counts.broken} broken`);
Deno.exit(counts.survived + counts.broken > 0 ? 1 : 0);

/** What `deno test` is told. */
function argumentsOf({ flags, filter, tests }: Mutant): string[] {
  return [...flags, ...(filter === undefined ? [] : ["--filter", filter]), ...tests];
}

async function judge(mutant: Mutant): Promise<[Fate, string]> {
  const file = path(mutant.file);
  const apply = (...flags: string[]) => execute("git", ["apply", ...flags, file], copy);
  if (!(await apply()).isGreen) return ["broken", "the patch does not apply"];
  try {
    const { isGreen, output } = await test(argumentsOf(mutant));
    if (isGreen) return ["survived", `passes ${mutant.tests.join(", ")}`];
    const failed = / (\d+) failed/.exec(output)?.[1];
    if (output === "timeout") return ["caught", "never ends"];
    return failed === undefined ? ["broken", "does not run"] : ["caught", `${failed} failed`];
  } finally {
    await must("git", ["apply", "-R", file]);
  }
}

async function test(run: readonly string[]): Promise<{ isGreen: boolean; output: string }> {
  return await execute(
    Deno.execPath(),
    ["test", "--no-check", "--no-prompt", "--fail-fast", "--config", "deno.json", ...run],
    copy,
  );
}

async function must(command: string, args: readonly string[]): Promise<void> {
  const { isGreen, output } = await execute(command, args, copy);
  if (!isGreen) throw new Error(`Cannot run ${command} ${args.join(" ")}: ${output}`);
}

async function execute(
  command: string,
  args: readonly string[],
  cwd: string,
): Promise<{ isGreen: boolean; output: string }> {
  const child = new Deno.Command(command, {
    args: [...args],
    cwd,
    env: { NO_COLOR: "1" },
    stdout: "piped",
    stderr: "piped",
  }).spawn();
  let isLate = false;
  const timer = setTimeout(() => {
    isLate = true;
    child.kill("SIGKILL");
  }, TIMEOUT_MS);
  const { success, stdout, stderr } = await child.output();
  clearTimeout(timer);
  const text = new TextDecoder().decode(stdout) + new TextDecoder().decode(stderr);
  return { isGreen: success, output: isLate ? "timeout" : text };
}

function path(url: URL): string {
  return decodeURIComponent(url.pathname);
}

function say(line: string): void {
  Deno.stdout.writeSync(new TextEncoder().encode(`${line}\n`));
}
