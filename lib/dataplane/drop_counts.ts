/**
 * One number per drop reason.
 *
 * @module
 */

import { DROP_REASONS, type DropReason } from "../session/actions.ts";

/** How often each reason made something drop. */
export type DropCounts = Record<DropReason, number>;

/** Returns zeros. */
export function newDropCounts(): DropCounts {
  const counts: Partial<DropCounts> = {};
  for (const reason of DROP_REASONS) counts[reason] = 0;
  return counts as DropCounts;
}

/** Returns the sums of several counts. */
export function sumOfDropCounts(...parts: readonly Readonly<DropCounts>[]): DropCounts {
  const sums = newDropCounts();
  for (const part of parts) for (const reason of DROP_REASONS) sums[reason] += part[reason];
  return sums;
}
