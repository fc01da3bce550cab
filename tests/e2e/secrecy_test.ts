/**
 * Nobody who reads the wire, the coordinator's database, a log, an answer of the program or a
 * command line learns what was said, or any key, preshared key or token.
 *
 * ```
 *   a ── marker in TCP and ping ──> b      tcpdump on the bridge side of a, and on a's TUN
 * ```
 *
 * @module
 */

import { deepStrictEqual, ok, strictEqual } from "node:assert/strict";
import { Buffer } from "node:buffer";
import { randomBytes } from "node:crypto";
import { type Host, pings } from "../lab/namespaces.ts";
import { findMarkers } from "../lab/markers.ts";
import type { Background } from "../lab/processes.ts";
import { Mesh, type Node, testProgram } from "./mesh.ts";

const TRANSFER_BYTES = 2_000_000;

Deno.test("wire, database, logs, answers and command lines hold no payload and no secret", async () => {
  await using mesh = await Mesh.create({ coordinatorArgs: ["--log-level", "debug"] });
  const { lab, coordinator } = mesh;
  const token = (await Deno.readTextFile(mesh.tokenFile)).trim();
  const hosts = [await lab.addHost("a"), await lab.addHost("b")] as const;
  const wire = await capture(hosts[0], "eth0", `${lab.folder}/wire.pcap`);
  for (const host of hosts) await mesh.describe(host.name, host, ["--log-level", "debug"]).start();
  await mesh.settled();
  const [a, b] = [mesh.agent("a"), mesh.agent("b")];
  const { addresses } = await b.status();
  await pings(a.host, addresses.ipv4);
  const { interface: name } = await a.status();
  const inside = await capture(a.host, name, `${lab.folder}/tun.pcap`);

  const marker = new Uint8Array(randomBytes(16));
  await sayMarker(a, b, addresses.ipv4, marker);
  await sayMarker(a, b, addresses.ipv6, marker);
  // A second life on the stored state: what a restart sends must not leak either.
  await a.process!.stop();
  await a.start();
  await mesh.settled();
  await pings(a.host, addresses.ipv4);
  const onWire = await wire.end();
  const onTun = await inside.end();

  ok(onWire.length > 2 * TRANSFER_BYTES, `${onWire.length} bytes on the wire`);
  const markers = new Map([["payload", marker]]);
  ok(findMarkers(onTun, markers).length > 0, "the same search finds the payload on the TUN");

  const secrets = await secretsOf(mesh, token);
  ok(secrets.size >= 12, [...secrets.keys()].join());
  const known = await storedBytes(mesh);
  for (const [secret, bytes] of secrets) {
    ok(findMarkers(known, new Map([[secret, bytes]])).length > 0, `the search finds ${secret}`);
  }
  const all = new Map([...secrets, ...markers]);
  deepStrictEqual(findMarkers(onWire, all), [], "wire");

  await coordinator.process!.stop(); // so that the files below are whole
  const places = new Map<string, Uint8Array>();
  for (const file of ["registry.db", "registry.db-wal"]) {
    const bytes = await Deno.readFile(`${coordinator.state}/${file}`).catch(() => undefined);
    if (bytes) places.set(file, bytes);
  }
  await coordinator.start();
  for await (const entry of Deno.readDir(coordinator.state)) {
    if (!entry.name.startsWith("registry.db")) continue;
    const bytes = await Deno.readFile(`${coordinator.state}/${entry.name}`).catch(() => undefined);
    if (bytes) places.set(`running ${entry.name}`, bytes);
  }
  ok([...places.keys()].includes("running registry.db"), "there is a database");
  await mesh.settled();
  for (const node of mesh.nodes) {
    const { stdout, stderr } = node.process!;
    places.set(`log of ${node.host.name}`, Buffer.from(stdout + stderr));
    places.set(`command line of ${node.host.name}`, await commandLine(node.process!));
    for (const words of [["status", "--json"], ["status"], ["peers"], ["ping", "hub", "-c", "1"]]) {
      const { stdout, stderr } = await node.ask(...words);
      places.set(`${words.join(" ")} on ${node.host.name}`, Buffer.from(stdout + stderr));
    }
  }
  for (const path of ["", "api", "status", "roster", "token", "metrics", "control"]) {
    places.set(`GET /${path}`, await get(b.host, `${mesh.url}/${path}`));
  }
  for (const [place, bytes] of places) deepStrictEqual(findMarkers(bytes, all), [], place);
});

