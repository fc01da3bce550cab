/**
 * Configuration files: whoever writes one may err in any way, and is told so by a ConfigError.
 *
 * @module
 */

import { match, ok, throws } from "node:assert/strict";
import process from "node:process";
import { toBase64 } from "../../lib/base/bytes.ts";
import { parseAllowedPeers } from "../../lib/config/allowed_peers.ts";
import { ConfigError } from "../../lib/config/errors.ts";
import { parseConfig } from "../../lib/config/load.ts";
import { AGENT_SCHEMA, COORDINATOR_SCHEMA } from "../../lib/config/schema.ts";
import { seededBytes } from "../fakes/random.ts";
import { bytesOf, type Depth, fuzz, textOf } from "./fuzz.ts";

const bytes = seededBytes(5);
const ALLOWED_PEERS = `profile: allowed-peers
meshId: 0f1e2d3c4b5a69788796a5b4c3d2e1f0
privateKeyFile: server.key
listen: 0.0.0.0:51820
interface: tm0
addresses: [10.9.0.1/24, fd09::1/64]
allowedPeers:
  - name: laptop
    publicKey: ${toBase64(bytes(32))}
    enabled: true
    clientIp: 10.9.0.2
    allowedIps: [10.9.0.2/32, fd09::2/128]
    endpoint: 203.0.113.7:51820
    keepalive: 25s
  - name: phone
    publicKey: ${toBase64(bytes(32))}
    clientIp: 10.9.0.3
`;
const COORDINATOR = `name: hub
listen: [0.0.0.0:8443, "[::]:8443"]
range: 100.64.0.0/10
tls: { cert: a.pem, key: b.pem }
session: { rekeyAfterSeconds: 60 }
binding: roam
`;
const AGENT = `coordinator: https://vpn.example:8443
name: laptop
udpPort: 5000
sshEndpoints: [root@192.0.2.1:22]
stun: [stun.example.org:3478]
mtu: 1400
`;
const PIECES = bytesOf(
  ...[
    "- ",
    ": ",
    "\n",
    "\n  ",
    "[",
    "]",
    "{",
    "}",
    "&a ",
    "*a",
    "<<: *a",
    "!!binary ",
    "!!js ",
    "|",
  ],
  ...["null", "~", "true", "1e999", ".inf", "0x10", "''", '"', "#", "---\n", "%YAML 9\n", "? "],
  ...[
    "__proto__: x\n",
    "constructor: x\n",
    "name: a\nname: b\n",
    "0.0.0.0/0",
    "::/0",
    "10.9.0.2/31",
  ],
);

/** A million files take a while: 8 kB of YAML machinery stand behind each. */
for (
  const [name, samples, parse] of [
    ["allowed peers", [ALLOWED_PEERS], (text: string) => parseAllowedPeers(text, "f")],
    ["coordinator", [COORDINATOR], (text: string) => parseConfig(text, "f", COORDINATOR_SCHEMA)],
    ["agent", [AGENT], (text: string) => parseConfig(text, "f", AGENT_SCHEMA)],
  ] as const
) {
  Deno.test(`fuzz: a configuration (${name}) is read, or refused with a ConfigError`, async () => {
    let warned: Error | undefined;
    const listener = (warning: Error) => void (warned ??= warning);
    process.on("warning", listener);
    await fuzz({
      name: `configuration (${name})`,
      samples: bytesOf(...samples),
      pieces: PIECES,
      few: 1_500,
      judge(input): Depth {
        try {
          parse(textOf(input));
          return "taken";
        } catch (error) {
          if (!(error instanceof ConfigError)) throw error;
          match(error.message, /^Cannot use the configuration f/);
          ok(!/\p{Cc}/u.test(error.message), "one line, and nothing that a terminal acts on");
          return /no valid YAML/.test(error.message) ? "refused" : "past";
        }
      },
    });
    await new Promise((resolve) => setTimeout(resolve)); // warnings come late
    process.off("warning", listener);
    ok(warned === undefined, `${warned}: standard error is for one line`);
  });
}

Deno.test("a configuration is told to be wrong in one line, whatever its keys are", () => {
  for (
    const text of [
      '"a\\nb": 1',
      '"a\\e[2J": 1',
      'allowedPeers: [{"x\\ny": 1}]',
      '? "a\n\n  b"\n: 1',
    ]
  ) {
    throws(() => parseAllowedPeers(text, "f"), (error: unknown) => {
      ok(error instanceof ConfigError);
      ok(/unknown key/.test(error.message) && !/\p{Cc}/u.test(error.message), error.message);
      return true;
    });
  }
});
