/**
 * The program alone on two hosts with a cable between them, up and ready to be loaded.
 *
 * @module
 */

import { Pair } from "../lab/peers/pair.ts";
import { firstPing, type Running } from "../lab/peers/racer.ts";
import { installPackages } from "../packages.ts";
import { useCompiledProgram } from "./compiled.ts";

/**
 * Measures one pair, from its first ping on.
 *
 * @param flags `plane`: `linux` or `portable`. `source`: run the source, not the compiled program.
 * @throws {RangeError} when there is no such plane.
 * @throws {Error} when this machine lacks what that needs.
 */
export async function withOnePair<T>(
  { plane, source }: { readonly plane: string; readonly source: boolean },
  measure: (pair: Pair, running: Running) => Promise<T>,
): Promise<T> {
  if (plane !== "linux" && plane !== "portable") {
    throw new RangeError(`plane must be linux or portable, is "${plane}"`);
  }
  if (source) await installPackages(["ip", "nsenter", "ping"]);
  else await useCompiledProgram();
  const { tunnelmesh } = await import("../lab/peers/ours.ts");
  const racer = tunnelmesh("tunnelmesh", plane);
  const lack = await racer.lack();
  if (lack !== undefined) throw new Error(`Cannot measure: ${lack}`);
  await using pair = await Pair.create();
  const running = await racer.start(pair);
  await firstPing(pair.a, running.target, running.startedAt);
  await running.settled?.();
  return await measure(pair, running);
}
