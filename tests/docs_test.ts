/**
 * Keeps docs/protocol.md true: every table under a `check` comment says what the code says.
 *
 * @module
 */

import { deepStrictEqual, ok, strictEqual } from "node:assert/strict";
import { utf8 } from "../lib/base/bytes.ts";
import { DEFAULT_MTU } from "../lib/mesh/device_options.ts";
import { PROFILES } from "../lib/noise/profiles.ts";
import { CONTROL_VERSION, MAX_CONTROL_MESSAGE } from "../lib/session/control_channel.ts";
import {
  ANSWER_WITHIN_MS,
  KEY_ID_MAX_AGE_DAYS,
  TRANSACTION_LENGTH,
} from "../lib/session/discovery.ts";
import * as limits from "../lib/session/limits.ts";
import { MAX_PAIR_BODY, PAIR_CONTROL_KIND } from "../lib/session/pair_channel.ts";
import * as pairLimits from "../lib/session/pair_limits.ts";
import { REPLAY_WINDOW_SIZE } from "../lib/session/replay_window.ts";
import type { BucketRate } from "../lib/session/token_bucket.ts";
import { TOKEN_LABELS, TOKEN_LENGTH, TOKEN_PARTS, TOKEN_PREFIX } from "../lib/token/token.ts";
import { decodeClientMessage } from "../lib/wire/client_message.ts";
import {
  DATA_HEADER_LENGTH,
  DATAGRAM_LENGTH,
  DATAGRAM_TYPE,
  OFFSET,
  PROFILE_ID,
  type ProfileName,
  PROTOCOL_VERSION,
  TAG_LENGTH,
  XNONCE_LENGTH,
} from "../lib/wire/datagram.ts";
import {
  DISCOVERY_DIRECTION,
  DISCOVERY_KEY_ID_LENGTH,
  DISCOVERY_LENGTH,
  SEALED_DISCOVERY_LENGTH,
} from "../lib/wire/discovery_datagram.ts";
import { CONTROL_KIND, ECHO_ID_LENGTH, plaintextKind } from "../lib/wire/inner_control.ts";
import { REFUSALS } from "../lib/wire/refusal.ts";
import { decodeServerMessage } from "../lib/wire/server_message.ts";
import { MAX_BODY_LENGTH } from "../lib/wire/stream_frame.ts";

const ROOT = new URL("../", import.meta.url);
const TEXT = await Deno.readTextFile(new URL("docs/protocol.md", ROOT));
const PROSE = TEXT.replaceAll(/\s+/g, " ");
const PROFILE_NAMES = Object.keys(PROFILE_ID) as ProfileName[];
const NONE = "–";

/** Rows of each checked table, without the heading; cells are trimmed and bared of backticks. */
const TABLES = new Map<string, string[][]>();
for (const [, name, body] of TEXT.matchAll(/<!-- check: ([a-z ]+) -->\n+((?:\|.*\n)+)/g)) {
  const rows = body!.trim().split("\n").map((line) =>
    line.slice(1, -1).split("|").map((cell) => cell.trim().replaceAll("`", ""))
  );
  TABLES.set(name!, rows.slice(2));
}

function table(name: string, columns?: number): string[][] {
  const rows = TABLES.get(name);
  ok(rows, `docs/protocol.md has a table "${name}"`);
  return rows.map((row) => row.slice(0, columns));
}

Deno.test("docs/protocol.md has no table that is not checked", () => {
  const headings = TEXT.match(/^\|[\s|:-]+\|$/gm) ?? [];
  strictEqual(headings.length, TABLES.size);
  deepStrictEqual([...TABLES.keys()], [
    "labels",
    "token",
    "profiles",
    "offsets",
    "lengths",
    "plaintexts",
    "control plaintexts",
    "limits",
    "constants",
    "control",
    "control kinds",
    "refusals",
    "discovery",
    "pairing",
  ]);
});

