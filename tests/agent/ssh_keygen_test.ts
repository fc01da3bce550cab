/**
 * OpenSSH's own ssh-keygen as the judge of our key files and signatures.
 *
 * @module
 */

import { deepStrictEqual, ok, rejects, strictEqual } from "node:assert/strict";
import { fromBase64, toHex } from "../../lib/base/bytes.ts";
import { createSshKey, loadSshKey, SshKeyError } from "../../lib/crypto/ssh_key.ts";
import {
  armorSignature,
  signStatement,
  statementBytes,
  statementFault,
} from "../../lib/crypto/sshsig.ts";

const SUBJECT = {
  meshId: new Uint8Array(16).fill(7),
  staticKey: new Uint8Array(32).fill(9),
  unixSeconds: 1_790_000_000,
};

/** Kinds of key that a node may have, with how many fresh ones of it are tried. */
const KINDS: [type: string, bits: string, count: number][] = [
  ["ed25519", "256", 50],
  ["ecdsa", "256", 50],
  ["ecdsa", "384", 50],
  ["ecdsa", "521", 50],
  ["rsa", "2048", 50],
];

async function run(args: string[], stdin?: Uint8Array): Promise<{ code: number; out: string }> {
  const child = new Deno.Command("ssh-keygen", {
    args,
    stdin: "piped",
    stdout: "piped",
    stderr: "piped",
  }).spawn();
  const writer = child.stdin.getWriter();
  if (stdin !== undefined) await writer.write(stdin);
  await writer.close();
  const { code, stdout, stderr } = await child.output();
  return { code, out: new TextDecoder().decode(stdout) + new TextDecoder().decode(stderr) };
}

