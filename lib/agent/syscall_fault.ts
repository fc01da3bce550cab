/**
 * What a failed system call means to a person.
 *
 * @module
 */

import { SyscallError } from "../../ffi/errno.ts";
import { AgentError } from "./errors.ts";

const FAULT_OF_SYSCALL = {
  "no-privilege": "privilege",
  "no-device": "device",
  "in-use": "in-use",
  "other": "failed",
} as const;

/**
 * A failed system call as the failure that the exit code needs.
 *
 * @param error What was thrown; anything but a system call comes back as it is.
 */
export function toAgentError(error: unknown): unknown {
  if (!(error instanceof SyscallError)) return error;
  const fault = FAULT_OF_SYSCALL[error.fault];
  return new AgentError(fault, error.message, { cause: error });
}

/** Runs `body`, and throws what {@linkcode toAgentError} makes of its failure. */
export function orAgentError<T>(body: () => T): T {
  try {
    return body();
  } catch (error) {
    throw toAgentError(error);
  }
}