Deno.test("docs/protocol.md names every label that the code derives with, and no other", async () => {
  const inCode = new Set<string>(["tunnelmesh"]);
  for await (const text of sources(new URL("lib/", ROOT))) {
    for (const [, label] of text.matchAll(/"(tunnelmesh [a-z0-9 ]+ v\d)(?:\\0)?"/g)) {
      inCode.add(label!);
    }
    for (const [, label] of text.matchAll(/"(tunnelmesh-[a-z]+\/\d)"/g)) inCode.add(label!);
  }
  const inDocs = table("labels", 1).map(([label]) => label!);
  deepStrictEqual(inDocs.toSorted(), [...inCode].toSorted());
  for (const label of Object.values(TOKEN_LABELS)) ok(inDocs.includes(label), label);
});

Deno.test("docs/protocol.md lays a token out as it is", () => {
  let at = 0;
  const rows = Object.values(TOKEN_PARTS).map((length) => {
    at += length;
    return [String(at - length), String(length)];
  });
  deepStrictEqual(table("token").map((row) => row.slice(1)), rows);
  says(`\`${TOKEN_PREFIX}\` and base64url of those ${at} bytes`, `${TOKEN_LENGTH} characters`);
});

Deno.test("docs/protocol.md has the rows of the profile table", () => {
  deepStrictEqual(
    table("profiles"),
    PROFILE_NAMES.map((name) => {
      const profile = PROFILES[name];
      strictEqual(profile.id, PROFILE_ID[name], "noise and wire agree");
      return [
        name,
        String(profile.id),
        profile.protocol.name,
        String(profile.firstPayloadLength),
        String(profile.secondPayloadLength),
        profile.replay,
      ];
    }),
  );
});

Deno.test("profiles and datagrams agree on the length of every Noise message", () => {
  for (const name of PROFILE_NAMES) {
    const { protocol, firstPayloadLength, secondPayloadLength } = PROFILES[name];
    const macs = name === "pair-interop" ? 0 : 32;
    const payloads = [firstPayloadLength, secondPayloadLength, 0];
    let hasKey = false;
    protocol.pattern.messages.forEach((tokens, i) => {
      let length = 0;
      for (const token of tokens) {
        if (token === "e") length += 32;
        else if (token === "s") length += 32 + (hasKey ? 16 : 0);
        else hasKey = true;
      }
      length += payloads[i]! + (hasKey ? 16 : 0);
      const kind = (["initiation", "response", "third"] as const)[i]!;
      strictEqual(
        DATAGRAM_LENGTH[name][kind],
        OFFSET[kind].noise + length + macs,
        `${name} ${kind}`,
      );
    });
  }
});

/** Rows of the offset table: what the documentation calls a field, what the code does. */
const FIELDS: [row: string, key: string][] = [
  ["type", "type"],
  ["version", "version"],
  ["profile", "profile"],
  ["direction", "direction"],
  ["zero", "zero"],
  ["sender index u32", "sender"],
  ["receiver index u32", "receiver"],
  ["counter u64", "counter"],
  [`key id ${DISCOVERY_KEY_ID_LENGTH}`, "keyId"],
  [`nonce ${XNONCE_LENGTH}`, "nonce"],
  ["Noise message", "noise"],
  ["sealed", "sealed"],
];

Deno.test("docs/protocol.md has every offset of every datagram", () => {
  const layouts = Object.values(OFFSET).map((layout) =>
    // Data calls its sealed part a ciphertext, since it is the payload itself.
    "ciphertext" in layout ? { ...layout, sealed: layout.ciphertext } : layout
  ) as Record<string, number>[];
  deepStrictEqual(
    table("offsets"),
    FIELDS.map(([row, key]) => [row, ...layouts.map((layout) => String(layout[key] ?? NONE))]),
  );
  const known = new Set([...FIELDS.map(([, key]) => key), "ciphertext"]);
  for (const layout of layouts) for (const key of Object.keys(layout)) ok(known.has(key), key);
});

