/**
 * A folder for one test.
 *
 * @module
 */

/** Runs a test in a fresh folder, which is removed afterwards. */
export async function inTempFolder(body: (folder: string) => unknown): Promise<void> {
  const folder = await Deno.makeTempDir({ prefix: "tm-agent-" });
  try {
    await body(folder);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}
