/**
 * What goes wrong is told in one line that says what to do, with the right exit code, and leaves
 * nothing behind.
 *
 * @module
 */

import { deepStrictEqual, match, ok, strictEqual } from "node:assert/strict";
import type { Host } from "../lab/namespaces.ts";
import type { Finished } from "../lab/processes.ts";
import { COMMAND, ENVIRONMENT, Mesh, tunnelmesh } from "./mesh.ts";

Deno.test("a join that cannot be says why in one line and leaves nothing behind", async (test) => {
  await using mesh = await Mesh.create({ agents: ["a"] });
  const host = await mesh.lab.addHost("b");
  const folder = mesh.lab.folder;
  const state = `${folder}/b`;
  const token = (await Deno.readTextFile(mesh.tokenFile)).trim();
  const join = [
    ...["join", "--coordinator", mesh.url, "--token-file", mesh.tokenFile],
    ...["--state", state],
  ];
  const fails = async (code: number, says: RegExp, args: string[], wrapper: string[] = []) => {
    const words = [...wrapper, ...COMMAND, ...args];
    checkFailure(await host.run(words, { env: ENVIRONMENT }), code, says);
    await checkNothingLeft(host);
  };
  const other = await otherToken(token);

  await test.step("wrong token", async () => {
    await fails(4, /token/, [...join, "--token", other]);
    await fails(2, /token/, [...join, "--token", `${token}x`]);
    await fails(2, /token/, [...join, "--token", "hello"]);
    await fails(2, /token file.*no such file/, [...join, "--token-file", `${folder}/missing`]);
  });
  await test.step("nothing to join with", async () => {
    await fails(2, /--token/, ["join", "--coordinator", mesh.url, "--state", state]);
    await fails(2, /--coordinator/, ["join", "--token-file", mesh.tokenFile, "--state", state]);
  });
  await test.step("nobody answers", async () => {
    await fails(1, /198\.51\.100\.1:9/, [...join, "--coordinator", "https://198.51.100.1:9"]);
    await fails(2, /URL/, [...join, "--coordinator", "not a url"]);
  });
  await test.step("a certificate that fails the check", async () => {
    await fails(1, /certificate/, [...join, "--tls-verify"]);
  });
  await test.step("UDP port in use", async () => {
    const port = "40404";
    const listener = host.start([
      Deno.execPath(),
      "eval",
      "--unstable-net",
      `Deno.listenDatagram({ transport: "udp", hostname: "0.0.0.0", port: ${port} });
       console.log("ready"); setInterval(() => {}, 1000)`,
    ]);
    await listener.shows(/ready/);
    await fails(1, new RegExp(`${port}.*--udp-port`), [...join, "--udp-port", port]);
    await listener.kill();
  });
  await test.step("no root", async () => {
    const drop = ["setpriv", "--bounding-set=-all", "--inh-caps=-all", "--ambient-caps=-all"];
    await fails(5, /root|CAP_NET_ADMIN|sudo/, join, drop);
  });
  await test.step("no /dev/net/tun", async () => {
    const hide = ["unshare", "--mount", "sh", "-c", 'mount -t tmpfs none /dev/net; exec "$@"', "-"];
    await fails(5, /\/dev\/net\/tun/, join, hide);
  });
  await test.step("a name that another node has, and a reserved one", async () => {
    await fails(4, /name.*--name/, [...join, "--name", "a"]);
    await fails(4, /reserved.*--name/, [...join, "--name", "localhost"]);
  });
  await test.step("a mesh range that overlaps a route of something else", async () => {
    await host.must(["ip", "route", "add", "100.64.0.0/16", "via", "198.51.100.1"]);
    await fails(2, /100\.64\.0\.0.*--range/, join);
    await host.must(["ip", "route", "del", "100.64.0.0/16"]);
  });
  await test.step("a second agent on one state folder", async () => {
    const a = mesh.agent("a");
    const args = [...join, "--state", a.state];
    checkFailure(await tunnelmesh(a.host, args), 1, /another.*--state/);
    strictEqual((await a.ask("status")).code, 0, "the first one goes on");
  });
  await test.step("an unknown key in a configuration file", async () => {
    const config = `${folder}/agent.yaml`;
    await Deno.writeTextFile(config, "name: b\nudp-port: 1\n");
    await fails(2, /agent\.yaml:2:1: unknown key "udp-port"; did you mean "udpPort"/, [
      ...join,
      ...["--config", config],
    ]);
  });
  await test.step("after all that, the same folder joins", async () => {
    await mesh.describe("b", host).start();
    await mesh.settled();
  });
});

