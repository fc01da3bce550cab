/**
 * What a peer's endpoints tell about its NAT.
 *
 * @module
 */

import { strictEqual } from "node:assert/strict";
import { natOfPeer } from "../../lib/agent/peer_nat.ts";

Deno.test("natOfPeer() tells a NAT per destination by its ports", () => {
  const rows: [discovered: string[], nat: string][] = [
    [[], "unknown"],
    [["[2001:db8::1]:5"], "unknown"],
    [["no endpoint"], "unknown"],
    [["192.0.2.1:5"], "same"],
    [["192.0.2.1:5", "198.51.100.1:5"], "same"],
    [["192.0.2.1:5", "192.0.2.1:6"], "varying"],
  ];
  for (const [discovered, nat] of rows) {
    const hints = discovered.map((endpoint) => ({ endpoint, source: "discovered" }));
    const local = { endpoint: "192.0.2.1:7", source: "local" };
    strictEqual(natOfPeer([local, ...hints]), nat, discovered.join());
  }
});