/** Every private key, preshared key and token there is, as bytes. */
async function secretsOf(mesh: Mesh, token: string): Promise<Map<string, Uint8Array>> {
  const secrets = new Map<string, Uint8Array>([["token", Buffer.from(token)]]);
  const joinSecret = Buffer.from(token.slice("tm1_".length), "base64url").subarray(48, 80);
  secrets.set("join secret", joinSecret);
  const folders = mesh.nodes.map((node) => [node.host.name, node.state] as const);
  for (const [name, folder] of [...folders, ["member", `${mesh.coordinator.state}/member`]]) {
    for (const file of ["secret", "static.key", "ssh_key", "tls.key"]) {
      const bytes = await Deno.readFile(`${folder}/${file}`).catch(() => undefined);
      if (bytes) secrets.set(`${file} of ${name}`, privatePart(bytes, file));
    }
    for (const file of ["membership.json", "roster.json"]) {
      const text = await Deno.readTextFile(`${folder}/${file}`).catch(() => undefined);
      if (text === undefined) continue;
      for (const [path, psk] of pskFields(JSON.parse(text), file)) {
        secrets.set(`${path} of ${name}`, psk);
      }
    }
  }
  return secrets;
}

/** The files that hold the secrets: the search has to find them there. */
async function storedBytes(mesh: Mesh): Promise<Uint8Array> {
  const parts: Uint8Array[] = [await Deno.readFile(mesh.tokenFile)];
  const folders = [...mesh.nodes.map(({ state }) => state), `${mesh.coordinator.state}/member`];
  for (const folder of folders) {
    for await (const { name, isFile } of Deno.readDir(folder)) {
      // Line breaks of PEM files stand in the way of a search in base64.
      const text = isFile && await Deno.readTextFile(`${folder}/${name}`);
      if (text) parts.push(Buffer.from(text.replaceAll(/\r?\n/g, "")));
      if (isFile) parts.push(await Deno.readFile(`${folder}/${name}`));
    }
  }
  return Buffer.concat(parts);
}

/** The bytes of a key file that are secret. */
function privatePart(bytes: Uint8Array, file: string): Uint8Array {
  if (file === "secret" && bytes.length === 32) return bytes;
  const text = new TextDecoder().decode(bytes);
  const body = Buffer.from(text.replaceAll(/-----.*-----/g, ""), "base64");
  if (file === "ssh_key") {
    // openssh-key-v1 of an unencrypted ed25519 key: the seed stands before the second public key.
    const publicKey = body.subarray(
      body.indexOf("ssh-ed25519") + 15,
      body.indexOf("ssh-ed25519") + 47,
    );
    const last = body.lastIndexOf(publicKey);
    return new Uint8Array(body.subarray(last - 32, last));
  }
  if (file === "tls.key") return new Uint8Array(body.subarray(-40)); // PKCS #8: past the fixed head
  return new Uint8Array(body);
}

/** Fields whose name says that they hold a preshared or discovery key. */
function* pskFields(value: unknown, path: string): Generator<[string, Uint8Array]> {
  if (typeof value !== "object" || value === null) return;
  for (const [key, inner] of Object.entries(value)) {
    if (typeof inner === "string" && /psk$/i.test(key)) {
      yield [`${path} ${key}`, new Uint8Array(Buffer.from(inner, "base64url"))];
    } else if (key === "discovery" && typeof inner?.key === "string") {
      yield [`${path} discovery key`, new Uint8Array(Buffer.from(inner.key, "base64url"))];
    } else yield* pskFields(inner, `${path} ${key}`);
  }
}

/** Sends text with the marker, raw, over TCP, with enough around it to fill many datagrams. */
async function sayMarker(a: Node, b: Node, address: string, marker: Uint8Array): Promise<void> {
  const hex = Buffer.from(marker).toString("hex");
  const args = [address, "5000", hex, String(TRANSFER_BYTES)];
  const listener = b.host.start(testProgram("repeat_marker", "listen", "5000"));
  await listener.shows(/^ready$/m);
  await a.host.must(testProgram("repeat_marker", "connect", ...args));
  strictEqual(await listener.ended, 0, listener.stderr);
  ok(Number(listener.stdout.split("\n")[1]) >= TRANSFER_BYTES);
  await a.host.must(["ping", "-c", "2", "-i", "0.2", "-p", hex, address]);
}

/** Captures on an interface until told to end. */
async function capture(host: Host, name: string, file: string) {
  const process = host.start([
    "tcpdump",
    "-Z",
    "root",
    "-i",
    name,
    "-w",
    file,
    "-U",
    "-s",
    "0",
    "-B",
    "65536",
  ]);
  await process.shows(/listening on/);
  return {
    async end(): Promise<Uint8Array> {
      process.signal("SIGINT");
      await process.ended;
      return await Deno.readFile(file);
    },
  };
}

async function commandLine(process: Background): Promise<Uint8Array> {
  const bytes = await Deno.readFile(`/proc/${process.pid}/cmdline`);
  ok(Buffer.from(bytes).includes("tunnelmesh") || Buffer.from(bytes).includes("main.ts"));
  return bytes;
}

async function get(host: Host, url: string): Promise<Uint8Array> {
  const code =
    `const r = await fetch(Deno.args[0]); console.log(r.status, [...r.headers], await r.text())`;
  const words = [Deno.execPath(), "eval", "--unsafely-ignore-certificate-errors", code, url];
  const { stdout } = await host.run(words);
  ok(stdout.length > 0, `${url} answers`);
  return Buffer.from(stdout);
}
