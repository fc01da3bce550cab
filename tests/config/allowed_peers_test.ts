/**
 * The file of allow-list mode (T18): what is taken, and what a wrong one is told. Whoever administers
 * the node writes it.
 *
 * @module
 */

import { deepStrictEqual, match, ok, strictEqual, throws } from "node:assert/strict";
import fc from "fast-check";
import { toBase64 } from "../../lib/base/bytes.ts";
import { loadPrivateKey, parseAllowedPeers } from "../../lib/config/allowed_peers.ts";
import { ConfigError } from "../../lib/config/errors.ts";
import { generateKeyPair } from "../../lib/crypto/x25519.ts";
import { formatEndpoint } from "../../lib/net/endpoint.ts";
import { formatIpPrefix, parseIpPrefix, prefixesOverlap } from "../../lib/net/ip_prefix.ts";

const KEYS = Array.from({ length: 3 }, () => toBase64(generateKeyPair().publicKey));

/** The example of the documentation, and a second peer. */
const RIGHT = `profile: allowed-peers
meshId: 0f1e2d3c4b5a69788796a5b4c3d2e1f0
privateKeyFile: server.key
listen: 0.0.0.0:51820
interface: tm0
addresses: [10.9.0.1/24, fd09::1/64]
allowedPeers:
  - name: laptop
    publicKey: ${KEYS[0]}
    enabled: true
    clientIp: 10.9.0.2
    allowedIps: [10.9.0.2/32, fd09::2/128]
    endpoint: 203.0.113.7:51820
    keepalive: 25s
  - name: phone
    publicKey: ${KEYS[1]}
    enabled: false
    clientIp: 10.9.0.3
`;

Deno.test("parseAllowedPeers() takes the documented example", () => {
  const config = parseAllowedPeers(RIGHT, "server.yaml");
  strictEqual(config.privateKey, "server.key");
  deepStrictEqual(config.listen, { port: 51_820, hasIpv6: false });
  deepStrictEqual(config.addresses.map(formatIpPrefix), ["10.9.0.1/24", "fd09::1/64"]);
  const [laptop, phone] = config.peers;
  strictEqual(formatEndpoint(laptop!.endpoint!), "203.0.113.7:51820");
  deepStrictEqual(laptop!.allowedIps.map(formatIpPrefix), ["10.9.0.2/32", "fd09::2/128"]);
  deepStrictEqual([laptop!.line, phone!.line], [8, 15]);
  deepStrictEqual([laptop!.enabled, phone!.enabled], [true, false]);
  deepStrictEqual(phone!.allowedIps.map(formatIpPrefix), ["10.9.0.3/32"], "its clientIp");
  deepStrictEqual(config.limits, { persistentKeepaliveMs: 25_000 });
});

