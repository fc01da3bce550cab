/**
 * @module
 */

import {
  deepStrictEqual,
  notStrictEqual,
  ok,
  rejects,
  strictEqual,
  throws,
} from "node:assert/strict";
import fc from "fast-check";
import { fromHex, toBase64, toHex } from "../../lib/base/bytes.ts";
import { sha256 } from "../../lib/crypto/hash.ts";
import { createSshKey } from "../../lib/crypto/ssh_key.ts";
import { publicKeyOf } from "../../lib/crypto/x25519.ts";
import { AgentError } from "../../lib/agent/errors.ts";
import { deriveStaticKey, openIdentity, readIdentity } from "../../lib/agent/identity.ts";
import { StateFolder } from "../../lib/agent/state_folder.ts";
import { inTempFolder } from "./temp_folder.ts";

Deno.test("deriveStaticKey() is HKDF of seed and salt, clamped", () => {
  // Computed apart: HKDF-SHA256 of openssl kdf, then the clamping of RFC 7748 §5 by hand.
  const { privateKey } = deriveStaticKey(new Uint8Array(32).fill(1), new Uint8Array(32).fill(2));
  strictEqual(toHex(privateKey), EXPECTED);
});

/** openssl kdf -keylen 32 -kdfopt digest:SHA256 -kdfopt hexkey:01… -kdfopt hexsalt:02… HKDF */
const EXPECTED = "60b5118c020ec520023847722883885c3a84dafd812448340220a67ef31a3042";

Deno.test("deriveStaticKey() gives clamped keys that depend on seed and salt", () => {
  const bytes32 = fc.uint8Array({ minLength: 32, maxLength: 32 });
  fc.assert(fc.property(bytes32, bytes32, bytes32, (seed, salt, other) => {
    const { privateKey, publicKey } = deriveStaticKey(seed, salt);
    strictEqual(privateKey[0]! & 7, 0);
    strictEqual(privateKey[31]! & 192, 64);
    deepStrictEqual(publicKey, publicKeyOf(privateKey));
    deepStrictEqual(deriveStaticKey(seed, salt).privateKey, privateKey);
    if (toHex(salt) !== toHex(other)) {
      notStrictEqual(toHex(deriveStaticKey(seed, other).privateKey), toHex(privateKey));
    }
  }));
});

Deno.test("openIdentity() makes a node once and finds it again", () =>
  inTempFolder(async (base) => {
    const folder = StateFolder.open(base);
    strictEqual(readIdentity(folder), undefined);
    const made = await openIdentity(folder);
    ok(made.isNew);
    strictEqual(made.nodeId, toHex(sha256(made.staticKey.publicKey)));
    const found = await openIdentity(folder);
    ok(!found.isNew);
    strictEqual(found.nodeId, made.nodeId);
    deepStrictEqual((await found.sshKey()).publicKey, (await made.sshKey()).publicKey);
    folder.close();
  }));

Deno.test("openIdentity() finds the node again without its SSH key", () =>
  inTempFolder(async (base) => {
    const folder = StateFolder.open(base);
    const made = await openIdentity(folder);
    folder.remove("ssh_key");
    const found = await openIdentity(folder);
    strictEqual(found.nodeId, made.nodeId);
    await rejects(found.sshKey(), { name: "AgentError", fault: "usage" });
    folder.close();
  }));

Deno.test("openIdentity() completes what a crash left half done, with the same SSH key", () =>
  inTempFolder(async (base) => {
    const folder = StateFolder.open(base);
    const made = await openIdentity(folder);
    folder.remove("static.key");
    const again = await openIdentity(folder);
    strictEqual(again.nodeId, made.nodeId, "seed and salt were there");
    folder.remove("static.key");
    folder.remove("static.salt");
    const other = await openIdentity(folder);
    notStrictEqual(other.nodeId, made.nodeId);
    deepStrictEqual((await other.sshKey()).publicKey, (await made.sshKey()).publicKey);
    folder.close();
  }));

Deno.test("openIdentity() makes two nodes of one adopted SSH key in two folders", () =>
  inTempFolder(async (base) => {
    const { key, privateText } = createSshKey("mine");
    const sshKeyPath = `${base}/id`;
    Deno.writeTextFileSync(sshKeyPath, privateText, { mode: 0o600 });
    const nodes = [];
    for (const name of ["a", "b"]) {
      const folder = StateFolder.open(`${base}/${name}`);
      const identity = await openIdentity(folder, { sshKeyPath });
      strictEqual(identity.sshKeyPath, Deno.realPathSync(sshKeyPath));
      strictEqual(folder.read("ssh_key"), undefined, "an adopted key is not copied");
      strictEqual(folder.read("ssh_key.pub")?.trim(), key.publicLine);
      nodes.push(identity.nodeId);
      folder.close();
    }
    notStrictEqual(nodes[0], nodes[1]);
  }));

Deno.test("openIdentity() follows an adopted key that moved, and refuses another one", () =>
  inTempFolder(async (base) => {
    const { privateText } = createSshKey("mine");
    Deno.writeTextFileSync(`${base}/id`, privateText);
    Deno.writeTextFileSync(`${base}/other`, createSshKey("other").privateText);
    const folder = StateFolder.open(`${base}/s`);
    const made = await openIdentity(folder, { sshKeyPath: `${base}/id` });
    Deno.renameSync(`${base}/id`, `${base}/moved`);
    const moved = await openIdentity(folder, { sshKeyPath: `${base}/moved` });
    strictEqual(moved.nodeId, made.nodeId);
    strictEqual((await openIdentity(folder)).sshKeyPath, Deno.realPathSync(`${base}/moved`));
    const adopting = openIdentity(folder, { sshKeyPath: `${base}/other` });
    await rejects(adopting, (error) => error instanceof AgentError && error.fault === "usage");
    folder.close();
  }));

Deno.test("readIdentity() refuses a damaged key without showing it (T36)", () =>
  inTempFolder((base) => {
    const folder = StateFolder.open(base);
    for (const text of ["", "hello", toBase64(fromHex("ab".repeat(31)))]) {
      folder.write("static.key", text);
      throws(() => readIdentity(folder), (error) => {
        ok(error instanceof AgentError && error.fault === "storage");
        ok(text === "" || !Deno.inspect(error).includes(text));
        return true;
      });
    }
    folder.close();
  }));
