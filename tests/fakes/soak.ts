/**
 * Whether a test shall run at its full size: with `TUNNELMESH_SOAK=1` and the permission to see it.
 *
 * @module
 */

const NAME = "TUNNELMESH_SOAK";

/** Never asks for the permission: without it the answer is no. */
export function isSoak(): boolean {
  const { state } = Deno.permissions.querySync({ name: "env", variable: NAME });
  return state === "granted" && Deno.env.get(NAME) === "1";
}
