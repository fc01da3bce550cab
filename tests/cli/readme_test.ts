/**
 * The configuration files in the README are taken as they stand.
 *
 * @module
 */

import { deepStrictEqual, strictEqual } from "node:assert/strict";
import { parseConfig } from "../../lib/config/load.ts";
import { AGENT_SCHEMA, COORDINATOR_SCHEMA } from "../../lib/config/schema.ts";

Deno.test("the README's configuration files name every key there is", async () => {
  const readme = await Deno.readTextFile(new URL("../../README.md", import.meta.url));
  const blocks = [...readme.matchAll(/```yaml\n(.*?)```/gs)].map(([, text]) => text!);
  strictEqual(blocks.length, 2);
  const [coordinator, agent] = blocks as [string, string];
  for (
    const [text, schema] of [[coordinator, COORDINATOR_SCHEMA], [agent, AGENT_SCHEMA]] as const
  ) {
    const parsed = parseConfig(text, "README.md", schema);
    deepStrictEqual(Object.keys(parsed).sort(), Object.keys(schema.shape).sort());
  }
});