async function inFolder(body: (folder: string) => Promise<void>): Promise<void> {
  const folder = await Deno.makeTempDir({ prefix: "tm-ssh-" });
  try {
    await body(folder);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

async function keygenAccepts(folder: string, publicLine: string, signature: Uint8Array) {
  await Deno.writeTextFile(`${folder}/allowed`, `node ${publicLine}\n`);
  await Deno.writeTextFile(`${folder}/sig`, armorSignature(signature));
  const args = ["-Y", "verify", "-f", `${folder}/allowed`, "-I", "node", "-n", "tunnelmesh"];
  return await run([...args, "-s", `${folder}/sig`], statementBytes(SUBJECT));
}

Deno.test("createSshKey() writes a file that ssh-keygen -y reads", () =>
  inFolder(async (folder) => {
    const { key, privateText } = createSshKey("tunnelmesh@test");
    await Deno.writeTextFile(`${folder}/key`, privateText, { mode: 0o600 });
    const { code, out } = await run(["-y", "-f", `${folder}/key`]);
    strictEqual(code, 0, out);
    strictEqual(out.trim(), key.publicLine);
    const again = await loadSshKey(privateText);
    deepStrictEqual(again.seed, key.seed);
    strictEqual(again.comment, "tunnelmesh@test");
  }));

for (const [type, bits, count] of KINDS) {
  Deno.test(`loadSshKey() reads ${count} fresh ${type} keys of ${bits} bits`, () =>
    inFolder(async (folder) => {
      for (let i = 0; i < count; i++) {
        const file = `${folder}/k${i}`;
        await run(["-q", "-t", type, "-b", bits, "-N", "", "-C", "c", "-f", file]);
        const key = await loadSshKey(await Deno.readTextFile(file));
        const publicLine = (await Deno.readTextFile(`${file}.pub`)).trim();
        strictEqual(key.publicLine, publicLine);
        const statement = signStatement(key, SUBJECT);
        const fault = statementFault({ ...SUBJECT, sshPublicKey: key.publicKey, statement });
        strictEqual(fault, undefined);
        if (i > 2) continue; // the foreign judge costs a process each
        const { code, out } = await keygenAccepts(folder, publicLine, statement);
        strictEqual(code, 0, out);
      }
    }));

  Deno.test(`statementFault() accepts what ssh-keygen signs with ${type} ${bits}`, () =>
    inFolder(async (folder) => {
      const file = `${folder}/k`;
      await run(["-q", "-t", type, "-b", bits, "-N", "", "-f", file]);
      const sign = ["-Y", "sign", "-f", file, "-n"];
      const message = statementBytes(SUBJECT);
      const sshPublicKey = fromBase64((await Deno.readTextFile(`${file}.pub`)).split(" ")[1]!);
      const judge = async (...args: string[]) => {
        const { code, out } = await run([...sign, ...args], message);
        strictEqual(code, 0, out);
        const base64 = out.match(/BEGIN SSH SIGNATURE-----([^-]*)-----END/)![1]!;
        const statement = fromBase64(base64.replace(/\s+/g, ""));
        return statementFault({ ...SUBJECT, sshPublicKey, statement });
      };
      strictEqual(await judge("tunnelmesh"), undefined);
      strictEqual(await judge("file"), "wrong-namespace");
      strictEqual(await judge("tunnelmesh", "-O", "hashalg=sha256"), "wrong-hash");
    }));
}

Deno.test("ssh-keygen -Y verify refuses our statement for another subject", () =>
  inFolder(async (folder) => {
    const { key } = createSshKey("c");
    const other = signStatement(key, { ...SUBJECT, unixSeconds: 1 });
    const { code } = await keygenAccepts(folder, key.publicLine, other);
    ok(code !== 0);
  }));

Deno.test("loadSshKey() asks for a passphrase, and gives no seed of a key behind one", () =>
  inFolder(async (folder) => {
    for (const type of ["ed25519", "ecdsa", "rsa"]) {
      const file = `${folder}/${type}`;
      await run(["-q", "-t", type, "-N", "secret phrase", "-a", "4", "-f", file]);
      const text = await Deno.readTextFile(file);
      const key = await loadSshKey(text, { passphrase: () => "secret phrase" });
      strictEqual(key.seed, undefined);
      const statement = signStatement(key, SUBJECT);
      strictEqual(
        statementFault({ ...SUBJECT, sshPublicKey: key.publicKey, statement }),
        undefined,
      );
      await rejects(loadSshKey(text), { fault: "passphrase-needed" });
      const wrong = loadSshKey(text, { passphrase: () => "no" });
      await rejects(wrong, { fault: "wrong-passphrase" });
    }
  }));

Deno.test("loadSshKey() refuses too many KDF rounds before it asks for a passphrase", () =>
  inFolder(async (folder) => {
    const file = `${folder}/k`;
    await run(["-q", "-t", "ed25519", "-N", "x", "-a", "4", "-f", file]);
    const lines = (await Deno.readTextFile(file)).split("\n");
    const bytes = fromBase64(lines.filter((line) => !line.startsWith("-")).join(""));
    // Rounds are the last four bytes of the KDF options: magic 15, "aes256-ctr", "bcrypt", options.
    const roundsAt = 15 + 4 + 10 + 4 + 6 + 4 + 4 + 16;
    strictEqual(toHex(bytes.subarray(roundsAt, roundsAt + 4)), "00000004");
    bytes.set([0, 0, 1, 1], roundsAt);
    const text = `-----BEGIN OPENSSH PRIVATE KEY-----\n${
      btoa(String.fromCharCode(...bytes))
    }\n-----END OPENSSH PRIVATE KEY-----\n`;
    let isAsked = false;
    const ask = () => {
      isAsked = true;
      return "x";
    };
    await rejects(loadSshKey(text, { passphrase: ask }), { fault: "too-many-kdf-rounds" });
    ok(!isAsked);
  }));

Deno.test("loadSshKey() says what to do with a file that is no OpenSSH private key", () =>
  inFolder(async (folder) => {
    await run(["-q", "-t", "rsa", "-m", "PEM", "-N", "", "-f", `${folder}/pem`]);
    await run(["-q", "-t", "rsa", "-b", "1024", "-N", "", "-f", `${folder}/short`]);
    const rows: [text: string, fault: string, hint: RegExp][] = [
      [await Deno.readTextFile(`${folder}/pem`), "other-format", /ssh-keygen -p/],
      [await Deno.readTextFile(`${folder}/pem.pub`), "not-a-private-key", /without \.pub/],
      [await Deno.readTextFile(`${folder}/short`), "too-short", /2048/],
      ["PuTTY-User-Key-File-3: ssh-ed25519", "other-format", /puttygen/],
      ["hello", "not-a-private-key", /ssh-keygen -t ed25519/],
      ["", "not-a-private-key", /ssh-keygen -t ed25519/],
    ];
    for (const [text, fault, hint] of rows) {
      await rejects(loadSshKey(text), (error) => {
        ok(error instanceof SshKeyError);
        strictEqual(error.fault, fault);
        ok(hint.test(error.message), error.message);
        return true;
      });
    }
  }));
