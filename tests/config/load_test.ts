/**
 * Configuration files: what is taken, and what a wrong one is told.
 *
 * @module
 */

import { deepStrictEqual, match, ok, rejects, strictEqual, throws } from "node:assert/strict";
import { ConfigError } from "../../lib/config/errors.ts";
import { loadAgentConfig, loadCoordinatorConfig, parseConfig } from "../../lib/config/load.ts";
import { sessionLimitsOf } from "../../lib/config/session_limits.ts";
import { DEFAULT_LIMITS, lowerLimits } from "../../lib/session/limits.ts";
import { AGENT_SCHEMA, COORDINATOR_SCHEMA } from "../../lib/config/schema.ts";

/** One row per wrong file: text, line, column, what the message must say, why it is wrong. */
const WRONG_COORDINATOR: [string, number, number, RegExp, string][] = [
  ["lisen: 0.0.0.0:1", 1, 1, /unknown key "lisen"; did you mean "listen"\?/, "a letter is missing"],
  ["name: a\n\nudp-port: 1", 3, 1, /"udp-port"; did you mean "udpPort"/, "spelt like the flag"],
  ["tls:\n  cert: a\n  kye: b", 3, 3, /"tls.kye"; did you mean "key"/, "unknown below a key"],
  ["session: { rekeyAfterSecond: 5 }", 1, 12, /did you mean "rekeyAfterSeconds"/, "flow style"],
  ["tls: { cert: a }", 1, 6, /tls\.key: is missing$/, "half a pair"],
  ["udpPort: 70000", 1, 10, /udpPort: a coordinator's UDP port is 1 to 65534/, "no such port"],
  ["udpPort: 65535", 1, 10, /it uses the next one too/, "its second port would be 65536"],
  ["name: Big Name", 1, 7, /name: a name is 1 to 63 lower-case/, "capitals and a blank"],
  ["range: 100.64.0.0", 1, 8, /range: a range is an IPv4 prefix/, "no length"],
  ["range: 100.64.0.1/10", 1, 8, /range: a range is an IPv4 prefix/, "host bits"],
  ["range: 'fd00::/48'", 1, 8, /range: a range is an IPv4 prefix of length 8 to 29/, "IPv6"],
  ["range: 10.0.0.0/30", 1, 8, /length 8 to 29/, "too small"],
  ["listen:\n  - 0.0.0.0:1\n  - here", 3, 5, /0\.0\.0\.0:8443/, "no port in the second"],
  ["session:\n  rekeyAfterSeconds: 121", 2, 22, /1 to 120: a limit may only be low/, "raised"],
  ["session:\n  rekeyAfterMessages: 1e15", 2, 23, /may only be lowered/, "raised"],
  ["session: { rejectAfterSeconds: 60 }", 1, 32, /rekeyAfterSeconds may not be above/, "passed"],
  ["http: maybe", 1, 7, /http is true or false/, "not a boolean"],
  ["name: a\nname: b", 2, 1, /no valid YAML/, "a key twice"],
  ["name: *a", 1, 1, /no valid YAML \(Unresolved alias/, "an alias of nothing"],
  ["name: 'a", 1, 9, /no valid YAML/, "an open quote"],
  ["- name", 1, 1, /keys with values/, "a list"],
  ["just text", 1, 1, /keys with values/, "text"],
];

Deno.test("parseConfig() names the place, the fault and the nearest key", () => {
  for (const [text, line, column, says, why] of WRONG_COORDINATOR) {
    throws(() => parseConfig(text, "mesh.yaml", COORDINATOR_SCHEMA), (error: unknown) => {
      ok(error instanceof ConfigError, why);
      match(error.message, says, why);
      match(error.message, /^Cannot use the configuration mesh\.yaml:\d+:\d+: /, why);
      strictEqual(`${error.line}:${error.column}`, `${line}:${column}`, why);
      ok(!error.message.includes("\n"), why);
      return true;
    }, why);
  }
});

Deno.test("parseConfig() takes what a coordinator may be told", () => {
  const text = `
listen: ["0.0.0.0:8443", "[::]:8443"]
udpPort: 9000
name: hub
range: 10.99.0.0/16
tls: { cert: /c.pem, key: /k.pem }
noMember: true
session: { rekeyAfterSeconds: 5, rejectAfterSeconds: 8 }
binding: roam
memberInvites: true
trust: verified-only
logLevel: debug
`;
  deepStrictEqual(parseConfig(text, "f", COORDINATOR_SCHEMA), {
    listen: [{ hostname: "0.0.0.0", port: 8443 }, { hostname: "::", port: 8443 }],
    udpPort: 9000,
    name: "hub",
    range: { address: Uint8Array.of(10, 99, 0, 0), length: 16 },
    tls: { cert: "/c.pem", key: "/k.pem" },
    noMember: true,
    session: { rekeyAfterSeconds: 5, rejectAfterSeconds: 8 },
    binding: "roam",
    memberInvites: true,
    trust: "verified-only",
    logLevel: "debug",
  });
  deepStrictEqual(parseConfig("listen: localhost:80", "f", COORDINATOR_SCHEMA), {
    listen: [{ hostname: "localhost", port: 80 }],
  });
  deepStrictEqual(parseConfig("# nothing yet\n", "f", COORDINATOR_SCHEMA), {});
});

Deno.test("parseConfig() takes what an agent may be told, and refuses the rest", () => {
  const config = {
    coordinator: "https://mesh.example.org:8443",
    tokenFile: "/etc/tunnelmesh/token",
    name: "laptop",
    udpPort: 0,
    interface: "mesh0",
    sshKey: "/etc/ssh/ssh_host_ed25519_key",
    tlsVerify: true,
    trust: "verified-only",
    mtu: 1280,
    logLevel: "warning",
  };
  const text = Object.entries(config).map(([key, value]) => `${key}: ${value}`).join("\n");
  deepStrictEqual(parseConfig(text, "f", AGENT_SCHEMA), config);
  for (
    const [wrong, says] of [
      ["coordinator: mesh.example.org", /a coordinator is a URL/],
      ["coordinator: ftp://x", /a coordinator is a URL/],
      ["token: tm1_x", /did you mean "tokenFile"/],
      ["interface: a-very-long-name-x", /1 to 15/],
      ["mtu: 1500", /1280 to 1420/],
      ["trust: verified", /trust is all or verified-only/],
      ["logLevel: loud", /debug, info, warning, error/],
    ] as const
  ) throws(() => parseConfig(wrong, "f", AGENT_SCHEMA), says);
});

Deno.test("loadCoordinatorConfig() says that a file is missing", async () => {
  const missing = `${await Deno.makeTempDir()}/no.yaml`;
  await rejects(loadCoordinatorConfig(missing), /no\.yaml: there is no such file$/);
  await rejects(loadAgentConfig(missing), ConfigError);
  await Deno.writeTextFile(missing, "name: x\n");
  deepStrictEqual(await loadAgentConfig(missing), { name: "x" });
});

Deno.test("sessionLimitsOf() speaks of the limits that sessions have, up to their defaults", () => {
  const highest = {
    rekeyAfterSeconds: 120,
    rekeyAfterMessages: 2 ** 48,
    rejectAfterSeconds: 180,
    rejectAfterMessages: 2 ** 50,
    wipeAfterSeconds: 540,
    giveUpAfterSeconds: 90,
    keepaliveSeconds: 10,
    persistentKeepaliveSeconds: 25,
    raiseMtuAfterSeconds: 600,
  };
  const text = `session: ${JSON.stringify(highest)}`;
  const { session } = parseConfig(text, "f", COORDINATOR_SCHEMA);
  deepStrictEqual(sessionLimitsOf(session), DEFAULT_LIMITS, "every limit, at its highest");
  for (const key of Object.keys(highest) as (keyof typeof highest)[]) {
    const raised = `session: ${JSON.stringify({ ...highest, [key]: highest[key] + 1 })}`;
    throws(() => parseConfig(raised, "f", COORDINATOR_SCHEMA), /may only be lowered/, key);
  }
  strictEqual(lowerLimits(sessionLimitsOf({ rekeyAfterSeconds: 1.5 })).rekeyAfterMs, 1500);
  deepStrictEqual(sessionLimitsOf(undefined), {});
});
