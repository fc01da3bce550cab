/**
 * Texts and keys: tokens and addresses that people paste, key files that they name, statements that
 * nodes present, messages of the control channel. The seed of a failure repeats it.
 *
 * @module
 */

import { ok, rejects } from "node:assert/strict";
import { generateKeyPairSync } from "node:crypto";
import { concatBytes, fromBase64, fromBase64Url, fromHex, toBase64 } from "../../lib/base/bytes.ts";
import { parseHostAndPort, parseRange, parseServer } from "../../lib/config/values.ts";
import { sha256 } from "../../lib/crypto/hash.ts";
import { createSshKey, loadSshKey, SshKeyError } from "../../lib/crypto/ssh_key.ts";
import { parseSshPublicKey } from "../../lib/crypto/ssh_public_key.ts";
import { sshMpint, sshString } from "../../lib/crypto/ssh_wire.ts";
import { signStatement, statementFault } from "../../lib/crypto/sshsig.ts";
import { parseEndpoint } from "../../lib/net/endpoint.ts";
import { parseIpAddress } from "../../lib/net/ip_address.ts";
import { parseIpPrefix } from "../../lib/net/ip_prefix.ts";
import {
  formatToken,
  parseToken,
  TOKEN_LENGTH,
  TOKEN_PREFIX,
  TokenSyntaxError,
} from "../../lib/token/token.ts";
import { parseSshAddress } from "../../lib/transport/ssh_address.ts";
import { decodeClientMessage, encodeClientMessage } from "../../lib/wire/client_message.ts";
import { MessageError } from "../../lib/wire/json_codec.ts";
import { refusalOf, REFUSALS } from "../../lib/wire/refusal.ts";
import { decodeServerMessage, encodeServerMessage } from "../../lib/wire/server_message.ts";
import { seededBytes } from "../fakes/random.ts";
import { CLIENT_MESSAGES, SERVER_MESSAGES } from "../wire/control_samples.ts";
import { bytesOf, type Depth, fuzz, textOf } from "./fuzz.ts";

const bytes = seededBytes(11);
const encoder = new TextEncoder();

Deno.test("fuzz: tokens are read, or refused with a TokenSyntaxError", () => {
  const token = () =>
    formatToken({ meshId: bytes(16), coordinatorKey: bytes(32), joinSecret: bytes(32) });
  return fuzz({
    name: "tokens",
    samples: bytesOf(token(), `\n ${token()}\r\n`, token()),
    pieces: bytesOf(TOKEN_PREFIX, "=", "-", "_", "+", "é"),
    /** The length and the check that some bytes would have had as a token. */
    repair(text) {
      const said = new Uint8Array(80);
      said.set(text.subarray(0, 80));
      return encoder.encode(
        TOKEN_PREFIX + concatBytes(said, sha256(said).subarray(0, 4)).toBase64({
          alphabet: "base64url",
          omitPadding: true,
        }),
      );
    },
    judge(input): Depth {
      const text = textOf(input);
      try {
        const { meshId, coordinatorKey, joinSecret } = parseToken(text);
        ok(formatToken({ meshId, coordinatorKey, joinSecret }) === text.trim());
        return "taken";
      } catch (error) {
        if (!(error instanceof TokenSyntaxError)) throw error;
        ok(
          !error.message.includes(text.trim().slice(4, 24)) || text.length < 40,
          "no secret in it",
        );
        return text.trim().length === TOKEN_LENGTH ? "past" : "refused";
      }
    },
  });
});

/** Parsers of base64 and hex, whose only error is a SyntaxError. */
const ENCODINGS = [fromBase64, fromBase64Url, fromHex];

Deno.test("fuzz: base64, base64url and hex are exactly that, or a SyntaxError", () =>
  fuzz({
    name: "encodings",
    samples: bytesOf(toBase64(bytes(32)), bytes(32).toHex(), toBase64(bytes(31)), "", "AAAA"),
    judge(input): Depth {
      const text = textOf(input);
      let depth: Depth = "refused";
      if (/^[A-Za-z0-9+/_=-]*$/.test(text)) depth = "past";
      for (const decode of ENCODINGS) {
        try {
          decode(text);
          depth = "taken";
        } catch (error) {
          if (!(error instanceof SyntaxError)) throw error;
        }
      }
      return depth;
    },
  }));

