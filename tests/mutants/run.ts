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

const folder = new URL("./", import.meta.url);
const root = new URL("../../", import.meta.url);
/** What tests may need of the tree. */
const COPIED = ["deno.json", "deno.lock", "mod.ts", "main.ts", "lib", "ffi", "tests", "docs"];
/** A mutant may loop; that is noticed, too. */
const TIMEOUT_MS = 180_000;

interface Mutant {
  readonly name: string;
  readonly patch: string;
  readonly why: string;
  /** Arguments of `deno test`. */
  readonly run: readonly string[];
}

/** What became of a mutant. `broken`: it says nothing, because the patch or its tests are wrong. */
type Fate = "caught" | "survived" | "broken";

const mutants = await load(Deno.args);
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
    const key = mutant.run.join(" ");
    if (!sound.has(key)) sound.set(key, (await test(mutant.run)).isGreen);
    const [fate, note] = sound.get(key)!
      ? await judge(mutant)
      : ["broken", "its tests fail without it"] as const;
    counts[fate]++;
    say(`${mutant.name.padEnd(width)}  ${fate.padEnd(8)}  ${mutant.why}; ${note}`);
  }
} finally {
  await Deno.remove(copy, { recursive: true });
}
say(`${counts.caught} caught, ${counts.survived} survived, ${counts.broken} broken`);
Deno.exit(counts.survived + counts.broken > 0 ? 1 : 0);

async function load(names: readonly string[]): Promise<Mutant[]> {
  const found: Mutant[] = [];
  for await (const entry of Deno.readDir(folder)) {
    if (!entry.name.endsWith(".patch")) continue;
    const name = entry.name.replace(/\.patch$/, "");
    if (names.length > 0 && !names.some((start) => name.startsWith(start))) continue;
    const patch = await Deno.readTextFile(new URL(entry.name, folder));
    const head = patch.slice(0, patch.indexOf("\n--- "));
    const values = (field: string) =>
      [...head.matchAll(new RegExp(`^${field}: (.+)$`, "gm"))].map(([, value]) => value!);
    const [why, tests] = [values("why")[0], values("test")];
    if (why === undefined || tests.length === 0) {
      throw new SyntaxError(`Cannot read ${entry.name}: it needs "why:" and "test:" lines`);
    }
    const flags = values("flags").flatMap((line) => line.split(" "));
    const filter = values("filter").flatMap((text) => ["--filter", text]);
    found.push({ name, patch: entry.name, why, run: [...flags, ...filter, ...tests] });
  }
  return found.sort((a, b) => a.name < b.name ? -1 : 1);
}

async function judge({ patch, run }: Mutant): Promise<[Fate, string]> {
  const file = path(new URL(patch, folder));
  const apply = (...flags: string[]) => execute("git", ["apply", ...flags, file], copy);
  if (!(await apply()).isGreen) return ["broken", "the patch does not apply"];
  try {
    const { isGreen, output } = await test(run);
    if (isGreen) return ["survived", `passes ${run.at(-1)}`];
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
