/**
 * Writing to the terminal: text, JSON, tables, and colour where it is wanted.
 *
 * @module
 */

const encoder = new TextEncoder();

/**
 * Writes a line to standard output.
 *
 * @param text Without the final line break.
 */
export function print(text: string): void {
  writeAll(Deno.stdout, `${text}\n`);
}

/**
 * Writes a line to standard error.
 *
 * @param text Without the final line break.
 */
export function printError(text: string): void {
  writeAll(Deno.stderr, `${text}\n`);
}

/**
 * Writes a value as JSON to standard output: indented for a person, on one line for a program.
 *
 * @param value Anything that JSON can hold.
 */
export function printJson(value: unknown): void {
  print(JSON.stringify(value, null, Deno.stdout.isTerminal() ? 2 : 0));
}

/** Whether standard output may be coloured: a terminal, and no `NO_COLOR`. */
export function mayColor(): boolean {
  return Deno.stdout.isTerminal() && !Deno.env.get("NO_COLOR");
}

/**
 * Makes text bold, green or dim where colour is wanted, and leaves it alone elsewhere.
 *
 * @param style What to make of it.
 * @param text Without control characters.
 */
export function paint(style: "bold" | "dim" | "green" | "red", text: string): string {
  const code = { bold: 1, dim: 2, green: 32, red: 31 }[style];
  return mayColor() ? `\x1b[${code}m${text}\x1b[0m` : text;
}

/**
 * Lays rows out in columns as wide as their widest cell.
 *
 * @param rows All of one length; the first is the heading.
 * @param alignRight Columns of numbers, by position from 0.
 * @returns Lines without trailing blanks, joined by line breaks; empty without rows.
 *
 * @example
 * ```ts
 * import { strictEqual } from "node:assert/strict";
 * strictEqual(formatTable([["A", "N"], ["bc", "10"]], [1]), "A    N\nbc  10");
 * ```
 */
export function formatTable(rows: readonly string[][], alignRight: readonly number[] = []): string {
  const widths = (rows[0] ?? []).map((_, column) =>
    Math.max(...rows.map((row) => row[column]!.length))
  );
  return rows.map((row) =>
    row.map((cell, column) =>
      alignRight.includes(column) ? cell.padStart(widths[column]!) : cell.padEnd(widths[column]!)
    ).join("  ").trimEnd()
  ).join("\n");
}

/**
 * A number of bytes as a person reads it.
 *
 * @param bytes Not negative.
 * @returns As in `640 B`, `1.4 kB`, `12.0 MB`, in powers of 1000.
 */
export function formatBytes(bytes: number): string {
  if (bytes < 1000) return `${bytes} B`;
  let value = bytes;
  let unit = -1;
  while (value >= 999.95 && unit < 4) {
    value /= 1000;
    unit++;
  }
  return `${value.toFixed(1)} ${"kMGTP"[unit]}B`;
}

/**
 * How long ago something was, as a person reads it.
 *
 * @param seconds Since then; below 1 counts as now.
 */
export function formatAge(seconds: number): string {
  if (seconds < 1) return "now";
  if (seconds < 120) return `${Math.floor(seconds)} s ago`;
  if (seconds < 7200) return `${Math.floor(seconds / 60)} min ago`;
  if (seconds < 172_800) return `${Math.floor(seconds / 3600)} h ago`;
  return `${Math.floor(seconds / 86_400)} d ago`;
}

/** A reader that went away (`tunnelmesh peers | head`) is no failure of ours. */
function writeAll(stream: { writeSync(data: Uint8Array): number }, text: string): void {
  let rest = encoder.encode(text);
  try {
    while (rest.length > 0) rest = rest.subarray(stream.writeSync(rest));
  } catch (error) {
    if (!(error instanceof Deno.errors.BrokenPipe)) throw error;
  }
}
