/**
 * The block in `authorized_keys`: what it says, and that nothing else in the file ever changes.
 *
 * @module
 */

import { deepStrictEqual, match, ok, strictEqual } from "node:assert/strict";
import fc from "fast-check";
import { changeFile, withBlock, withoutBlock } from "../../lib/agent/ssh_authorized_keys.ts";
import { toBase64 } from "../../lib/base/bytes.ts";
import { createSshKey } from "../../lib/crypto/ssh_key.ts";

const PEERS = ["b", "c"].map((name) => ({
  name,
  clientKey: createSshKey(name).key.publicKey,
}));
const PROGRAM = ["/usr/bin/tunnel mesh"];

/** What may stand in the file before, and why it is here. */
const FILES: [text: string, why: string][] = [
  ["", "no file, or an empty one"],
  ["ssh-ed25519 AAAA me\n", "one key"],
  ["ssh-ed25519 AAAA me", "a last line without end"],
  ["# tunnelmesh begin /state2\n# tunnelmesh end /state2\n", "the block of another agent"],
  ["# tunnelmesh begin /state\nssh-ed25519 AAAA me\n", "half a block is nobody's"],
  ["a\r\n\n\nb\n\n", "odd line ends"],
];

Deno.test("withoutBlock() leaves what was there before withBlock(), whatever that was", () => {
  for (const [text, why] of FILES) {
    const added = withBlock(text, "/state", PEERS, PROGRAM);
    ok(added.startsWith(text), why);
    strictEqual(withoutBlock(added, "/state"), text, why);
    const twice = withBlock(added, "/state", PEERS.slice(1), PROGRAM);
    strictEqual(twice.match(/client-key/g)?.length, 1, `${why}: one block, the newer`);
    strictEqual(withoutBlock(twice, "/state"), text, why);
    strictEqual(withoutBlock(added, "/other"), added, why);
  }
  fc.assert(fc.property(fc.string(), fc.string(), (before, after) => {
    const added = withBlock(before, "/state", PEERS, PROGRAM);
    strictEqual(withoutBlock(added, "/state"), before);
    // A person's line behind the block stays, and keeps the line end before the block.
    ok(withoutBlock(`${added}${after}x`, "/state").endsWith(`${after}x`));
  }));
});

Deno.test("withBlock() lets each member's key do one thing, its words quoted for the shell", () => {
  const text = withBlock("", "/var/lib/it's", PEERS, PROGRAM);
  const lines = text.split("\n").filter((line) => !line.startsWith("#") && line !== "");
  strictEqual(lines.length, PEERS.length);
  for (const [i, line] of lines.entries()) {
    const key = toBase64(PEERS[i]!.clientKey);
    match(line, /^restrict,command="'\/usr\/bin\/tunnel mesh' ssh-endpoint serve --state /);
    ok(
      line.includes(`--state '/var/lib/it'\\\\''s' --client-key ${key}" ssh-ed25519 ${key} `),
      line,
    );
  }
});

Deno.test("changeFile() keeps access rights and links, removes what is left empty, and no trace else", () => {
  const folder = Deno.makeTempDirSync();
  try {
    const file = `${folder}/keys`;
    const link = `${folder}/link`;
    Deno.writeTextFileSync(file, "one\n", { mode: 0o640 });
    Deno.chmodSync(file, 0o640);
    Deno.symlinkSync(file, link);
    changeFile(link, (text) => `${text}two\n`);
    strictEqual(Deno.readTextFileSync(file), "one\ntwo\n");
    strictEqual(Deno.statSync(file).mode! & 0o777, 0o640);
    ok(Deno.lstatSync(link).isSymlink);
    changeFile(`${folder}/new/keys`, () => "x\n");
    strictEqual(Deno.statSync(`${folder}/new/keys`).mode! & 0o777, 0o600);
    changeFile(`${folder}/new/keys`, () => "");
    deepStrictEqual([...Deno.readDirSync(`${folder}/new`)], []);
    changeFile(`${folder}/new/keys`, () => "");
    deepStrictEqual([...Deno.readDirSync(folder)].map(({ name }) => name).sort(), [
      "keys",
      "link",
      "new",
    ]);
  } finally {
    Deno.removeSync(folder, { recursive: true });
  }
});
