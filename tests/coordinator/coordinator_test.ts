/**
 * Whole coordinators on loopback: worker, TLS, SQLite, real WebSockets, real files.
 *
 * @module
 */

import { deepStrictEqual, ok, rejects, strictEqual, throws } from "node:assert/strict";
import { fromBase64, toBase64, toBase64Url, toHex } from "../../lib/base/bytes.ts";
import { SYSTEM_CLOCK } from "../../lib/base/clock.ts";
import type { Log } from "../../lib/base/log.ts";
import { BackupError, restoreBackup } from "../../lib/coordinator/backup.ts";
import { ListenError } from "../../lib/coordinator/control_listener.ts";
import { Coordinator, type CoordinatorOptions } from "../../lib/coordinator/coordinator.ts";
import { CoordinatorSecret } from "../../lib/coordinator/secrets.ts";
import { StateFolderError } from "../../lib/coordinator/state_folder.ts";
import { parseIpAddress } from "../../lib/net/ip_address.ts";
import { parseIpPrefix } from "../../lib/net/ip_prefix.ts";
import { DiscoveryAsks } from "../../lib/session/discovery.ts";
import { joinPskOf, parseToken } from "../../lib/token/token.ts";
import { connect } from "./connect.ts";
import { refusedFor } from "./memory_mesh.ts";
import { helloOf, SimulatedAgent } from "./simulated_agent.ts";

const SILENT: Log = { debug() {}, info() {}, warning() {}, error() {} };

function optionsFor(
  stateFolder: string,
  change: Partial<CoordinatorOptions> = {},
): CoordinatorOptions {
  return {
    stateFolder,
    listen: [{ hostname: "127.0.0.1", port: 0 }],
    tls: { kind: "self-signed", names: ["coordinator.test"] },
    udpPorts: [8443, 8444],
    software: "tunnelmesh test",
    clock: SYSTEM_CLOCK,
    log: SILENT,
    onFailed: (error) => {
      throw error;
    },
    verifyStatement: () => true,
    ...change,
  };
}

function urlOf(coordinator: Coordinator, scheme = "https"): string {
  const [address] = coordinator.listening;
  return `${scheme}://127.0.0.1:${address!.port}`;
}

