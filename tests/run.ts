/**
 * `deno task test`: every check of this project, in order, with one tally at the end.
 *
 * Usage: `deno task test [--soak] [--only STEP]…`. The last line is `N passed, N failed`. With
 * `CI=true` nothing may be ignored and the lock file may not change; elsewhere what was not run is
 * named. As root it installs the Debian packages it lacks.
 *
 * @module
 */

import { compileProgram } from "./compile.ts";
import { installPackages } from "./packages.ts";
import { exec, type Outcome, outcomeOf } from "./tally.ts";

const root = new URL("../", import.meta.url);
const isCi = Deno.env.get("CI") === "true";
const frozen = isCi ? ["--frozen"] : [];

/** Folders of tests that must pass without any permission: the code they test does no I/O. */
const PURE = ["base", "crypto", "mesh", "net", "noise", "route", "session", "token", "wire"];

/** Folders of tests/ that have a step of their own, or hold no tests. */
const APART = ["bench", "e2e", "fakes"];

/** The steps, in the order in which they run. */
const STEPS: Record<string, () => Promise<Outcome>> = {
  fmt: () => deno("fmt", "--check"),
  lint: () => deno("lint"),
  check: () => deno("check", ...frozen, "."),
  pure: async () =>
    deno("test", "--no-check", "--no-prompt", ...soak, ...frozen, ...await folders(true)),
  rest: async () => deno("test", "--no-check", "-A", ...frozen, ...await folders(false)),
  doc: () => deno("test", "-A", "--doc", ...frozen, "lib", "ffi", "mod.ts"),
  layers: () =>
    deno(
      "test",
      "--no-check",
      "--allow-read",
      ...frozen,
      "tests/layers_test.ts",
      "tests/docs_test.ts",
    ),
  e2e: () => endToEnd([Deno.execPath(), "run", "-A", "--no-check", path("main.ts")]),
  compile: compileAndRepeat,
};

const options = parseOptions(Deno.args);
/**
 * Tests of what networks and loads do to nodes: once is enough, but in the soak, for the modules and
 * files that a compiled program could lack are all loaded by other tests.
 */
const ONCE = [
  ...["flood", "hairpin", "mtu", "nat_matrix", "psk_rotation", "relay_trust"],
  ...["stolen_ssh_key", "switching", "up_replay"],
].map((name) => `tests/e2e/${name}_test.ts`);

/** The only thing that pure tests may see: how large they shall be. */
const soak = options.soak ? ["--allow-env=TUNNELMESH_SOAK"] : [];
if (options.soak) Deno.env.set("TUNNELMESH_SOAK", "1");
const total: Outcome = { passed: 0, failed: 0, ignored: [], notRun: [] };
for (const [name, run] of Object.entries(STEPS)) {
  if (options.only.length > 0 && !options.only.includes(name)) continue;
  const startedAt = performance.now();
  say(`\n== ${name}`);
  const outcome = await run();
  const seconds = ((performance.now() - startedAt) / 1000).toFixed(1);
  say(`== ${name}: ${outcome.passed} passed, ${outcome.failed} failed (${seconds} s)`);
  total.passed += outcome.passed;
  total.failed += outcome.failed;
  total.ignored.push(...outcome.ignored.map((test) => `${name}: ${test}`));
  total.notRun.push(...outcome.notRun);
}
say("");
for (const test of total.ignored) say(`ignored: ${test}`);
for (const what of total.notRun) say(`not run: ${what}`);
if (isCi) total.failed += total.ignored.length + total.notRun.length;
say(`${total.passed} passed, ${total.failed} failed`);
Deno.exit(total.failed > 0 || total.passed === 0 ? 1 : 0);

/** One `deno` subcommand as a step. */
async function deno(...args: string[]): Promise<Outcome> {
  return outcomeOf(
    await exec([Deno.execPath(), ...args], {
      cwd: root,
      timeoutMs: options.soak ? 3_600_000 : 900_000,
      ...(options.soak && { env: { TUNNELMESH_SOAK: "1" } }),
    }),
  );
}

/** Test folders with tests in them, the pure ones or the others. */
async function folders(pure: boolean): Promise<string[]> {
  const found: string[] = [];
  for await (const entry of Deno.readDir(new URL("tests/", root))) {
    if (!entry.isDirectory || APART.includes(entry.name)) continue;
    if (PURE.includes(entry.name) === pure && await hasTests(entry.name)) {
      found.push(`tests/${entry.name}`);
    }
  }
  return found.sort();
}

async function hasTests(folder: string): Promise<boolean> {
  for await (const entry of Deno.readDir(new URL(`tests/${folder}/`, root))) {
    if (entry.isDirectory && await hasTests(`${folder}/${entry.name}`)) return true;
    if (entry.name.endsWith("_test.ts")) return true;
  }
  return false;
}

/** Real processes in network namespaces, driven through one way of starting the program. */
async function endToEnd(
  command: string[],
  env: Record<string, string> = {},
  leftOut: readonly string[] = [],
): Promise<Outcome> {
  const lack = await installPackages();
  if (lack !== undefined) return nothing(`end to end (${lack})`);
  const ignore = leftOut.length > 0 ? [`--ignore=${leftOut.join(",")}`] : [];
  return outcomeOf(
    await exec([Deno.execPath(), "test", "--no-check", "-A", ...frozen, ...ignore, "tests/e2e"], {
      cwd: root,
      env: {
        ...env,
        TUNNELMESH_COMMAND: JSON.stringify(command),
        TUNNELMESH_NAT_CELLS: options.soak ? "full" : "short",
        ...(options.soak ? { TUNNELMESH_SOAK: "1" } : {}),
      },
      timeoutMs: options.soak ? 3_600_000 : 900_000,
    }),
  );
}

/**
 * The compiled program, started in an empty folder with an empty `DENO_DIR`: a file that is
 * missing from the binary shows only there.
 */
async function compileAndRepeat(): Promise<Outcome> {
  const compiled = await compileProgram();
  if (!compiled.ok) {
    return compiled.isBaseMissing
      ? nothing(`compile and end to end with the compiled program (${compiled.why})`)
      : { passed: 0, failed: 1, ignored: [], notRun: [] };
  }
  const empty = await Deno.makeTempDir({ prefix: "tunnelmesh-empty-" });
  try {
    const smoke = await exec([compiled.file, "version"], { cwd: empty, env: { DENO_DIR: empty } });
    const isAlive = smoke.code === 0;
    const env = { TUNNELMESH_DENO_DIR: empty };
    const outcome = await endToEnd([compiled.file], env, options.soak ? [] : ONCE);
    outcome[isAlive ? "passed" : "failed"] += 1;
    return outcome;
  } finally {
    await Deno.remove(empty, { recursive: true });
  }
}

function nothing(what: string): Outcome {
  return { passed: 0, failed: 0, ignored: [], notRun: [what] };
}

function path(relative: string): string {
  return decodeURIComponent(new URL(relative, root).pathname);
}

function parseOptions(args: readonly string[]): { soak: boolean; only: string[] } {
  const parsed = { soak: false, only: [] as string[] };
  for (let at = 0; at < args.length; at++) {
    if (args[at] === "--soak") parsed.soak = true;
    else if (args[at] === "--only" && args[at + 1]! in STEPS) parsed.only.push(args[++at]!);
    else {
      say(`Usage: deno task test [--soak] [--only ${Object.keys(STEPS).join("|")}]…`);
      Deno.exit(2);
    }
  }
  return parsed;
}

function say(line: string): void {
  Deno.stdout.writeSync(new TextEncoder().encode(`${line}\n`));
}
