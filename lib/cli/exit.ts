/**
 * How a command ends: what it says and with which code.
 *
 * @module
 */

/** Exit codes, which other programs rely on. */
export const EXIT = {
  ok: 0,
  failure: 1,
  usage: 2,
  notRunning: 3,
  refused: 4,
  privilege: 5,
} as const;

/** One of the values of {@linkcode EXIT}. */
export type ExitCode = typeof EXIT[keyof typeof EXIT];

/** A command that cannot go on, with the exit code that says why. */
export class CommandError extends Error {
  /** Always `"CommandError"`. */
  override readonly name = "CommandError";

  /**
   * Creates an error for the user.
   *
   * @param message One line: `Cannot …: …; do …`, without a trailing period.
   * @param exitCode Which kind of failure it is.
   * @param options Carries the `cause`, if there is one.
   */
  constructor(message: string, readonly exitCode: ExitCode, options?: ErrorOptions) {
    super(message, options);
  }
}

/** Faults of the layers below, by the exit code that they mean. */
const EXIT_CODE_OF_FAULT: Record<string, ExitCode> = {
  config: EXIT.usage,
  usage: EXIT.usage,
  "not-running": EXIT.notRunning,
  refused: EXIT.refused,
  privilege: EXIT.privilege,
  device: EXIT.privilege,
};

/** Error numbers that say a right or a device is missing: EPERM, EACCES. */
const PRIVILEGE_ERRNOS = [1, 13];

/**
 * The exit code that an error of any layer means.
 *
 * @param error What was thrown.
 * @returns {@linkcode EXIT}`.failure` unless the error says something better.
 */
export function exitCodeOf(error: unknown): ExitCode {
  if (error instanceof CommandError) return error.exitCode;
  if (!(error instanceof Error)) return EXIT.failure;
  if (error.name === "ConfigError") return EXIT.usage;
  const { fault, errno } = error as { fault?: unknown; errno?: unknown };
  if (typeof fault === "string" && fault in EXIT_CODE_OF_FAULT) return EXIT_CODE_OF_FAULT[fault]!;
  if (typeof errno === "number" && PRIVILEGE_ERRNOS.includes(errno)) return EXIT.privilege;
  if (error instanceof Deno.errors.PermissionDenied) return EXIT.privilege;
  return EXIT.failure;
}

/**
 * The one line that tells the user what went wrong.
 *
 * @param error What was thrown.
 * @returns Text that starts with the program's name and holds no line break and no stack trace.
 */
export function errorLine(error: unknown): string {
  const text = error instanceof Error ? error.message || error.name : String(error);
  return `tunnelmesh: ${text.trim().replaceAll(/\s*[\r\n]+\s*/g, " ")}`;
}
