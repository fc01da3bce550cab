/**
 * Identity statements that must not be accepted, built byte by byte; ssh-keygen is the judge of the
 * good ones in tests/agent/ssh_keygen_test.ts.
 *
 * @module
 */

import { ok, strictEqual, throws } from "node:assert/strict";
import { generateKeyPairSync, type KeyObject, sign } from "node:crypto";
import fc from "fast-check";
import { concatBytes, fromBase64Url, utf8 } from "../../lib/base/bytes.ts";
import { sha256, sha512 } from "../../lib/crypto/hash.ts";
import { createSshKey, loadSshKey } from "../../lib/crypto/ssh_key.ts";
import {
  signStatement,
  statementBytes,
  statementFault,
  verifyStatement,
} from "../../lib/crypto/sshsig.ts";
import { sshMpint, sshString, sshUint32 } from "../../lib/crypto/ssh_wire.ts";

const SUBJECT = {
  meshId: new Uint8Array(16).fill(1),
  staticKey: new Uint8Array(32).fill(2),
  unixSeconds: 1_790_000_000,
};
const KEY = createSshKey("test").key;
const STATEMENT = signStatement(KEY, SUBJECT);

/** What an SSHSIG says apart from its signature. */
interface Envelope {
  readonly publicKey: Uint8Array;
  readonly namespace?: string;
  readonly hashName?: string;
}

function sshsig(envelope: Envelope, signer: (signed: Uint8Array) => Uint8Array): Uint8Array {
  const namespace = envelope.namespace ?? "tunnelmesh";
  const hashName = envelope.hashName ?? "sha512";
  const parts = [sshString(namespace), sshString(""), sshString(hashName)];
  const hash = sha512(statementBytes(SUBJECT));
  const signature = signer(concatBytes(utf8("SSHSIG"), ...parts, sshString(hash)));
  return concatBytes(
    utf8("SSHSIG"),
    sshUint32(1),
    sshString(envelope.publicKey),
    ...parts,
    sshString(signature),
  );
}

function faultOf(envelope: Envelope, signer: (signed: Uint8Array) => Uint8Array) {
  const statement = sshsig(envelope, signer);
  return statementFault({ ...SUBJECT, sshPublicKey: envelope.publicKey, statement });
}

function rsaPair(bits: number): { publicKey: Uint8Array; privateKey: KeyObject } {
  const { privateKey } = generateKeyPairSync("rsa", { modulusLength: bits });
  const { n, e } = privateKey.export({ format: "jwk" });
  const numbers = [sshMpint(fromBase64Url(e!)), sshMpint(fromBase64Url(n!))];
  return { publicKey: concatBytes(sshString("ssh-rsa"), ...numbers), privateKey };
}

const signature = (algorithm: string, body: Uint8Array) =>
  concatBytes(sshString(algorithm), sshString(new Uint8Array(body)));

Deno.test("statementBytes() lays out label, mesh, key and time", () => {
  const bytes = statementBytes(SUBJECT);
  strictEqual(bytes.length, 79);
  strictEqual(new TextDecoder().decode(bytes.subarray(0, 23)), "tunnelmesh identity v1\0");
  strictEqual(new DataView(bytes.buffer).getUint32(71, true), SUBJECT.unixSeconds);
  throws(() => statementBytes({ ...SUBJECT, meshId: new Uint8Array(15) }), RangeError);
  throws(() => statementBytes({ ...SUBJECT, unixSeconds: -1 }), RangeError);
});

Deno.test("verifyStatement() accepts its own and nothing about another subject", () => {
  const claim = { ...SUBJECT, sshPublicKey: KEY.publicKey, statement: STATEMENT };
  ok(verifyStatement(claim));
  const other = createSshKey("other").key;
  const rows: [claim: Partial<typeof claim>, fault: string][] = [
    [{ meshId: new Uint8Array(16) }, "bad-signature"],
    [{ staticKey: new Uint8Array(32) }, "bad-signature"],
    [{ unixSeconds: SUBJECT.unixSeconds + 1 }, "bad-signature"],
    [{ sshPublicKey: other.publicKey }, "wrong-key"],
    [{ sshPublicKey: other.publicKey, statement: signStatement(KEY, SUBJECT) }, "wrong-key"],
    [{ statement: new Uint8Array() }, "malformed"],
    [{ statement: new Uint8Array(9000) }, "malformed"],
  ];
  for (const [change, fault] of rows) strictEqual(statementFault({ ...claim, ...change }), fault);
});

Deno.test("statementFault() refuses every changed or cut statement (sent by any joining node)", () => {
  const sshPublicKey = KEY.publicKey;
  for (let at = 0; at < STATEMENT.length; at++) {
    const changed = STATEMENT.slice();
    changed[at]! ^= 1;
    ok(statementFault({ ...SUBJECT, sshPublicKey, statement: changed }) !== undefined, `${at}`);
    const cut = STATEMENT.subarray(0, at);
    strictEqual(statementFault({ ...SUBJECT, sshPublicKey, statement: cut }), "malformed");
  }
  const long = concatBytes(STATEMENT, Uint8Array.of(0));
  strictEqual(statementFault({ ...SUBJECT, sshPublicKey, statement: long }), "malformed");
  fc.assert(fc.property(fc.uint8Array({ maxLength: 400 }), (statement) => {
    ok(statementFault({ ...SUBJECT, sshPublicKey, statement }) !== undefined);
    const publicKey = statement;
    const framed = sshsig({ publicKey }, () => statement);
    ok(statementFault({ ...SUBJECT, sshPublicKey: publicKey, statement: framed }) !== undefined);
  }));
});