/** Texts that people write where an address is wanted; each throws a SyntaxError or nothing. */
const ADDRESS_PARSERS: ((text: string) => unknown)[] = [
  parseEndpoint,
  parseIpAddress,
  parseIpPrefix,
  (text) => parseIpPrefix(text, { hostBits: "mask" }),
  parseHostAndPort,
  parseServer,
  parseRange,
  parseSshAddress,
];

Deno.test("fuzz: addresses, prefixes, servers: read, or a SyntaxError", () =>
  fuzz({
    name: "addresses",
    samples: bytesOf(
      ...["192.0.2.1", "2001:db8::7", "::ffff:192.0.2.1", "[2001:db8::1]:51820", "10.0.0.0/8"],
      ...["fd00::/48", "100.64.0.0/10", "server.example:8443", "root@192.0.2.7:22", "[::1]:22"],
    ),
    pieces: bytesOf("::", ".", ":", "/", "[", "]", "@", "%eth0", "0x", "00", "65536", "٣"),
    judge(input): Depth {
      const text = textOf(input);
      let taken = 0;
      for (const parse of ADDRESS_PARSERS) {
        try {
          parse(text);
          taken++;
        } catch (error) {
          if (!(error instanceof SyntaxError)) throw error;
        }
      }
      if (taken > 0) return "taken";
      return /^[0-9a-fA-F:.\[\]/@a-z-]+$/.test(text) ? "past" : "refused";
    },
  }));

/** Blobs of one kind each. */
function publicKeys(): Uint8Array[] {
  const { n, e } = generateKeyPairSync("rsa", { modulusLength: 2048 }).publicKey
    .export({ format: "jwk" });
  const { x, y } = generateKeyPairSync("ec", { namedCurve: "P-256" }).publicKey
    .export({ format: "jwk" });
  const numbers = [e, n].map((number) => sshMpint(fromBase64Url(number!)));
  const point = concatBytes(Uint8Array.of(4), ...[x, y].map((half) => fromBase64Url(half!)));
  return [
    createSshKey("a").key.publicKey,
    concatBytes(sshString("ssh-rsa"), ...numbers),
    concatBytes(sshString("ecdsa-sha2-nistp256"), sshString("nistp256"), sshString(point)),
  ];
}

Deno.test("fuzz: SSH public keys are read, or have a fault", () =>
  fuzz({
    name: "SSH public keys",
    samples: publicKeys(),
    pieces: ["ssh-ed25519", "ssh-rsa", "nistp521", "sk-ssh-ed25519@openssh.com"].map(sshString),
    judge(blob): Depth {
      const key = parseSshPublicKey(blob);
      if (typeof key !== "string") return "taken";
      return key === "malformed" && blob.length < 40 ? "refused" : "past";
    },
  }));

const SUBJECT = { meshId: bytes(16), staticKey: bytes(32), unixSeconds: 1_790_000_000 };

Deno.test("fuzz: identity statements are good, or have a fault", () => {
  const { key } = createSshKey("b");
  return fuzz({
    name: "identity statements",
    samples: [signStatement(key, SUBJECT)],
    pieces: ["tunnelmesh", "sha512", "sha256", "ssh-ed25519", ""].map(sshString),
    judge(statement): Depth {
      const fault = statementFault({ ...SUBJECT, sshPublicKey: key.publicKey, statement });
      if (fault === undefined) return "taken";
      return textOf(statement.subarray(0, 6)) === "SSHSIG" ? "past" : "refused";
    },
  });
});

const BEGIN = "-----BEGIN OPENSSH PRIVATE KEY-----";
const END = "-----END OPENSSH PRIVATE KEY-----";

