/**
 * Runs a command, shows what it prints, and counts the tests that it reports.
 *
 * @module
 */

/** What a step of the test run came to. */
export interface Outcome {
  /** Tests that passed; a step that is no test run counts as one. */
  passed: number;
  /** Tests that failed. */
  failed: number;
  /** Names of the tests that were ignored. */
  ignored: string[];
  /** What could not be run on this machine, each with the reason. */
  notRun: string[];
}

/** How a command ended. */
export interface ExecResult {
  /** Exit code; 124 if it was stopped because it took too long. */
  readonly code: number;
  /** Standard output and standard error, in about the order they came. */
  readonly output: string;
}

/**
 * Runs a command, passing on what it prints.
 *
 * @param command Program and arguments.
 * @param options Where and with which additional environment; after `timeoutMs` (default ten
 * minutes) the command is killed.
 */
export async function exec(
  command: readonly string[],
  options: { cwd?: string | URL; env?: Record<string, string>; timeoutMs?: number } = {},
): Promise<ExecResult> {
  const child = new Deno.Command(command[0]!, {
    args: command.slice(1),
    ...(options.cwd === undefined ? {} : { cwd: options.cwd }),
    env: { NO_COLOR: "1", ...options.env },
    stdin: "null",
    stdout: "piped",
    stderr: "piped",
  }).spawn();
  let isLate = false;
  const timer = setTimeout(() => {
    isLate = true;
    child.kill("SIGKILL");
  }, options.timeoutMs ?? 600_000);
  const parts: string[] = [];
  const pass = async (stream: ReadableStream<Uint8Array>) => {
    for await (const text of stream.pipeThrough(new TextDecoderStream())) {
      parts.push(text);
      await Deno.stdout.write(new TextEncoder().encode(text));
    }
  };
  await Promise.all([pass(child.stdout), pass(child.stderr)]);
  const { code } = await child.status;
  clearTimeout(timer);
  return { code: isLate ? 124 : code, output: parts.join("") };
}

/** The line with which `deno test` ends. */
const SUMMARY =
  /^(?:ok|FAILED) \| (\d+) passed(?: \(\d+ steps?\))? \| (\d+) failed(?: \(\d+ steps?\))?/gm;

/** The line of one ignored test. */
const IGNORED = /^(.+?) \.\.\. ignored\b/gm;

/**
 * Counts what a command reported.
 *
 * @param result How it ended and what it printed.
 * @returns The sum of its `deno test` summaries; for a command without one, a single pass or
 * failure by its exit code. A failed exit code always counts as a failure.
 *
 * @example
 * ```ts
 * import { deepStrictEqual } from "node:assert/strict";
 * deepStrictEqual(outcomeOf({ code: 0, output: "a ... ok\nok | 3 passed | 0 failed (1s)\n" }), {
 *   passed: 3,
 *   failed: 0,
 *   ignored: [],
 *   notRun: [],
 * });
 * ```
 */
export function outcomeOf(result: ExecResult): Outcome {
  const outcome: Outcome = { passed: 0, failed: 0, ignored: [], notRun: [] };
  let hasSummary = false;
  for (const [, passed, failed] of result.output.matchAll(SUMMARY)) {
    hasSummary = true;
    outcome.passed += Number(passed);
    outcome.failed += Number(failed);
  }
  for (const [, name] of result.output.matchAll(IGNORED)) outcome.ignored.push(name!.trim());
  if (result.code !== 0 && outcome.failed === 0) outcome.failed = 1;
  if (!hasSummary && result.code === 0) outcome.passed = 1;
  return outcome;
}
