/**
 * The built-in server and client against OpenSSH's: both speak the same SSH, and the server gives
 * away nothing but its one service.
 *
 * @module
 */

import { deepStrictEqual, notStrictEqual, ok, strictEqual } from "node:assert/strict";
import { encodeLengthPrefixed, LengthPrefixDecoder } from "../../lib/wire/length_prefix.ts";
import type { SshTransport } from "../../lib/transport/ssh.ts";
import { HAS_OPENSSH, KeyFolder, keyText, ownUser, run, sshOptions, startSshd } from "./openssh.ts";
import {
  addressOf,
  openTransport,
  testKey,
  testNode,
  TestRoster,
  until,
} from "../transport/ssh_mesh.ts";

const ignore = !HAS_OPENSSH;

/** Node A with its server, B in its roster, and a folder where `ssh` finds B's key and A's name. */
async function serverForOpenSsh() {
  const [nodeA, nodeB] = [testNode("a"), testNode("b")];
  const a = await openTransport(nodeA, new TestRoster(nodeA, nodeB));
  const folder = new KeyFolder();
  folder.write("known_hosts", `[127.0.0.1]:${a.port} ${keyText(nodeA.hostKey)}\n`);
  const ssh = sshOptions(folder, nodeB.clientKey, a.port!);
  const close = async () => {
    await a.close();
    await folder[Symbol.asyncDispose]();
  };
  return { nodeA, nodeB, a, folder, ssh, close };
}

for (const [how, args] of [["subsystem", ["-s"]], ["command", []]] as const) {
  Deno.test({ ignore, name: `SshTransport serves OpenSSH's client, by ${how}` }, async () => {
    const { nodeB, a, ssh, close } = await serverForOpenSsh();
    const received: Uint8Array[] = [];
    a.start((datagram, path) => {
      received.push(datagram.slice());
      a.send(datagram, path);
    });
    const child = new Deno.Command("ssh", {
      args: [...ssh, ...args, "anyone@127.0.0.1", "tunnelmesh"],
      stdin: "piped",
      stdout: "piped",
      stderr: "null",
    }).spawn();
    try {
      const sent = [Uint8Array.of(1, 2, 3), new Uint8Array(60_000).fill(4), Uint8Array.of(5)];
      const writer = child.stdin.getWriter();
      await writer.write(encodeLengthPrefixed(...sent));
      await until(() => received.length === sent.length);
      deepStrictEqual(received, sent);
      strictEqual(a.pathTo(nodeB.nodeId)?.kind, "ssh");
      const decoder = new LengthPrefixDecoder();
      const back: Uint8Array[] = [];
      for await (const piece of child.stdout) {
        back.push(...decoder.push(piece)!.map((datagram) => datagram.slice()));
        if (back.length === sent.length) break;
      }
      deepStrictEqual(back, sent);
      await writer.close().catch(() => {});
      await until(() => a.pathTo(nodeB.nodeId) === undefined, "the server to notice");
    } finally {
      await child.status;
      await close();
    }
  });
}

Deno.test({ ignore, name: "ssh-keyscan shows the host key that the roster states" }, async () => {
  const { nodeA, a, close } = await serverForOpenSsh();
  try {
    const { out } = await run("ssh-keyscan", ["-p", `${a.port}`, "-t", "ed25519", "127.0.0.1"]);
    ok(out.includes(`[127.0.0.1]:${a.port} ${keyText(nodeA.hostKey)}\n`), out);
  } finally {
    await close();
  }
});

/** What a member's key does not open: arguments of `ssh` before and after the name of the host. */
const REFUSED: [before: string[], after: string[], why: string][] = [
  [[], ["true"], "a command"],
  [["-tt"], [], "a shell"],
  [["-s"], ["sftp"], "another subsystem"],
  [["-N", "-o", "ExitOnForwardFailure=yes", "-R", "0:127.0.0.1:9"], [], "forwarding to the client"],
  [["-W", "127.0.0.1:9"], [], "forwarding to elsewhere"],
];

Deno.test(
  { ignore, name: "SshTransport serves neither shell, command, nor forwarding" },
  async () => {
    const { a, ssh, close } = await serverForOpenSsh();
    try {
      for (const [before, after, why] of REFUSED) {
        const { code } = await run("timeout", [
          ...["60", "ssh"],
          ...ssh,
          ...before,
          "x@127.0.0.1",
          ...after,
        ]);
        notStrictEqual(code, 0, why);
        notStrictEqual(code, 124, `${why}: it hung`);
      }
      strictEqual(a.drops.queueFull, 0);
    } finally {
      await close();
    }
  },
);