/** A private key file of OpenSSH's making. */
async function keygen(type: string): Promise<string> {
  const folder = await Deno.makeTempDir({ prefix: "tunnelmesh-fuzz-" });
  try {
    const args = ["-q", "-t", type, "-N", "", "-C", "x", "-f", `${folder}/key`];
    ok((await new Deno.Command("ssh-keygen", { args }).output()).success);
    return await Deno.readTextFile(`${folder}/key`);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

function insideOf(text: string): Uint8Array {
  return fromBase64(text.replace(BEGIN, "").replace(END, "").replace(/\s+/g, ""));
}

/** The same with what is inside damaged, and with the armour damaged. */
for (const [what, isArmoured] of [["inside", false], ["text", true]] as const) {
  Deno.test(`fuzz: SSH private keys (${what}) are read, or refused with an SshKeyError`, async () => {
    const own = ["", "x@y"].map((comment) => createSshKey(comment).privateText);
    const texts = [...own, ...await Promise.all(["ecdsa", "rsa"].map(keygen))];
    await fuzz({
      name: `SSH private keys (${what})`,
      samples: isArmoured ? bytesOf(...texts) : texts.map(insideOf),
      pieces: isArmoured
        ? bytesOf(BEGIN, END, "\n", "=", "PuTTY-User-Key-File-2", "ssh-ed25519 ")
        : ["none", "aes256-ctr", "bcrypt", "ssh-rsa", "ssh-ed25519"].map(sshString),
      async judge(input): Promise<Depth> {
        const text = isArmoured ? textOf(input) : `${BEGIN}\n${toBase64(input)}\n${END}\n`;
        try {
          await loadSshKey(text);
          return "taken";
        } catch (error) {
          if (!(error instanceof SshKeyError)) throw error;
          const isEnvelope = text.startsWith(BEGIN) && text.trimEnd().endsWith(END);
          return isEnvelope ? "past" : "refused";
        }
      },
    });
  });
}

Deno.test("a key file that the library behind trips over is damaged like any other", async () => {
  const inside = insideOf(await keygen("ecdsa"));
  // Behind the curve's last mention: the point with its length, then the scalar's length.
  const curve = new TextDecoder("latin1").decode(inside).lastIndexOf("nistp256");
  inside.fill(0, curve + 8 + 4 + 65, curve + 8 + 4 + 65 + 4);
  await rejects(loadSshKey(`${BEGIN}\n${toBase64(inside)}\n${END}\n`), SshKeyError);
});

Deno.test("fuzz: control messages of either side are read, or refused with a MessageError", () =>
  fuzz({
    name: "control messages",
    samples: [
      ...CLIENT_MESSAGES.map(encodeClientMessage),
      ...SERVER_MESSAGES.map(encodeServerMessage),
    ],
    pieces: bytesOf(
      ...['"kind":"hello"', '"kind":"roster"', '"__proto__":{"a":1}', "null", "true", "[]", "{}"],
      ...["-1", "1e999", "9007199254740993", '""', '"\\u0000"', '"\\ud800"', "[[[[[[", ","],
    ),
    judge(body): Depth {
      let taken = 0;
      let isJson = true;
      try {
        JSON.parse(textOf(body));
      } catch {
        isJson = false;
      }
      for (const decode of [decodeClientMessage, decodeServerMessage]) {
        try {
          decode(body);
          taken++;
        } catch (error) {
          if (!(error instanceof MessageError)) throw error;
        }
      }
      ok(({} as Record<string, unknown>)["a"] === undefined, "no prototype is changed");
      return taken > 0 ? "taken" : isJson ? "past" : "refused";
    },
  }));

Deno.test("fuzz: what a coordinator closes with is one line for people, whatever it says", () => {
  const codes = Object.values(REFUSALS).map(([code]) => code);
  return fuzz({
    name: "close reasons",
    samples: bytesOf("the token was replaced", "", "\u001b[2J\nforged: line"),
    judge(input): Depth {
      const refusal = refusalOf(codes[input.length % codes.length]!, textOf(input))!;
      ok(refusal.text !== "" && !/\p{Cc}/u.test(refusal.text));
      return "taken";
    },
  });
});