Deno.test("statementFault() takes rsa-sha2 signatures, and no SHA-1 or short key", () => {
  const { publicKey, privateKey } = rsaPair(2048);
  const rows: [algorithm: string, hash: string, fault: string | undefined][] = [
    ["rsa-sha2-256", "sha256", undefined],
    ["rsa-sha2-512", "sha512", undefined],
    ["ssh-rsa", "sha1", "weak-hash"],
    ["rsa-sha2-512", "sha256", "bad-signature"],
    ["ssh-ed25519", "sha512", "malformed"],
  ];
  for (const [algorithm, hash, fault] of rows) {
    const signer = (signed: Uint8Array) => signature(algorithm, sign(hash, signed, privateKey));
    strictEqual(faultOf({ publicKey }, signer), fault, algorithm);
  }
  const short = rsaPair(1024);
  const signer = (signed: Uint8Array) =>
    signature("rsa-sha2-512", sign("sha512", signed, short.privateKey));
  strictEqual(faultOf({ publicKey: short.publicKey }, signer), "weak-key");
});

Deno.test("statementFault() takes a hardware key's signature only if somebody touched it", () => {
  const application = sshString("ssh:");
  const pair = generateKeyPairSync("ed25519");
  const x = fromBase64Url(pair.privateKey.export({ format: "jwk" }).x!);
  const type = "sk-ssh-ed25519@openssh.com";
  const publicKey = concatBytes(sshString(type), sshString(x), application);
  const touch = (flags: number, signedFlags = flags) => (signed: Uint8Array) => {
    const counter = sshUint32(5);
    const head = concatBytes(sha256(utf8("ssh:")), Uint8Array.of(signedFlags), counter);
    const body = sign(null, concatBytes(head, sha256(signed)), pair.privateKey);
    return concatBytes(signature(type, body), Uint8Array.of(flags), counter);
  };
  strictEqual(faultOf({ publicKey }, touch(1)), undefined);
  strictEqual(faultOf({ publicKey }, touch(5)), undefined, "touched, and verified by a PIN");
  strictEqual(faultOf({ publicKey }, touch(0)), "no-user-presence");
  strictEqual(faultOf({ publicKey }, touch(1, 0)), "bad-signature", "the flag itself is signed");
});

Deno.test("statementFault() takes a touched P-256 hardware key", () => {
  const { privateKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
  const { x, y } = privateKey.export({ format: "jwk" });
  const point = concatBytes(Uint8Array.of(4), fromBase64Url(x!), fromBase64Url(y!));
  const type = "sk-ecdsa-sha2-nistp256@openssh.com";
  const fields = [sshString(type), sshString("nistp256"), sshString(point), sshString("ssh:")];
  const touch = (flags: number, junk = new Uint8Array()) => (signed: Uint8Array) => {
    const tail = concatBytes(Uint8Array.of(flags), sshUint32(1));
    const message = concatBytes(sha256(utf8("ssh:")), tail, sha256(signed));
    const native = { key: privateKey, dsaEncoding: "ieee-p1363" as const };
    const rs = new Uint8Array(sign("sha256", message, native));
    const numbers = concatBytes(sshMpint(rs.subarray(0, 32)), sshMpint(rs.subarray(32)), junk);
    return concatBytes(signature(type, numbers), tail);
  };
  strictEqual(faultOf({ publicKey: concatBytes(...fields) }, touch(1)), undefined);
  strictEqual(faultOf({ publicKey: concatBytes(...fields) }, touch(0)), "no-user-presence");
  const withJunk = touch(1, Uint8Array.of(0));
  strictEqual(faultOf({ publicKey: concatBytes(...fields) }, withJunk), "malformed");
});

Deno.test("statementFault() refuses certificates, unknown keys and points off their curve", () => {
  const signer = (signed: Uint8Array) => KEY.sign(signed);
  const off = concatBytes(Uint8Array.of(4), new Uint8Array(64).fill(3));
  const rows: [publicKey: Uint8Array, fault: string][] = [
    [sshString("ssh-ed25519-cert-v01@openssh.com"), "certificate"],
    [sshString("ssh-dss"), "unsupported-key"],
    [concatBytes(KEY.publicKey, Uint8Array.of(0)), "malformed"],
    [
      concatBytes(sshString("ecdsa-sha2-nistp256"), sshString("nistp256"), sshString(off)),
      "malformed",
    ],
    [
      concatBytes(sshString("ecdsa-sha2-nistp256"), sshString("nistp384"), sshString(off)),
      "malformed",
    ],
  ];
  for (const [publicKey, fault] of rows) strictEqual(faultOf({ publicKey }, signer), fault);
});

Deno.test("statementFault() refuses another namespace and hash", () => {
  const signer = (signed: Uint8Array) => KEY.sign(signed);
  const { publicKey } = KEY;
  strictEqual(faultOf({ publicKey, namespace: "file" }, signer), "wrong-namespace");
  strictEqual(faultOf({ publicKey, hashName: "sha256" }, signer), "wrong-hash");
});

Deno.test("SshKey shows nothing of itself in text or JSON", async () => {
  const { key, privateText } = createSshKey("c");
  const shown = `${key} ${JSON.stringify({ key })} ${Deno.inspect(key)}`;
  strictEqual(shown, 'SshKey(ssh-ed25519) {"key":"SshKey(ssh-ed25519)"} SshKey(ssh-ed25519)');
  const body = privateText.split("\n").slice(1, -2).join("");
  const damaged = privateText.replace(body.slice(70, 80), "AAAAAAAAAA");
  await loadSshKey(damaged).then(
    () => ok(false),
    (error) => ok(!Deno.inspect(error).includes(body.slice(100, 120))),
  );
});