Deno.test({
  ignore,
  name: "SshTransport refuses OpenSSH's client with a stranger's key or a password",
}, async () => {
  const { a, folder, close } = await serverForOpenSsh();
  try {
    const options = sshOptions(folder, testKey(), a.port!);
    const { code, out } = await run("ssh", [...options, "-s", "x@127.0.0.1", "tunnelmesh"]);
    strictEqual(code, 255);
    ok(/Permission denied \(publickey\)/.test(out), out);
  } finally {
    await close();
  }
});

/** Two transports of which only A connects: by `sshd` to what is not ours, or past it to B. */
async function withOpenSshServer(
  test: (made: {
    readonly a: SshTransport;
    readonly said: string[];
    readonly nodeB: string;
    readonly toSshd: { user: string; host: string; port: number };
  }) => Promise<void>,
) {
  const [nodeA, nodeB] = [testNode("a"), testNode("b")];
  await using folder = new KeyFolder();
  const line = `restrict,command="cat" ${keyText(nodeA.clientKey)}`;
  await using sshd = await startSshd(folder, nodeB.hostKey, [line]);
  const said: string[] = [];
  const a = await openTransport(nodeA, new TestRoster(nodeA, nodeB), {
    listen: undefined,
    events: { failed: (_, errors) => said.push(...errors.map(String)) },
  });
  try {
    const toSshd = { user: ownUser(), host: "127.0.0.1", port: sshd.port };
    await test({ a, said, nodeB: nodeB.nodeId, toSshd });
  } finally {
    await a.close();
  }
}

Deno.test({
  ignore,
  name: "SshTransport reaches a service behind OpenSSH's server by its forced command",
}, () =>
  withOpenSshServer(async ({ a, said, nodeB, toSshd }) => {
    const echoed: Uint8Array[] = [];
    a.start((datagram) => echoed.push(datagram.slice()));
    a.setPeer(nodeB, [toSshd]);
    a.want(nodeB);
    await until(() => a.pathTo(nodeB) !== undefined, `a path (${said})`);
    const sent = Array.from({ length: 50 }, (_, i) => new Uint8Array(1 + i * 29).fill(i));
    for (const datagram of sent) a.send(datagram, a.pathTo(nodeB)!);
    await until(() => echoed.length === sent.length);
    deepStrictEqual(echoed, sent);
  }));

Deno.test({
  ignore,
  name: "SshTransport gets past a jump host of OpenSSH, whose host key is checked",
}, async () => {
  const [nodeA, nodeB] = [testNode("a"), testNode("b")];
  const [jumpHostKey, jumpKey] = [testKey(), testKey()];
  const roster = new TestRoster(nodeA, nodeB);
  await using folder = new KeyFolder();
  await using sshd = await startSshd(folder, jumpHostKey, [keyText(jumpKey)]);
  const b = await openTransport(nodeB, roster);
  const through = (hostKey: Uint8Array, said: string[]) =>
    openTransport(nodeA, roster, {
      listen: undefined,
      jump: {
        address: { user: ownUser(), host: "127.0.0.1", port: sshd.port },
        privateKey: jumpKey.privateText,
        hostKeys: [hostKey],
      },
      events: { failed: (_, errors) => said.push(...errors.map(String)) },
    });
  const said: string[] = [];
  const a = await through(jumpHostKey.publicKey, said);
  const deceived = await through(testKey().publicKey, said);
  try {
    let received = 0;
    b.start(() => received++);
    a.setPeer(nodeB.nodeId, [addressOf(b)]);
    a.want(nodeB.nodeId);
    await until(
      () => b.pathTo(nodeA.nodeId) !== undefined && a.pathTo(nodeB.nodeId) !== undefined,
      `both ends (${said})`,
    );
    a.send(Uint8Array.of(1), a.pathTo(nodeB.nodeId)!);
    await until(() => received === 1);
    strictEqual(said.length, 0, said.join());
    deceived.setPeer(nodeB.nodeId, [addressOf(b)]);
    deceived.want(nodeB.nodeId);
    await until(() => said.length > 0);
    ok(said[0]!.includes("host key"), said[0]);
    b.drop(b.pathTo(nodeA.nodeId)!);
    await until(() => a.pathTo(nodeB.nodeId) === undefined, "the end behind the jump host");
  } finally {
    await a.close();
    await deceived.close();
    await b.close();
  }
});
