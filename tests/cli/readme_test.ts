/**
 * The configuration files in the README are taken as they stand.
 *
 * @module
 */

import { deepStrictEqual, strictEqual } from "node:assert/strict";
import { parseAllowedPeers } from "../../lib/config/allowed_peers.ts";
import { ALLOWED_PEERS_SCHEMA } from "../../lib/config/allowed_peers_schema.ts";
import { parseConfig } from "../../lib/config/load.ts";
import { AGENT_SCHEMA, COORDINATOR_SCHEMA } from "../../lib/config/schema.ts";

Deno.test("the README's configuration files name every key there is", async () => {
  const readme = await Deno.readTextFile(new URL("../../README.md", import.meta.url));
  const blocks = [...readme.matchAll(/```yaml\n(.*?)```/gs)].map(([, text]) => text!);
  strictEqual(blocks.length, 3);
  const [coordinator, agent, up] = blocks as [string, string, string];
  for (
    const [text, schema] of [[coordinator, COORDINATOR_SCHEMA], [agent, AGENT_SCHEMA]] as const
  ) {
    const parsed = parseConfig(text, "README.md", schema);
    deepStrictEqual(Object.keys(parsed).sort(), Object.keys(schema.shape).sort());
  }
  const parsed = parseConfig(up, "README.md", ALLOWED_PEERS_SCHEMA);
  const { privateKey: _eitherThisOrAFile, ...others } = ALLOWED_PEERS_SCHEMA.shape;
  deepStrictEqual(Object.keys(parsed).sort(), Object.keys(others).sort());
  const [peer] = parsed.allowedPeers;
  const keysOfPeer = Object.keys(ALLOWED_PEERS_SCHEMA.shape.allowedPeers.element.shape);
  deepStrictEqual(Object.keys(peer!).sort(), keysOfPeer.sort());
  parseAllowedPeers(up, "README.md");
});
