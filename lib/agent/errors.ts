/**
 * The one error class of the agent: what a person can do something about.
 *
 * @module
 */

/**
 * Which kind of failure it is. The command line turns it into an exit code: `usage` and `config` 2,
 * `not-running` 3, `refused` 4, `privilege` and `device` 5, all others 1.
 */
export type AgentFault =
  | "usage"
  | "config"
  | "not-running"
  | "refused"
  | "privilege"
  | "device"
  | "in-use"
  | "storage"
  | "unreachable"
  | "failed";

/** An operation of the agent that failed. */
export class AgentError extends Error {
  /** Always `"AgentError"`. */
  override readonly name = "AgentError";

  /**
   * Creates an error for a person.
   *
   * @param fault Which kind of failure.
   * @param message One line, `Cannot …: …; do …`, that holds no secret.
   * @param options Carries the `cause`, if there is one.
   */
  constructor(readonly fault: AgentFault, message: string, options?: ErrorOptions) {
    super(message, options);
  }
}

/**
 * The reason inside an error, for the middle of a sentence.
 *
 * @param error What was thrown.
 * @returns Its message, on one line, without the runtime's repetition of operation and path.
 */
export function reasonOf(error: unknown): string {
  const text = error instanceof Error ? error.message : String(error);
  return text.replaceAll(/\s*[\r\n]+\s*/g, " ").replace(/ \(os error \d+\).*$/, "");
}
