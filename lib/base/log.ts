/**
 * The log: constant messages with fields from one closed list, as lines on standard error.
 *
 * ```text
 * 2026-03-01T12:00:00.000Z warning mesh: Peer is silent peer=laptop endpoint=192.0.2.7:51820
 * ```
 *
 * The vocabulary is code: a field that is not in {@linkcode LOG_FIELDS} does not compile. Nor does a
 * value that is an array of bytes, so that no key can get into the log by way of a field.
 *
 * @module
 */

import { configureSync, getLogger, type LogRecord } from "@logtape/logtape";

/** How much is logged, most first; also what `--log-level` takes. */
export const LOG_LEVELS = ["debug", "info", "warning", "error"] as const;

/** One of {@linkcode LOG_LEVELS}. */
export type LogLevel = typeof LOG_LEVELS[number];

/** Every field that a log line may carry. */
export const LOG_FIELDS = [
  "address",
  "attempt",
  "count",
  "delayMs",
  "endpoint",
  "errno",
  "error",
  "file",
  "index",
  "interface",
  "kind",
  "mtu",
  "name",
  "peer",
  "port",
  "prefix",
  "reason",
  "signal",
  "status",
  "transport",
  "url",
  "version",
] as const;

/** What a field may hold. Objects and byte arrays are left out on purpose. */
export type LogValue = string | number | boolean | undefined;

/** Fields of one line; those that are `undefined` are not written. */
export type LogFields = { readonly [Field in typeof LOG_FIELDS[number]]?: LogValue };

/** Where one part of the program logs. */
export interface Log {
  /** What only somebody hunting a fault wants: never per packet above this level. */
  debug(message: string, fields?: LogFields): void;
  /** What an operator may want to know. */
  info(message: string, fields?: LogFields): void;
  /** What an operator should look at; the program goes on. */
  warning(message: string, fields?: LogFields): void;
  /** What stops something from working. */
  error(message: string, fields?: LogFields): void;
}

/** What {@linkcode startLog} needs. */
export interface LogOptions {
  /** Least level that is written. */
  readonly level: LogLevel;
  /**
   * Takes each line, its line feed included.
   *
   * @default {Deno.stderr}
   */
  readonly write?: (line: string) => void;
  /**
   * Whether levels are coloured.
   *
   * @default {only if standard error is a terminal and NO_COLOR is not set}
   */
  readonly hasColour?: boolean;
}

const ROOT = "tunnelmesh";
const COLOURS: Record<string, string> = { debug: "2", info: "32", warning: "33", error: "31" };
const encoder = new TextEncoder();

/** Starts writing; before it nothing is. A second call replaces the first. */
export function startLog(options: LogOptions): void {
  const { level, write = writeToStderr, hasColour = wantsColour() } = options;
  const sink = (record: LogRecord) => write(formatRecord(record, hasColour));
  configureSync({
    reset: true,
    sinks: { sink },
    loggers: [
      { category: ROOT, lowestLevel: level, sinks: ["sink"] },
      // The library's own news; it greets at info.
      { category: ["logtape", "meta"], lowestLevel: "error", sinks: ["sink"] },
    ],
  });
}

/**
 * The log of one part of the program.
 *
 * @param area Its name, such as `coordinator`; stands before the message.
 */
export function logOf(area: string): Log {
  return getLogger([ROOT, area]);
}

/** Whether text is one of {@linkcode LOG_LEVELS}. */
export function isLogLevel(text: string): text is LogLevel {
  return (LOG_LEVELS as readonly string[]).includes(text);
}

function formatRecord(record: LogRecord, hasColour: boolean): string {
  const time = new Date(record.timestamp).toISOString();
  const area = record.category.slice(1).join(".");
  const level = hasColour
    ? `\x1b[${COLOURS[record.level] ?? "0"}m${record.level}\x1b[0m`
    : record.level;
  let line = `${time} ${level} ${area}: ${oneLine(String(record.rawMessage))}`;
  for (const [field, value] of Object.entries(record.properties)) {
    if (value !== undefined) line += ` ${field}=${formatValue(value)}`;
  }
  return line + "\n";
}

/** Remote text can be in a value, so one line stays one line and a value one value. */
function formatValue(value: unknown): string {
  if (typeof value === "string") return /^[\w.:\/@%+\[\]-]+$/.test(value) ? value : quote(value);
  if (typeof value === "number" || typeof value === "boolean") return String(value);
  return "(withheld)";
}

function oneLine(text: string): string {
  return quote(text).slice(1, -1).replaceAll('\\"', '"');
}

/** JSON, and what JSON leaves as it is though a terminal may act on it. */
function quote(text: string): string {
  return JSON.stringify(text).replace(
    /[\u007f-\u009f\u2028\u2029\u202a-\u202e\u2066-\u2069]/g,
    (char) => `\\u${char.charCodeAt(0).toString(16).padStart(4, "0")}`,
  );
}

function writeToStderr(line: string): void {
  const bytes = encoder.encode(line);
  try {
    for (let at = 0; at < bytes.length;) at += Deno.stderr.writeSync(bytes.subarray(at));
  } catch {
    // Nobody reads the log any more; that must not stop the mesh.
  }
}

function wantsColour(): boolean {
  return Deno.stderr.isTerminal() && !Deno.noColor;
}
