/**
 * Session limits as people write them (seconds) and as sessions keep them (milliseconds).
 *
 * @module
 */

/**
 * Names and values of the limits that a configuration lowers.
 *
 * @param session The `session` part of a coordinator's configuration, checked.
 * @returns By the names of `SessionLimits`; what ends in `Ms` is a whole number of milliseconds.
 *
 * @example
 * ```ts
 * import { deepStrictEqual } from "node:assert/strict";
 * deepStrictEqual(sessionLimitsOf({ rekeyAfterSeconds: 5 }), { rekeyAfterMs: 5000 });
 * ```
 */
export function sessionLimitsOf(
  session: Readonly<Record<string, number | undefined>> | undefined,
): Record<string, number> {
  const limits: Record<string, number> = {};
  for (const [name, value] of Object.entries(session ?? {})) {
    if (value === undefined) continue;
    if (name.endsWith("Seconds")) limits[name.replace(/Seconds$/, "Ms")] = Math.round(value * 1000);
    else limits[name] = value;
  }
  return limits;
}
