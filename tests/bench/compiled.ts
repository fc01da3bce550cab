/**
 * What benches of whole processes share: the compiled program, and how long and large it runs.
 *
 * @module
 */

import { compileProgram } from "../compile.ts";
import { installPackages } from "../packages.ts";

/**
 * Makes sure that whole processes can be measured here, and has the program compiled, before
 * `tests/e2e/mesh.ts` is loaded, which then uses it.
 *
 * @returns The compiled program's path; without a base to compile with, the source is measured.
 */
export async function useCompiledProgram(): Promise<string | undefined> {
  const lack = await installPackages(["ip", "nsenter", "ping"]);
  if (lack !== undefined) throw new Error(`Cannot measure here: this machine ${lack}`);
  if (Deno.env.get("TUNNELMESH_COMMAND") !== undefined) return undefined;
  const compiled = await compileProgram();
  if (!compiled.ok) return undefined;
  Deno.env.set("TUNNELMESH_COMMAND", JSON.stringify([compiled.file]));
  return compiled.file;
}

/**
 * Resident memory of a process.
 *
 * @param pid Its id.
 * @returns Megabytes (10^6) of VmRSS.
 */
export async function residentMegabytes(pid: number): Promise<number> {
  const status = await Deno.readTextFile(`/proc/${pid}/status`);
  return Number(/^VmRSS:\s+(\d+) kB$/m.exec(status)![1]) * 1024 / 1e6;
}

/**
 * Processor time that a process has used.
 *
 * @param pid Its id.
 * @returns Seconds, user and system.
 */
export async function processorSeconds(pid: number): Promise<number> {
  const stat = await Deno.readTextFile(`/proc/${pid}/stat`);
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  return (Number(fields[11]) + Number(fields[12])) / 100;
}

/** The middle one of several figures. */
export function median(figures: readonly number[]): number {
  return figures.toSorted((a, b) => a - b)[Math.floor(figures.length / 2)]!;
}