Deno.test("docs/protocol.md has the type and the exact lengths of every datagram", () => {
  const length = (profile: ProfileName, kind: string): string => {
    if (kind === "data") return `${DATA_HEADER_LENGTH + TAG_LENGTH} or more`;
    if (kind === "discovery") return String(DISCOVERY_LENGTH);
    return String((DATAGRAM_LENGTH[profile] as Record<string, number>)[kind] || NONE);
  };
  deepStrictEqual(
    table("lengths"),
    Object.entries(DATAGRAM_TYPE).map(([kind, type]) => [
      kind,
      String(type),
      ...PROFILE_NAMES.map((profile) => length(profile, kind)),
    ]),
  );
  says(`\`version\` is ${PROTOCOL_VERSION}.`);
});

Deno.test("docs/protocol.md tells plaintexts apart as the code does, byte for byte", () => {
  const kinds = new Map<number, string>();
  for (const [range, kind] of table("plaintexts")) {
    if (range === "(empty)") {
      strictEqual(plaintextKind(new Uint8Array(0)), kind);
      continue;
    }
    const [first, last = first] = range!.split(" to ").map(Number);
    for (let byte = first!; byte <= last!; byte++) kinds.set(byte, kind!);
  }
  for (let byte = 0; byte < 256; byte++) {
    strictEqual(kinds.get(byte), plaintextKind(Uint8Array.of(byte)), `first byte ${byte}`);
  }
});

Deno.test("docs/protocol.md has the kinds of control plaintexts", () => {
  const kebab = (name: string) => name.replace(/[A-Z]/, (letter) => " " + letter.toLowerCase());
  deepStrictEqual(
    table("control plaintexts", 2),
    Object.entries(CONTROL_KIND).map(([name, code]) => [kebab(name), String(code)]),
  );
  says(`id ${ECHO_ID_LENGTH}, then zeros to any length`);
});

Deno.test("docs/protocol.md has the limits of a keypair", () => {
  const rows = Object.entries(limits.DEFAULT_LIMITS).map(([name, value]) => [
    name,
    name.endsWith("Ms") ? seconds(value) : `2^${Math.log2(value)}`,
  ]);
  deepStrictEqual(table("limits", 2), rows);
});

Deno.test("docs/protocol.md has the other figures of sessions", () => {
  const code: Record<string, unknown> = { ...limits, REPLAY_WINDOW_SIZE };
  for (const [name, value] of table("constants", 2)) {
    const actual = code[name!];
    const isTime = name!.endsWith("_MS");
    const written = Array.isArray(actual)
      ? actual.map(seconds).join(", ")
      : isTime
      ? seconds(actual as number)
      : isRate(actual)
      ? `${actual.perSecond}/s, burst ${actual.burst}`
      : String(actual);
    strictEqual(written, value, name);
  }
});

Deno.test("docs/protocol.md has the figures of pairing", () => {
  const { MAX_THIRD_ANSWERS: _, ...code } = pairLimits;
  const written = Object.entries(code).map(([name, value]) => [
    name,
    typeof value !== "number"
      ? value.map(seconds).join(", ")
      : name.endsWith("_MS")
      ? seconds(value)
      : String(value),
  ]);
  deepStrictEqual(table("pairing", 2).toSorted(), written.toSorted());
  says(`at most ${MAX_PAIR_BODY} bytes`, `kind ${PAIR_CONTROL_KIND} ‖ number u32 ‖ heard u32`);
});

Deno.test("docs/protocol.md has the MTU that the agent sets", () => {
  says(`MTU of ${DEFAULT_MTU}:`);
  strictEqual(DEFAULT_MTU % 64, 0, "whole ChaCha20 blocks");
});

