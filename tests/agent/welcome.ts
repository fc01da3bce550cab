/**
 * What a coordinator of tests says to a node that connects.
 *
 * @module
 */

import { randomBytes } from "../../lib/crypto/random.ts";
import type { Welcome } from "../../lib/wire/server_message.ts";

/** The welcome of a node "alice". */
export const WELCOME: Welcome = {
  kind: "welcome",
  nodeId: "ab".repeat(32),
  name: "alice",
  addresses: { ipv4: "100.64.0.2", ipv6: "fd00::2" },
  memberPsk: randomBytes(32),
  mesh: {
    id: randomBytes(16),
    ipv4Range: "100.64.0.0/10",
    ipv6Range: "fd00::/48",
    policy: "allow-all",
    binding: "strict",
    limits: {},
  },
  udpPorts: [8443],
  discovery: { id: randomBytes(8), key: randomBytes(32) },
  unixMs: 1,
  heartbeatMs: 10_000,
  software: "test",
};
