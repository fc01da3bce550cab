/**
 * The program: `tunnelmesh COMMAND`.
 *
 * @module
 */

import { run } from "./lib/cli/program.ts";

if (import.meta.main) {
  // Before anything can make a file: nothing of ours is for others to read.
  Deno.umask(0o077);
  Deno.exit(await run(Deno.args));
}