Deno.test("docs/protocol.md has the heartbeat that coordinator and agent keep", async () => {
  const coordinator = await Deno.readTextFile(new URL("lib/coordinator/welcome.ts", ROOT));
  const agent = await Deno.readTextFile(new URL("lib/agent/control_client.ts", ROOT));
  const number = (source: string, name: string) =>
    Number(new RegExp(`\\b${name} = ([\\d_]+);`).exec(source)?.[1]?.replaceAll("_", ""));
  const heartbeatMs = number(coordinator, "HEARTBEAT_MS");
  strictEqual(number(agent, "DEFAULT_HEARTBEAT_MS"), heartbeatMs, "agent and coordinator agree");
  says(
    `a heartbeat every ${seconds(heartbeatMs)} (`,
    `give up after ${number(agent, "MISSED_HEARTBEATS")} missed`,
  );
});

Deno.test("docs/protocol.md has the figures of the control channel", () => {
  const code = { CONTROL_VERSION, MAX_CONTROL_MESSAGE, MAX_BODY_LENGTH };
  deepStrictEqual(
    table("control"),
    Object.entries(code).map(([name, value]) => [name, String(value)]),
  );
});

Deno.test("docs/protocol.md has every kind of body of the control channel, and who says it", async () => {
  const inCode = new Set<string>();
  for (const file of ["control_message.ts", "client_message.ts", "server_message.ts"]) {
    const source = await Deno.readTextFile(new URL(`lib/wire/${file}`, ROOT));
    for (const [, kind] of source.matchAll(/\bkind: oneOf\("([a-z-]+)"\)/g)) inCode.add(kind!);
  }
  const rows = table("control kinds", 2);
  deepStrictEqual(rows.map(([kind]) => kind!).toSorted(), [...inCode].toSorted());
  for (const [kind, from] of rows) {
    strictEqual(isKnown(decodeClientMessage, kind!), from !== "coordinator", kind);
    strictEqual(isKnown(decodeServerMessage, kind!), from !== "agent", kind);
  }
});

Deno.test("docs/protocol.md has every refusal", () => {
  deepStrictEqual(
    table("refusals"),
    Object.entries(REFUSALS).map(([reason, [code, advice]]) => [reason, String(code), advice]),
  );
});

Deno.test("docs/protocol.md lays a discovery body out as it is", () => {
  const rows = table("discovery").map(([, at, length]) => [Number(at), Number(length)]);
  let end = 0;
  for (const [at, length] of rows) {
    strictEqual(at, end);
    end += length!;
  }
  strictEqual(end, SEALED_DISCOVERY_LENGTH);
  strictEqual(rows[0]![1], TRANSACTION_LENGTH);
  strictEqual(rows.at(-1)![1], TAG_LENGTH);
  says(
    `\`direction\` is ${DISCOVERY_DIRECTION.ask} in an ask, ${DISCOVERY_DIRECTION.answer} in an answer`,
    `A key id more than ${KEY_ID_MAX_AGE_DAYS} days old is not answered`,
    `within ${seconds(ANSWER_WITHIN_MS)}. The result`,
    `the ${OFFSET.discovery.nonce} bytes before the nonce`,
  );
});

/** Whether the prose has these words, however its lines are broken. */
function says(...words: string[]): void {
  for (const text of words) ok(PROSE.includes(text), text);
}

function isRate(value: unknown): value is BucketRate {
  return typeof value === "object" && value !== null && "perSecond" in value;
}

function seconds(ms: number): string {
  return `${ms / 1000} s`;
}

/** Whether a decoder knows a kind; without its fields it is refused, but not as unknown. */
function isKnown(decode: (body: Uint8Array) => { kind: string }, kind: string): boolean {
  try {
    return decode(utf8(JSON.stringify({ kind }))).kind !== "unknown";
  } catch {
    return true;
  }
}

async function* sources(folder: URL): AsyncGenerator<string> {
  for await (const entry of Deno.readDir(folder)) {
    if (entry.isDirectory) yield* sources(new URL(entry.name + "/", folder));
    else if (entry.name.endsWith(".ts")) {
      yield await Deno.readTextFile(new URL(entry.name, folder));
    }
  }
}
