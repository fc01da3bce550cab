/**
 * Flags that several commands share, and the values they take.
 *
 * @module
 */

import { type Command, InvalidArgumentError, Option } from "commander";
import type { DataPlaneWish } from "../agent/data_plane_choice.ts";
import type { TrustMode } from "../agent/peer_trust.ts";
import type { LogLevel } from "../base/log.ts";

/** Values of `--log-level`; written again here, so that no command loads the log for its help. */
const LOG_LEVELS: readonly LogLevel[] = ["debug", "info", "warning", "error"];

/** Values of `--data-plane`; written again here for the same reason. */
const DATA_PLANES: readonly DataPlaneWish[] = ["auto", "linux", "portable"];

/** Values of `--trust`; written again here for the same reason. */
const TRUST_MODES: readonly TrustMode[] = ["all", "verified-only"];

/** What every command may be told. */
export interface CommonOptions {
  /** State folder; absent for the default of the command. */
  readonly state?: string;
  /** Write JSON for programs instead of text for people. */
  readonly json?: boolean;
  /** Severity from which on log records go to standard error. */
  readonly logLevel?: LogLevel;
}

/**
 * Adds `--state`, `--json` and `--log-level` to a command.
 *
 * @param command The command.
 * @param folder Default state folder, to be named in the help text.
 * @returns The command.
 */
export function withCommonOptions(command: Command, folder: string): Command {
  return command
    .option("--state <dir>", `state folder (default: ${folder})`)
    .option("--json", "write JSON, for programs")
    .option("--log-level <level>", `one of ${LOG_LEVELS.join(", ")}`, parseLogLevel);
}

/** Makes `--data-plane`, for the commands that move packets. */
export function dataPlaneOption(): Option {
  return new Option("--data-plane <kind>", "what moves packets (default: the best there is)")
    .choices(DATA_PLANES);
}

/** Makes `--trust`, for nodes that hear of their peers from a coordinator. */
export function trustOption(): Option {
  return new Option("--trust <whom>", "which members are peers (default: all)")
    .choices(TRUST_MODES);
}

/**
 * Reads a value of `--log-level`.
 *
 * @throws {InvalidArgumentError} If it is none.
 */
export function parseLogLevel(text: string): LogLevel {
  const level = LOG_LEVELS.find((one) => one === text);
  if (level === undefined) throw new InvalidArgumentError(`it is one of ${LOG_LEVELS.join(", ")}`);
  return level;
}

/**
 * Makes a reader of whole numbers in a range.
 *
 * @param lowest Least number taken.
 * @param highest Greatest number taken.
 * @returns A parser for commander, which throws `InvalidArgumentError` on anything else.
 */
export function integerFrom(lowest: number, highest: number): (text: string) => number {
  return (text) => {
    const value = /^\d{1,9}$/.test(text) ? Number(text) : NaN;
    if (value >= lowest && value <= highest) return value;
    throw new InvalidArgumentError(`it is a whole number from ${lowest} to ${highest}`);
  };
}

/**
 * Reads a number of seconds, such as `0.2`.
 *
 * @throws {InvalidArgumentError} If it is no number between 0.01 and 3600.
 */
export function parseSeconds(text: string): number {
  const value = /^\d*\.?\d+$/.test(text) ? Number(text) : NaN;
  if (value >= 0.01 && value <= 3600) return value;
  throw new InvalidArgumentError("it is a number of seconds from 0.01 to 3600");
}

/** Letter => milliseconds of that unit. */
const UNIT_MS: Readonly<Record<string, number>> = {
  s: 1_000,
  m: 60_000,
  h: 3_600_000,
  d: 86_400_000,
};

/**
 * Reads a length of time, such as `90s`, `15m`, `1h` or `7d`.
 *
 * @returns Milliseconds.
 * @throws {InvalidArgumentError} If it is none between a second and a year.
 */
export function parseDuration(text: string): number {
  const [, digits, unit] = /^(\d{1,8})([smhd])$/.exec(text) ?? [];
  const value = Number(digits) * (UNIT_MS[unit ?? ""] ?? NaN);
  if (value >= UNIT_MS.s! && value <= 366 * UNIT_MS.d!) return value;
  throw new InvalidArgumentError("it is a time such as 90s, 15m, 1h or 7d, at most a year");
}
