/**
 * @module
 */

import { ok, rejects, strictEqual } from "node:assert/strict";
import {
  connectToOwner,
  OwnerListener,
  ownerSocketPath,
  tryClose,
} from "../../lib/agent/owner_socket.ts";
import { inTempFolder } from "./temp_folder.ts";

const NAME = "agent.sock";

Deno.test("ownerSocketPath() keeps to what a socket address can hold", () =>
  inTempFolder(async (base) => {
    const near = `${base}/${"d".repeat(107 - base.length - 2 - NAME.length)}`;
    const far = `${near}e`;
    for (const folder of [near, far]) Deno.mkdirSync(folder);
    strictEqual(ownerSocketPath(near, NAME), `${near}/${NAME}`);
    const path = ownerSocketPath(far, NAME);
    ok(/^\/run\/tunnelmesh\/[0-9a-f]{32}\.sock$/.test(path), path);
    ok(
      ownerSocketPath(`${far}/../${far.split("/").pop()}`, NAME) === path,
      "one folder, one name",
    );
    if (Deno.uid() !== 0) return; // only root may write there
    const taken = Promise.withResolvers<Deno.UnixConn>();
    const listener = new OwnerListener(far, NAME, taken.resolve);
    tryClose(await connectToOwner(far, NAME));
    tryClose(await taken.promise);
    listener.close();
    await rejects(connectToOwner(far, NAME), Deno.errors.NotFound);
  }));
