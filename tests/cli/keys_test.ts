/**
 * `tunnelmesh keys`: what it prints, what it writes, and that the files it writes fit together.
 *
 * @module
 */

import { deepStrictEqual, match, ok, strictEqual } from "node:assert/strict";
import { Buffer } from "node:buffer";
import { fromBase64 } from "../../lib/base/bytes.ts";
import { loadAllowedPeers, loadPrivateKey } from "../../lib/config/allowed_peers.ts";
import { publicKeyOf } from "../../lib/crypto/x25519.ts";
import { formatIpPrefix } from "../../lib/net/ip_prefix.ts";

const MAIN = decodeURIComponent(new URL("../../main.ts", import.meta.url).pathname);

async function tunnelmesh(cwd: string, ...args: string[]) {
  const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", "--no-check", MAIN, ...args],
    cwd,
    env: { NO_COLOR: "1" },
  }).output();
  const decoder = new TextDecoder();
  return { code, stdout: decoder.decode(stdout), stderr: decoder.decode(stderr) };
}

async function inFolder(body: (folder: string) => Promise<void>): Promise<void> {
  const folder = await Deno.makeTempDir();
  try {
    await body(folder);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

Deno.test("keys --json prints a pair that belongs together, another one each time", async () => {
  await inFolder(async (folder) => {
    const pairs = [];
    for (let i = 0; i < 2; i++) {
      const { code, stdout } = await tunnelmesh(folder, "keys", "--json");
      strictEqual(code, 0);
      const pair = JSON.parse(stdout);
      deepStrictEqual(Object.keys(pair), ["privateKey", "publicKey"]);
      deepStrictEqual(publicKeyOf(fromBase64(pair.privateKey)), fromBase64(pair.publicKey));
      pairs.push(pair.privateKey);
    }
    ok(pairs[0] !== pairs[1]);
  });
});

Deno.test("keys --private writes for the owner alone, over nothing, and shows no secret", async () => {
  await inFolder(async (folder) => {
    const { code, stdout } = await tunnelmesh(folder, "keys", "--private", "server.key");
    strictEqual(code, 0);
    const text = await Deno.readTextFile(`${folder}/server.key`);
    strictEqual((await Deno.stat(`${folder}/server.key`)).mode! & 0o777, 0o600);
    deepStrictEqual(publicKeyOf(fromBase64(text.trim())), fromBase64(stdout.trim()));
    ok(!stdout.includes(text.trim()));
    const again = await tunnelmesh(folder, "keys", "--private", "server.key");
    strictEqual(again.code, 2);
    match(again.stderr, /^tunnelmesh: Cannot write "server\.key": it is there already; .*\n$/);
    strictEqual(await Deno.readTextFile(`${folder}/server.key`), text, "the first one stands");
  });
});

for (const all of [false, true]) {
  const flags = all ? ["--all-traffic"] : [];
  Deno.test(`keys pair ${flags.join(" ")} writes a server and a client that know each other`, async () => {
    await inFolder(async (folder) => {
      const wanted = ["--endpoint", "[2001:db8::7]:5182", "--client", "phone", "--dir", "vpn"];
      const { code, stdout, stderr } = await tunnelmesh(
        folder,
        ...["keys", "pair", ...wanted, ...flags, "--qr-png", "phone.png", "--json"],
      );
      strictEqual(code, 0, stderr);
      const { files, publicKeys } = JSON.parse(stdout);
      for (const file of [...files, "phone.png"]) {
        strictEqual((await Deno.stat(`${folder}/${file}`)).mode! & 0o777, 0o600, file);
      }
      const server = await loadAllowedPeers(`${folder}/vpn/server.yaml`);
      const client = await loadAllowedPeers(`${folder}/vpn/client.yaml`);
      deepStrictEqual(loadPrivateKey(server).publicKey, fromBase64(publicKeys.server));
      deepStrictEqual(loadPrivateKey(client).publicKey, fromBase64(publicKeys.client));
      deepStrictEqual(server.peers[0]!.publicKey, fromBase64(publicKeys.client));
      deepStrictEqual(client.peers[0]!.publicKey, fromBase64(publicKeys.server));
      deepStrictEqual(server.meshId, client.meshId);
      strictEqual(server.peers[0]!.name, "phone");
      deepStrictEqual(server.listen, { port: 5182, hasIpv6: true });
      deepStrictEqual([server.masquerade, client.defaultRoute], [all, all]);
      const own = client.addresses.map(({ address }) => String(address));
      deepStrictEqual(server.peers[0]!.allowedIps.map(({ address }) => String(address)), own);
      deepStrictEqual(
        client.peers[0]!.allowedIps.some((prefix) => formatIpPrefix(prefix) === "0.0.0.0/0"),
        all,
      );
      const png = await Deno.readFile(`${folder}/phone.png`);
      deepStrictEqual([...png.subarray(0, 4)], [0x89, ...Buffer.from("PNG")]);

      const again = await tunnelmesh(folder, "keys", "pair", ...wanted);
      strictEqual(again.code, 2);
      match(again.stderr, /vpn\/server\.yaml": it is there already/);
    });
  });
}

Deno.test("keys pair --qr shows a code, and refuses what no file may say", async () => {
  await inFolder(async (folder) => {
    const bad = await tunnelmesh(folder, "keys", "pair", "--endpoint", "vpn.example.org:1");
    strictEqual(bad.code, 2);
    match(bad.stderr, /^tunnelmesh: Cannot make a pair of files: .*an address and a port.*\n$/);
    deepStrictEqual([...Deno.readDirSync(folder)], [], "nothing was written");
    const { code, stdout } = await tunnelmesh(
      folder,
      ...["keys", "pair", "--endpoint", "203.0.113.7:51820", "--qr"],
    );
    strictEqual(code, 0);
    match(stdout, /▄▄▄▄▄|█▀▀▀▀▀█/);
  });
});
