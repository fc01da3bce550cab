/**
 * What agent and coordinator are started with: flags before files, defaults last.
 *
 * @module
 */

import { deepStrictEqual, rejects, strictEqual } from "node:assert/strict";
import { Command, CommanderError } from "commander";
import { coordinatorOptionsOf, defineCoordinator } from "../../lib/cli/coordinator.ts";
import { agentOptionsOf, defineJoin, type JoinFlags } from "../../lib/cli/join.ts";
import type { AgentConfig } from "../../lib/config/schema.ts";

const PEM = "-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----\n";

Deno.test("agentOptionsOf() lets a flag win over the file, and the file over the default", async () => {
  const config: AgentConfig = {
    coordinator: "https://file:1",
    name: "file",
    udpPort: 1,
    interface: "file0",
    sshKey: "/file",
    tlsVerify: true,
    trust: "verified-only",
    mtu: 1280,
    dataPlane: "portable",
  };
  const fromFile = {
    state: "/var/lib/tunnelmesh",
    coordinatorUrl: "https://file:1",
    token: "environment",
    tlsVerify: true,
    trust: "verified-only",
    name: "file",
    udpPort: 1,
    interfaceName: "file0",
    sshKeyPath: "/file",
    mtu: 1280,
    dataPlane: "portable",
  };
  deepStrictEqual(await agentOptionsOf({}, config, "environment"), fromFile);
  const flags: JoinFlags = {
    state: "/flag",
    coordinator: "https://flag:1",
    token: "flag",
    name: "flag",
    udpPort: 0,
    interface: "flag0",
    sshKey: "/flag",
    dataPlane: "linux",
  };
  deepStrictEqual(await agentOptionsOf(flags, config, "environment"), {
    ...fromFile,
    state: "/flag",
    coordinatorUrl: "https://flag:1",
    token: "flag",
    name: "flag",
    udpPort: 0,
    interfaceName: "flag0",
    sshKeyPath: "/flag",
    dataPlane: "linux",
  });
  const bare = await agentOptionsOf({}, {}, undefined);
  strictEqual(bare.state, "/var/lib/tunnelmesh");
  strictEqual(bare.token, undefined, "a folder that has joined needs none");
});

Deno.test("coordinatorOptionsOf() knows HTTPS of three kinds, and plain HTTP on loopback", async () => {
  const file = await Deno.makeTempFile();
  await Deno.writeTextFile(file, PEM);
  const tlsOf = async (...args: Parameters<typeof coordinatorOptionsOf>) =>
    (await coordinatorOptionsOf(...args)).tls;
  const given = { kind: "given", certificate: PEM, key: PEM };
  const pair = { cert: file, key: file };
  const flags = { member: true, tlsCert: file, tlsKey: file };
  strictEqual(await tlsOf({ member: true }, {}), undefined, "self-signed");
  deepStrictEqual(await tlsOf(flags, {}), given);
  deepStrictEqual(await tlsOf({ member: true }, { tls: pair }), given);
  deepStrictEqual(await tlsOf({ member: true, http: true }, { tls: pair }), { kind: "none" });
  deepStrictEqual(await tlsOf({ member: true }, { http: true }), { kind: "none" });
  deepStrictEqual(await tlsOf(flags, { http: true }), given, "a flag wins over the file");
  await rejects(tlsOf({ ...flags, http: true }, {}), /--http/);
  await rejects(tlsOf({ member: true, tlsCert: file }, {}), /--tls-key/);
  await Deno.writeTextFile(file, "no PEM");
  await rejects(tlsOf(flags, {}), /no PEM file/);
  await Deno.remove(file);
  await rejects(tlsOf(flags, {}), /Cannot read/);

  const plain = await coordinatorOptionsOf({ member: true, http: true }, {});
  deepStrictEqual(plain.listen?.map(({ hostname }) => hostname), ["127.0.0.1", "::1"]);
  const listen = [{ hostname: "::", port: 80 }];
  const open = await coordinatorOptionsOf({ member: true, http: true, listen }, {});
  deepStrictEqual(open.listen, listen);
});

Deno.test("coordinatorOptionsOf() takes limits and binding from the file, the member from both", async () => {
  const config = { session: { rekeyAfterSeconds: 5 }, binding: "roam", noMember: true } as const;
  const options = await coordinatorOptionsOf({ member: true }, config);
  deepStrictEqual(options.limits, { rekeyAfterMs: 5000 });
  strictEqual(options.binding, "roam");
  strictEqual(options.hasMember, false);
  strictEqual((await coordinatorOptionsOf({ member: false }, {})).hasMember, false);
  strictEqual((await coordinatorOptionsOf({ member: true }, {})).hasMember, true);

  const invites = { memberInvites: true };
  strictEqual((await coordinatorOptionsOf({ member: true }, {})).memberInvites ?? false, false);
  strictEqual((await coordinatorOptionsOf({ member: true, ...invites }, {})).memberInvites, true);
  strictEqual((await coordinatorOptionsOf({ member: true }, invites)).memberInvites, true);

  const trust = { trust: "verified-only" } as const;
  strictEqual((await coordinatorOptionsOf({ member: true }, trust)).trust, "verified-only");
  strictEqual((await coordinatorOptionsOf({ member: true, ...trust }, {})).trust, "verified-only");
  strictEqual((await coordinatorOptionsOf({ member: true, trust: "all" }, trust)).trust, "all");
});

Deno.test("join and coordinator have the flags that other programs rely on", () => {
  const flagsOf = (define: (command: Command) => void) => {
    const command = new Command();
    define(command);
    return command.options.map(({ long }) => long).sort();
  };
  const common = ["--json", "--log-level", "--state"];
  deepStrictEqual(
    flagsOf(defineJoin),
    [
      ...["--config", "--coordinator", "--interface", "--name", "--ssh-key", "--tls-verify"],
      ...["--data-plane", "--ssh-port", "--token", "--token-file", "--trust", "--udp-port"],
      ...common,
    ].sort(),
  );
  deepStrictEqual(
    flagsOf(defineCoordinator),
    [
      ...["--config", "--http", "--listen", "--name", "--no-member", "--range", "--tls-cert"],
      "--member-invites",
      ...["--data-plane", "--tls-key", "--trust", "--udp-port", ...common],
    ].sort(),
  );
});

Deno.test("wrong values of flags are refused before anything starts", async () => {
  const rows: [(command: Command) => void, string[]][] = [
    [defineCoordinator, ["--listen", "0.0.0.0"]],
    [defineCoordinator, ["--listen", "0.0.0.0:99999"]],
    [defineCoordinator, ["--udp-port", "0"]],
    [defineCoordinator, ["--udp-port", "65535"]],
    [defineCoordinator, ["--range", "100.64.0.1/10"]],
    [defineCoordinator, ["--range", "fd00::/48"]],
    [defineJoin, ["--udp-port", "65536"]],
    [defineJoin, ["--log-level", "all"]],
    [defineJoin, ["--data-plane", "fast"]],
    [defineJoin, ["unexpected"]],
  ];
  for (const [define, args] of rows) {
    const command = new Command().exitOverride().configureOutput({ writeErr: () => {} });
    define(command);
    await rejects(command.parseAsync(args, { from: "user" }), CommanderError, args.join(" "));
  }
});
