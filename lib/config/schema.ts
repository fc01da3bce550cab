/**
 * What may stand in a configuration file, and what each value must look like.
 *
 * Keys are those of the command line in camelCase; a flag on the command line wins over the file.
 * Every object is strict: a key that is not here is refused.
 *
 * @module
 */

import { z } from "zod";
import { LOG_LEVELS } from "../base/log.ts";
import { parseHostAndPort, parseRange, parseServer } from "./values.ts";

const PORT = z.int("a port is a whole number").min(0, "a port is 0 to 65535")
  .max(65535, "a port is 0 to 65535");

const COORDINATOR_UDP_PORT = z.int("a port is a whole number")
  .min(1, "a coordinator's UDP port is 1 to 65534")
  .max(65534, "a coordinator's UDP port is 1 to 65534, for it uses the next one too");

const PATH = z.string("a path is text").min(1, "a path is not empty");

const LISTEN = textLike(
  "an address to listen on is text, as in 0.0.0.0:8443",
  parseHostAndPort,
);

const STUN_SERVER = textLike("a STUN server is text, as in stun.example.org:3478", parseServer);

const NODE_NAME = z.string("a name is text")
  .regex(
    /^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/,
    "a name is 1 to 63 lower-case letters, digits and hyphens, with no hyphen at either end",
  );

/** Limits that may not pass each other, with the protocol's figures. */
const ORDER = [
  ["rekeyAfterSeconds", 120, "rejectAfterSeconds", 180],
  ["rejectAfterSeconds", 180, "wipeAfterSeconds", 540],
  ["rekeyAfterMessages", 2 ** 48, "rejectAfterMessages", 2 ** 50],
] as const;

/**
 * Session limits. Each has the protocol's own figure (protocol.md §5) as its highest value: a mesh
 * may be more careful than the protocol, never less.
 */
const SESSION = z.strictObject({
  rekeyAfterSeconds: seconds(120),
  rekeyAfterMessages: messages(2 ** 48),
  rejectAfterSeconds: seconds(180),
  rejectAfterMessages: messages(2 ** 50),
  wipeAfterSeconds: seconds(540),
  giveUpAfterSeconds: seconds(90),
  keepaliveSeconds: seconds(10),
  persistentKeepaliveSeconds: seconds(25),
  raiseMtuAfterSeconds: seconds(600),
}).partial().superRefine((given, context) => {
  for (const [lower, lowerDefault, upper, upperDefault] of ORDER) {
    if ((given[lower] ?? lowerDefault) <= (given[upper] ?? upperDefault)) continue;
    context.addIssue({
      code: "custom",
      path: [given[upper] === undefined ? lower : upper],
      message: `${lower} may not be above ${upper}: lower both`,
    });
  }
});

const DATA_PLANE = z.enum(
  ["auto", "linux", "portable"],
  "dataPlane is auto, linux or portable",
);

const TRUST = z.enum(["all", "verified-only"], "trust is all or verified-only");

/** What a coordinator's configuration file may say. */
export const COORDINATOR_SCHEMA = z.strictObject({
  listen: z.preprocess(
    (given) => typeof given === "string" ? [given] : given,
    z.array(LISTEN, "listen is an address such as 0.0.0.0:8443, or a list of them")
      .min(1, "listen is an empty list"),
  ),
  udpPort: COORDINATOR_UDP_PORT,
  name: NODE_NAME,
  range: textLike("a range is text, as in 100.64.0.0/10", parseRange),
  tls: z.strictObject({ cert: PATH, key: PATH }, {
    error: "tls is a pair of paths, cert and key",
  }),
  http: z.boolean("http is true or false"),
  noMember: z.boolean("noMember is true or false"),
  session: SESSION,
  binding: z.enum(["strict", "roam"], "binding is strict or roam"),
  memberInvites: z.boolean("memberInvites is true or false"),
  trust: TRUST,
  dataPlane: DATA_PLANE,
  logLevel: z.enum(LOG_LEVELS, `logLevel is one of ${LOG_LEVELS.join(", ")}`),
}).partial();

/** What an agent's configuration file may say. */
export const AGENT_SCHEMA = z.strictObject({
  coordinator: z.url({
    protocol: /^https?$/,
    error: "a coordinator is a URL such as https://mesh.example.org:8443",
  }),
  tokenFile: PATH,
  name: NODE_NAME,
  udpPort: PORT,
  interface: z.string("an interface name is text")
    .regex(/^[^\s/]{1,15}$/, "an interface name is 1 to 15 characters without blanks and slashes"),
  sshKey: PATH,
  sshPort: PORT,
  sshEndpoints: z.array(
    z.string("an SSH endpoint is text, as in root@192.0.2.1:22").max(330),
    "sshEndpoints is a list of [user@]host:port",
  ).max(16, "sshEndpoints has at most 16"),
  sshJump: z.strictObject({
    to: z.string("sshJump.to is user@host:port"),
    key: PATH,
    hostKey: z.string("sshJump.hostKey is a line of a .pub file").optional(),
  }, { error: "sshJump has to, key and hostKey" }),
  portMapping: z.enum(["auto", "off"], "portMapping is auto or off"),
  stun: z.array(STUN_SERVER, "stun is a list of servers, as in [stun.example.org:3478]")
    .max(8, "stun has at most 8 servers"),
  tlsVerify: z.boolean("tlsVerify is true or false"),
  trust: TRUST,
  mtu: z.int("mtu is a whole number").min(1280, "mtu is 1280 to 1420")
    .max(1420, "mtu is 1280 to 1420"),
  dataPlane: DATA_PLANE,
  logLevel: z.enum(LOG_LEVELS, `logLevel is one of ${LOG_LEVELS.join(", ")}`),
}).partial();

/** A coordinator's configuration file, checked; what it does not say is absent. */
export type CoordinatorConfig = z.output<typeof COORDINATOR_SCHEMA>;

/** An agent's configuration file, checked; what it does not say is absent. */
export type AgentConfig = z.output<typeof AGENT_SCHEMA>;

function seconds(highest: number) {
  const rule = `seconds here are 1 to ${highest}: a limit may only be lowered`;
  return z.number(rule).min(1, rule).max(highest, rule);
}

function messages(highest: number) {
  const rule =
    `messages here are a whole number from 16 to ${highest}: a limit may only be lowered`;
  return z.int(rule).min(16, rule).max(highest, rule);
}

/**
 * Text that a parser takes; its complaint is what the user reads.
 *
 * @param isNoText What to say if it is something else than text.
 * @param parse Throws an `Error` that says what is wrong.
 */
export function textLike<Value>(isNoText: string, parse: (text: string) => Value) {
  return z.string(isNoText).transform((text, context) => {
    try {
      return parse(text);
    } catch (error) {
      context.addIssue({ code: "custom", message: error instanceof Error ? error.message : "" });
      return z.NEVER;
    }
  });
}