/** One row per wrong file: what replaces what, place, what the message must say, why. */
const WRONG: [from: string, to: string, place: string, says: RegExp, why: string][] = [
  ["meshId:", "meshID:", "2:1", /unknown key "meshID"; did you mean "meshId"\?/, "a slip"],
  [
    "keepalive: 25s",
    "keepAlive: 25s",
    "14:5",
    /"allowedPeers\.0\.keepAlive"; did you mean "keepalive"/,
    "a slip in a peer",
  ],
  ["profile: allowed-peers", "profile: mesh", "1:10", /profile is allowed-peers/, "no fallback"],
  ["0f1e2d3c4b5a69788796a5b4c3d2e1f0", "0f1e", "2:9", /32 hex digits/, "short"],
  [
    "0f1e2d3c4b5a69788796a5b4c3d2e1f0",
    "12345678901234567890123456789012",
    "2:9",
    /put them in quotes/,
    "YAML reads a number, and not that one",
  ],
  ["privateKeyFile: server.key\n", "", "1:1", /privateKeyFile: is missing/, "no key"],
  ["0.0.0.0:51820\n", "10.0.0.1:51820\n", "4:9", /0\.0\.0\.0:PORT/, "binds to all or nothing"],
  ["0.0.0.0:51820\n", "0.0.0.0:70000\n", "4:9", /0\.0\.0\.0:PORT/, "no such port"],
  ["[10.9.0.1/24, fd09::1/64]", "[]", "6:12", /empty list/, "no address"],
  ["10.9.0.1/24", "10.9.0.1/4", "6:13", /too large a network/, "half the internet"],
  ["10.9.0.1/24", "10.9.0.1/24, 10.9.0.1/16", "6:26", /10\.9\.0\.1 stands there twice/, "twice"],
  ["10.9.0.1/24", "10.9.0.2/24", "8:5", /"laptop" \(line 8\) has this node's own/, "a peer's"],
  ["name: phone", "name: laptop", "15:11", /line 15\) has the name of "laptop" \(line 8/, "name"],
  [KEYS[1]!, KEYS[0]!, "16:16", /"phone" \(line 15\) has the public key of "laptop" \(l/, "key"],
  [KEYS[1]!, "AAAA", "16:16", /32 bytes in base64/, "short"],
  [KEYS[1]!, toBase64(new Uint8Array(32)), "16:16", /low order/, "a key anybody can answer for"],
  ["10.9.0.3", "10.9.0.2", "15:5", /10\.9\.0\.2\/32 of "phone" \(line 15\) overlaps/, "clientIp"],
  [
    "clientIp: 10.9.0.3",
    "allowedIps: [fd09::/96]",
    "18:18",
    /fd09::\/96 of "phone" \(line 15\) overlaps fd09::2\/128 of "laptop" \(line 8\)/,
    "the other way round, IPv6",
  ],
  ["    clientIp: 10.9.0.3\n", "", "15:5", /"phone" has no addresses/, "nothing to route"],
  ["clientIp: 10.9.0.2", "clientIp: 10.9.0.9", "11:15", /is not in its allowedIps/, "another's"],
  ["10.9.0.2/32", "10.9.0.2/24", "12:18", /10\.9\.0\.0\/24 is meant/, "host bits"],
  ["203.0.113.7:51820", "server.example:1", "13:15", /an address and a port/, "a name"],
  ["203.0.113.7:51820", "10.9.0.77:51820", "13:15", /inside the tunnel's own 10\.9\.0\.0/, "loop"],
  ["203.0.113.7:51820", "224.0.0.1:51820", "13:15", /no address of a single/, "multicast"],
  ["keepalive: 25s", "keepalive: 60s", "14:16", /1s to 25s/, "may only be lowered"],
  ["keepalive: 25s", "keepalive: 25", "14:16", /a time such as 25s/, "no unit"],
  ["enabled: false", "enabled: no way", "17:14", /enabled is true or false/, "not a boolean"],
  ["10.9.0.3", "0.0.0.0", "18:15", /no address of a single machine/, "unspecified"],
  ["clientIp: 10.9.0.3", "allowedIps: [0.0.0.0/0]", "18:18", /overlaps|every address/, "all"],
  ["interface: tm0", "defaultRoute: true", "5:15", /needs a peer with 0\.0\.0\.0\/0/, "no way"],
  ["interface: tm0", "masquerade: 1", "5:13", /masquerade is true or false/, "a number"],
];

Deno.test("T18: parseAllowedPeers() names the place and the fault, and both peers with their lines", () => {
  for (const [from, to, place, says, why] of WRONG) {
    const text = RIGHT.replace(from, to);
    ok(text !== RIGHT, `${why}: ${from} is there`);
    throws(() => parseAllowedPeers(text, "server.yaml"), (error: unknown) => {
      ok(error instanceof ConfigError, `${why}: ${error}`);
      match(error.message, says, why);
      strictEqual(`${error.line}:${error.column}`, place, `${why}: ${error.message}`);
      return true;
    }, why);
  }
});

Deno.test("parseAllowedPeers() takes all traffic only to one peer that is dialled, and if told to", () => {
  const all = RIGHT.replace("[10.9.0.2/32, fd09::2/128]", "[0.0.0.0/0, '::/0']")
    .replace(/ {2}- name: phone[^]*/, "");
  throws(() => parseAllowedPeers(all, "a"), /say defaultRoute: true as well/);
  const told = `${all}defaultRoute: true\n`;
  strictEqual(parseAllowedPeers(told, "a").defaultRoute, true);
  const undialled = told.replace(/ +endpoint.*\n/, "");
  throws(() => parseAllowedPeers(undialled, "a"), /"laptop" gets all traffic but has no endpoint/);
});

Deno.test("T18: parseAllowedPeers() finds an overlap wherever two prefixes stand", () => {
  const prefix = fc.tuple(fc.integer({ min: 0, max: 15 }), fc.integer({ min: 26, max: 32 }))
    .map(([n, length]) => parseIpPrefix(`10.1.0.${n * 4}/${length}`, { hostBits: "mask" }));
  const lists = fc.array(fc.array(prefix, { minLength: 1, maxLength: 3 }), {
    minLength: 2,
    maxLength: 3,
  });
  fc.assert(fc.property(lists, (peers) => {
    const overlaps = peers.some((own, i) =>
      own.some((one) =>
        peers.some((others, j) => i !== j && others.some((other) => prefixesOverlap(one, other)))
      )
    );
    const text = JSON.stringify({
      profile: "allowed-peers",
      meshId: "0f1e2d3c4b5a69788796a5b4c3d2e1f0",
      privateKeyFile: "k",
      addresses: ["10.9.0.1/24"],
      allowedPeers: peers.map((own, i) => ({
        name: `p${i}`,
        publicKey: KEYS[i],
        allowedIps: own.map(formatIpPrefix),
      })),
    });
    if (!overlaps) return void parseAllowedPeers(text, "a");
    throws(() => parseAllowedPeers(text, "a"), /of "p\d" \(line \d+\) overlaps .* of "p\d" \(line/);
  }));
});

Deno.test("parseAllowedPeers() throws nothing but ConfigError, whatever the file", () => {
  const piece = fc.constantFrom(...RIGHT.split(/(?<=\n)|(?<= )|(?=:)/));
  const text = fc.oneof(
    fc.string({ unit: "binary" }),
    fc.array(fc.oneof(piece, fc.string({ maxLength: 3 })), { maxLength: 40 }).map((all) =>
      all.join("")
    ),
  );
  fc.assert(
    fc.property(text, (given) => {
      try {
        parseAllowedPeers(given, "a");
      } catch (error) {
        ok(error instanceof ConfigError, `${error}`);
      }
    }),
    { numRuns: 300 },
  );
});

Deno.test("loadPrivateKey() takes a file beside the configuration, the owner's alone", async () => {
  const folder = await Deno.makeTempDir();
  try {
    const pair = generateKeyPair();
    const text = toBase64(pair.privateKey);
    const file = `${folder}/server.yaml`;
    const keyFile = `${folder}/server.key`;
    const config = parseAllowedPeers(RIGHT, file);
    throws(() => loadPrivateKey(config), /server\.key": there is no such file/);
    await Deno.writeTextFile(keyFile, `${text}\n`, { mode: 0o640 });
    await Deno.chmod(keyFile, 0o640);
    throws(() => loadPrivateKey(config), /open to others \(mode 0640\); do chmod 600/);
    await Deno.chmod(keyFile, 0o600);
    deepStrictEqual(loadPrivateKey(config).publicKey, pair.publicKey);
    await Deno.writeTextFile(keyFile, text.slice(0, 20));
    throws(() => loadPrivateKey(config), (error: Error) => {
      match(error.message, /is not 32 bytes in base64/);
      ok(!error.message.includes(text.slice(0, 8)), "no part of a key is shown");
      return true;
    });
    const inline = RIGHT.replace("privateKeyFile: server.key", `privateKey: ${text}`);
    await Deno.writeTextFile(file, inline, { mode: 0o644 });
    await Deno.chmod(file, 0o644);
    throws(() => loadPrivateKey(parseAllowedPeers(inline, file)), /open to others/);
    await Deno.chmod(file, 0o600);
    deepStrictEqual(loadPrivateKey(parseAllowedPeers(inline, file)).publicKey, pair.publicKey);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});