/** Runs with an empty state folder that is removed afterwards. */
async function withFolder(run: (folder: string) => Promise<void>): Promise<void> {
  const folder = await Deno.makeTempDir();
  try {
    await run(`${folder}/state`);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

async function withCoordinator(
  options: CoordinatorOptions,
  run: (coordinator: Coordinator) => Promise<void>,
): Promise<void> {
  const coordinator = await Coordinator.start(options);
  try {
    await run(coordinator);
  } finally {
    await coordinator.stop();
  }
}

/** Joins over the network and waits for the whole greeting. */
async function join(coordinator: Coordinator, name: string): Promise<SimulatedAgent> {
  const agent = new SimulatedAgent({ token: coordinator.token(), hello: helloOf(name) });
  connect(agent, urlOf(coordinator));
  await agent.until(() => agent.said("presence") !== undefined || agent.closed !== undefined);
  strictEqual(refusedFor(agent), undefined);
  return agent;
}

/** Comes back with the member PSK. */
function comeBack(member: SimulatedAgent, coordinator: Coordinator): SimulatedAgent {
  const psk = member.said("welcome")!.memberPsk;
  const again = new SimulatedAgent({
    token: coordinator.token(),
    hello: helloOf("ignored"),
    staticKey: member.staticKey,
    credential: { kind: "member", psk },
  });
  return connect(again, urlOf(coordinator));
}

function greeted(agent: SimulatedAgent): Promise<void> {
  return agent.until(() => agent.said("presence") !== undefined || agent.closed !== undefined);
}

async function hangUp(...agents: SimulatedAgent[]): Promise<void> {
  for (const agent of agents) {
    agent.hangUp();
    await agent.until(() => agent.closed !== undefined);
  }
}

Deno.test("a coordinator admits agents over HTTPS and tells them of each other", async () => {
  await withFolder((folder) =>
    withCoordinator(optionsFor(folder), async (coordinator) => {
      const a = await join(coordinator, "a");
      const b = await join(coordinator, "b");
      await a.until(() => a.online.size === 2);
      strictEqual(a.said("welcome")!.addresses.ipv4, "100.64.0.1");
      strictEqual(b.said("welcome")!.addresses.ipv4, "100.64.0.2");
      deepStrictEqual(a.roster, b.roster);
      deepStrictEqual(
        coordinator.peers().map(({ name, online, state }) => [name, online, state]),
        [["a", true, "active"], ["b", true, "active"]],
      );
      const { members, online, policy } = coordinator.status();
      deepStrictEqual([members, online, policy], [2, 2, "allow-all"]);
      await hangUp(a);
      await b.until(() => b.online.size === 1);
      strictEqual(b.roster.size, 2, "offline is not gone");
      coordinator.setState(a.said("welcome")!.nodeId, "removed");
      await b.until(() => b.roster.size === 1);
      await hangUp(b);
    })
  );
});

Deno.test("a coordinator answers discovery with the key of the welcome", async () => {
  await withFolder((folder) =>
    withCoordinator(optionsFor(folder), async (coordinator) => {
      const a = await join(coordinator, "a");
      const { id, key } = a.said("welcome")!.discovery;
      const asks = new DiscoveryAsks({ keyId: id, key });
      const source = { address: parseIpAddress("198.51.100.4"), port: 4242 };
      const answer = coordinator.answerDiscovery(asks.ask(0), source);
      deepStrictEqual(asks.receive(answer!, 1), source);
      const forged = new DiscoveryAsks({ keyId: id, key: new Uint8Array(32) });
      strictEqual(coordinator.answerDiscovery(forged.ask(0), source), undefined);
      await hangUp(a);
    })
  );
});

Deno.test("a restarted coordinator knows its members, tokens and certificate", async () => {
  await withFolder(async (folder) => {
    let a: SimulatedAgent | undefined;
    let token = "";
    await withCoordinator(optionsFor(folder), async (coordinator) => {
      a = await join(coordinator, "a");
      token = coordinator.token();
    });
    await a!.until(() => a!.closed !== undefined);
    strictEqual(refusedFor(a!), "shutdown", "told before the sockets closed");
    const certificate = await Deno.readTextFile(`${folder}/tls.crt`);
    await withCoordinator(optionsFor(folder), async (coordinator) => {
      const again = comeBack(a!, coordinator);
      await greeted(again);
      deepStrictEqual(again.said("welcome")!.addresses, a!.said("welcome")!.addresses);
      strictEqual(coordinator.token(), token);
      await hangUp(again);
    });
    strictEqual(await Deno.readTextFile(`${folder}/tls.crt`), certificate);
  });
});

Deno.test("every file of the state folder is for the owner alone", async () => {
  const before = Deno.umask(0o022);
  try {
    await withFolder((folder) =>
      withCoordinator(optionsFor(folder), async (coordinator) => {
        await join(coordinator, "a").then((agent) => hangUp(agent));
        coordinator.backup(`${folder}/backup.json`);
        strictEqual(Deno.statSync(folder).mode! & 0o777, 0o700);
        const names: string[] = [];
        for (const { name } of Deno.readDirSync(folder)) {
          names.push(name);
          strictEqual(Deno.statSync(`${folder}/${name}`).mode! & 0o777, 0o600, name);
        }
        for (const name of ["secret", "static.key", "tls.key", "registry.db", "registry.db-wal"]) {
          ok(names.includes(name), name);
        }
      })
    );
  } finally {
    Deno.umask(before);
  }
});

Deno.test("T36: the database with its WAL holds no private key, PSK or token", async () => {
  await withFolder((folder) =>
    withCoordinator(optionsFor(folder), async (coordinator) => {
      const invite = coordinator.createInvite(60_000, "guest").token;
      const rotated = coordinator.token();
      coordinator.rotateToken();
      const a = await join(coordinator, "a");
      const secret = new CoordinatorSecret(Deno.readFileSync(`${folder}/secret`));
      const staticKey = fromBase64(Deno.readTextFileSync(`${folder}/static.key`).trim());
      const secrets = new Map<string, Uint8Array>([
        ["coordinator secret", Deno.readFileSync(`${folder}/secret`)],
        ["static key", staticKey],
        ["mesh PSK", a.said("psks")!.current.psk],
        ["next mesh PSK", secret.meshPsk(2)],
        ["member PSK", a.said("welcome")!.memberPsk],
        ["discovery key", a.said("welcome")!.discovery.key],
      ]);
      for (const token of [invite, rotated, coordinator.token()]) {
        const { joinSecret } = parseToken(token);
        secrets.set(`join secret of ${token.slice(-8)}`, joinSecret);
        secrets.set(`join PSK of ${token.slice(-8)}`, joinPskOf(joinSecret));
        secrets.set(`token ${token.slice(-8)}`, new TextEncoder().encode(token));
      }
      const files = ["", "-wal", "-shm"].map((suffix) => `${folder}/registry.db${suffix}`);
      const stored = files.map((file) => toHex(Deno.readFileSync(file))).join("");
      ok(stored.includes(toHex(a.staticKey.publicKey)), "the search finds what is there");
      for (const [name, bytes] of secrets) {
        for (const form of formsOf(bytes)) ok(!stored.includes(toHex(form)), name);
      }
      await hangUp(a);
    })
  );
});

/** The bytes as they are, in hex, and in base64 of both alphabets at each of its three offsets. */
function formsOf(bytes: Uint8Array): Uint8Array[] {
  const text = new TextEncoder();
  const hex = toHex(bytes);
  const forms = [bytes, text.encode(hex), text.encode(hex.toUpperCase())];
  for (const skip of [0, 1, 2]) {
    const whole = bytes.subarray(skip, skip + Math.floor((bytes.length - skip) / 3) * 3);
    forms.push(text.encode(toBase64(whole)), text.encode(toBase64Url(whole)));
  }
  return forms;
}

Deno.test("a backup restores the whole coordinator elsewhere, and only where none runs", async () => {
  await withFolder(async (folder) => {
    const backup = `${folder}-backup.json`;
    const elsewhere = `${folder}-elsewhere`;
    let a: SimulatedAgent | undefined;
    await withCoordinator(optionsFor(folder), async (coordinator) => {
      a = await join(coordinator, "a");
      coordinator.backup(backup);
      strictEqual(Deno.statSync(backup).mode! & 0o777, 0o600);
      throws(() => restoreBackup(folder, backup), StateFolderError, "it is running");
      await join(coordinator, "later").then((agent) => hangUp(agent));
    });
    restoreBackup(elsewhere, backup);
    restoreBackup(elsewhere, backup);
    await withCoordinator(optionsFor(elsewhere), async (coordinator) => {
      const { version, lineage } = a!.lastSaid("roster")!;
      const again = comeBack(a!, coordinator);
      await greeted(again);
      strictEqual(again.said("welcome")!.name, "a");
      ok(version > 0 && again.said("roster")!.lineage !== lineage, "the history starts anew");
      deepStrictEqual(coordinator.peers().map((peer) => peer.name), ["a"]);
      await hangUp(again);
    });
    await Deno.writeTextFile(backup, "{}");
    throws(() => restoreBackup(elsewhere, backup), BackupError);
    throws(() => restoreBackup(elsewhere, `${folder}-none`), BackupError);
  });
});

Deno.test("members refuse a coordinator with another static key", async () => {
  await withFolder(async (folder) => {
    let a: SimulatedAgent | undefined;
    await withCoordinator(optionsFor(folder), async (coordinator) => {
      a = await join(coordinator, "a");
      await hangUp(a);
    });
    await withFolder((other) =>
      withCoordinator(optionsFor(other), async (coordinator) => {
        // The agent goes by the key and mesh in its state folder, not by the address.
        const lost = new SimulatedAgent({
          token: await tokenOf(folder),
          hello: helloOf("a"),
          staticKey: a!.staticKey,
          credential: { kind: "member", psk: a!.said("welcome")!.memberPsk },
        });
        connect(lost, urlOf(coordinator));
        await lost.until(() => lost.closed !== undefined);
        strictEqual(refusedFor(lost), "bad-handshake");
      })
    );
  });
});

/** The token of a stopped coordinator. */
async function tokenOf(folder: string): Promise<string> {
  const coordinator = await Coordinator.start(optionsFor(folder));
  const token = coordinator.token();
  await coordinator.stop();
  return token;
}

Deno.test("what cannot start says why and leaves nothing running", async () => {
  await withFolder(async (folder) => {
    await withCoordinator(optionsFor(folder), async (coordinator) => {
      await rejects(Coordinator.start(optionsFor(folder)), /a coordinator is running on it/);
      const other = `${folder}-other`;
      const [taken] = coordinator.listening;
      const start = (change: Partial<CoordinatorOptions>) =>
        Coordinator.start(optionsFor(other, change));
      await rejects(start({ listen: [taken!] }), (error: unknown) => {
        ok(error instanceof ListenError && error.fault === "in-use");
        return /another program has the port/.test(error.message);
      });
      const tls = { kind: "given", certificate: "none", key: "none" } as const;
      await rejects(start({ tls }), ListenError);
      const third = optionsFor(`${folder}-third`, { ipv4Range: parseIpPrefix("fd00::/48") });
      await rejects(Coordinator.start(third), RangeError);
      await rejects(start({ ipv4Range: parseIpPrefix("10.0.0.0/8") }), /has the range/);
      // Each left the lock and the port: the folder starts.
      await (await start({})).stop();
      await Deno.remove(`${other}/secret`);
      await rejects(start({}), /missing although the mesh exists/);
    });
  });
});

Deno.test("an empty listen takes every address, in both families if there are two", async () => {
  await withFolder((folder) =>
    withCoordinator(optionsFor(folder, { listen: [], port: 0 }), async (coordinator) => {
      const port = coordinator.listening[0]!.port;
      const client = Deno.createHttpClient({
        caCerts: [await Deno.readTextFile(`${folder}/tls.crt`)],
      });
      try {
        for (const host of ["127.0.0.1", "localhost"]) {
          const response = await fetch(`https://${host}:${port}/healthz`, { client });
          strictEqual(await response.text(), "ok\n", "the certificate names the loopback");
        }
      } finally {
        client.close();
      }
    })
  );
});