Deno.test("a coordinator that cannot be says why in one line", async (test) => {
  await using mesh = await Mesh.create();
  const { host } = mesh.coordinator;
  const folder = mesh.lab.folder;
  const start = ["coordinator", "--state", `${folder}/second`];
  await test.step("port in use", async () => {
    checkFailure(await tunnelmesh(host, start), 1, /844[34].*--udp-port/);
    checkFailure(await tunnelmesh(host, [...start, "--udp-port", "9000"]), 1, /8443.*--listen/);
  });
  await test.step("a second one on one state folder", async () => {
    const ports = ["--udp-port", "9000", "--listen", "0.0.0.0:9000"];
    const again = ["coordinator", "--state", mesh.coordinator.state, ...ports];
    checkFailure(await tunnelmesh(host, again), 1, /another.*--state/);
  });
  await test.step("an unknown key in a configuration file", async () => {
    const config = `${folder}/mesh.yaml`;
    await Deno.writeTextFile(config, "lisen: 0.0.0.0:8443\n");
    const failed = await tunnelmesh(host, [...start, "--config", config]);
    checkFailure(failed, 2, /mesh\.yaml:1:1: unknown key "lisen"; did you mean "listen"/);
  });
  await test.step("flags that make no sense", async () => {
    const rows: [string[], RegExp][] = [
      [["--listen", "nowhere"], /--listen/],
      [["--udp-port", "65535"], /--udp-port/],
      [["--range", "100.64.0.0"], /range/],
      [["--tls-cert", "x"], /--tls-key/],
      [["--lisen", "0.0.0.0:1"], /--lisen.*did you mean --listen/],
    ];
    for (const [args, says] of rows) {
      checkFailure(await tunnelmesh(host, [...start, ...args]), 2, says);
    }
  });
  await test.step("a range that overlaps a route of something else", async () => {
    const other = await mesh.lab.addHost("other");
    await other.must(["ip", "route", "add", "100.64.0.0/16", "via", "198.51.100.1"]);
    checkFailure(await tunnelmesh(other, start), 2, /100\.64\.0\.0.*--range/);
    await checkNothingLeft(other);
  });
});

Deno.test("commands to a process that does not run end with 3", async () => {
  await using mesh = await Mesh.create();
  const nowhere = ["--state", `${mesh.lab.folder}/nowhere`];
  const { host } = mesh.coordinator;
  for (const words of [["status"], ["peers"], ["ping", "x"], ["leave"], ["token", "show"]]) {
    checkFailure(await tunnelmesh(host, [...words, ...nowhere]), 3, /not running/);
  }
  checkFailure(await tunnelmesh(host, ["statsu"]), 2, /statsu.*did you mean status/);
  checkFailure(await tunnelmesh(host, []), 2, /--help/);
  checkFailure(await mesh.coordinator.ask("ping", "nobody"), 1, /nobody/);
});

/** Ended with that code, one line on standard error that says so, no stack trace. */
function checkFailure({ code, stdout, stderr }: Finished, expected: number, says: RegExp): void {
  const lines = stderr.trimEnd().split("\n");
  strictEqual(code, expected, `${stdout}\n${stderr}`);
  strictEqual(lines.length, 1, stderr);
  match(lines[0]!, /^tunnelmesh: Cannot /);
  match(lines[0]!, says);
  ok(!/\bat .*\.ts:\d/.test(stderr), stderr);
}

async function checkNothingLeft(host: Host): Promise<void> {
  const links = JSON.parse(await host.must(["ip", "-j", "link"])) as { ifname: string }[];
  deepStrictEqual(links.map(({ ifname }) => ifname), ["lo", "eth0"]);
  const routes = await host.must(["ip", "route"]) + await host.must(["ip", "-6", "route"]);
  ok(!/\btm\d/.test(routes), routes);
}

/** A well-formed token of the same mesh with another join secret. */
async function otherToken(token: string): Promise<string> {
  const { formatToken, parseToken } = await import("../../lib/token/token.ts");
  const parts = parseToken(token);
  return formatToken({ ...parts, joinSecret: parts.joinSecret.map((byte) => byte ^ 1) });
}
