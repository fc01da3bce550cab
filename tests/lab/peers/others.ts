/**
 * The others in the race, each set up as its own documentation does it, with its default MTU:
 * nothing at all, wireguard-go, nebula, and tailscaled with its test control server.
 *
 * @module
 */

import { isThere } from "../../packages.ts";
import type { Host } from "../namespaces.ts";
import { type Background, eventually, must } from "../processes.ts";
import { binaryPath, buildBinaries } from "./binaries.ts";
import type { Pair } from "./pair.ts";
import { type Racer, type Running, succeeds } from "./racer.ts";

/** The cable itself. */
export const RAW: Racer = {
  name: "raw",
  lack: () => Promise.resolve(undefined),
  start: ({ b }) =>
    Promise.resolve({ target: b.ipv4, startedAt: performance.now(), pids: undefined }),
};

/**
 * wireguard-go, MTU 1420. Device names differ: its control sockets lie in `/var/run/wireguard` for
 * all namespaces.
 */
export const WIREGUARD_GO: Racer = {
  name: "wireguard-go",
  async lack() {
    if (!isThere("wg")) return "it needs wg, of the package wireguard-tools";
    return await buildBinaries(["wireguard"]);
  },
  async start(pair) {
    const ends = await Promise.all([pair.a, pair.b].map(async (host, i) => {
      const privateKey = (await must(["wg", "genkey"])).trim();
      const publicKey = (await must(["wg", "pubkey"], { input: privateKey })).trim();
      const file = `${pair.folder}/${host.name}.key`;
      await Deno.writeTextFile(file, privateKey, { mode: 0o600 });
      return { host, publicKey, file, device: `tmrace-${host.name}`, address: `10.200.0.${i + 1}` };
    }));
    const startedAt = performance.now();
    const processes = ends.map(({ host, device }) =>
      host.start([binaryPath("wireguard"), "-f", device], {
        env: { WG_PROCESS_FOREGROUND: "1" },
      })
    );
    await Promise.all(ends.map(async ({ host, device, file, address }, i) => {
      const far = ends[1 - i]!;
      await eventually("wireguard-go answers", () => succeeds(host, ["wg", "show", device]));
      await host.must([
        ...["wg", "set", device, "listen-port", "51820", "private-key", file],
        ...["peer", far.publicKey, "allowed-ips", `${far.address}/32`],
        ...["endpoint", `${far.host.ipv4}:51820`],
      ]);
      await host.must(["ip", "address", "add", `${address}/24`, "dev", device]);
      await host.must(["ip", "link", "set", device, "up", "mtu", "1420"]);
    }));
    return { target: ends[1]!.address, startedAt, pids: pidsOf(processes) };
  },
};

/** nebula, `a` the lighthouse, each end knowing where the other is; MTU 1300. */
export const NEBULA: Racer = {
  name: "nebula",
  lack: () => buildBinaries(["nebula", "nebula-cert"]),
  async start({ a, b, folder }) {
    const sign = (...args: string[]) => must([binaryPath("nebula-cert"), ...args], { cwd: folder });
    await sign("ca", "-name", "lab");
    const addresses = ["10.200.0.1", "10.200.0.2"];
    for (const [i, { name }] of [a, b].entries()) {
      await sign("sign", "-name", name, "-ip", `${addresses[i]}/24`);
      await Deno.writeTextFile(`${folder}/${name}.json`, nebulaConfig(folder, name, i === 0));
    }
    const startedAt = performance.now();
    const processes = [a, b].map((host) =>
      host.start([binaryPath("nebula"), "-config", `${folder}/${host.name}.json`])
    );
    return { target: addresses[1]!, startedAt, pids: pidsOf(processes) };
  },
};

/** nebula reads YAML, which JSON is. */
function nebulaConfig(folder: string, name: string, isLighthouse: boolean): string {
  const all = [{ port: "any", proto: "any", host: "any" }];
  return JSON.stringify({
    pki: { ca: `${folder}/ca.crt`, cert: `${folder}/${name}.crt`, key: `${folder}/${name}.key` },
    static_host_map: { "10.200.0.1": ["10.100.0.1:4242"], "10.200.0.2": ["10.100.0.2:4242"] },
    lighthouse: { am_lighthouse: isLighthouse, hosts: isLighthouse ? [] : ["10.200.0.1"] },
    listen: { host: "0.0.0.0", port: 4242 },
    tun: { dev: `neb-${name}`, mtu: 1300 },
    firewall: { outbound: all, inbound: all },
  });
}

/** tailscaled, real TUN, MTU 1280; `b` has joined before `a` starts. */
export const TAILSCALE: Racer = {
  name: "tailscale",
  lack: () => buildBinaries(["tailscale", "tailscaled", "tscontrol"]),
  async start(pair) {
    const { a, b } = pair;
    const control = await pair.addControl();
    await control.start([binaryPath("tscontrol"), "-addr", control.ipv4]).shows(/control on/);
    const farEnd = await tailscaled(pair, b);
    await tailscaleUp(pair, b, control);
    const target = (await tailscale(pair, b, "ip", "-4")).trim();
    const startedAt = performance.now();
    const nearEnd = await tailscaled(pair, a);
    await tailscaleUp(pair, a, control);
    return {
      target,
      startedAt,
      pids: pidsOf([nearEnd, farEnd]),
      settled: async () => {
        await eventually("tailscale goes the direct way", async () => {
          await a.run(["ping", "-n", "-q", "-c", "1", "-W", "0.2", target]);
          return (await tailscale(pair, a, "status")).includes(`direct ${b.ipv4}`);
        });
      },
    };
  },
};

/** Starts the daemon with copies of `/etc` and `/run` of its own, so that it changes nothing here. */
async function tailscaled({ folder }: Pair, host: Host): Promise<Background> {
  const own = `${folder}/${host.name}`;
  await Deno.mkdir(`${own}/run`, { recursive: true });
  const script = `cp -a /etc "$0/etc" && mount --bind "$0/etc" /etc && mount --bind "$0/run" /run &&
    exec "$@"`;
  const process = host.start([
    ...["unshare", "--mount", "--propagation", "private", "sh", "-c", script, own],
    ...[binaryPath("tailscaled"), "--tun=tailscale0", `--statedir=${own}`],
    ...[`--socket=${own}/s.sock`, "--port=41641", "--no-logs-no-support"],
  ], { env: { HOME: own } });
  await eventually("tailscaled has its socket", async () => {
    if (process.code !== undefined) throw new Error(process.stderr);
    return (await Deno.stat(`${own}/s.sock`)).isSocket;
  });
  return process;
}

async function tailscaleUp(pair: Pair, host: Host, control: Host): Promise<void> {
  await tailscale(
    ...[pair, host, "up", `--login-server=http://${control.ipv4}:8080`] as const,
    ...["--netfilter-mode=off", "--accept-dns=false", `--hostname=node-${host.name}`],
    "--timeout=30s",
  );
}

function tailscale({ folder }: Pair, host: Host, ...args: string[]): Promise<string> {
  return host.must([binaryPath("tailscale"), `--socket=${folder}/${host.name}/s.sock`, ...args]);
}

function pidsOf(processes: readonly Background[]): Running["pids"] {
  return [processes[0]!.pid, processes[1]!.pid];
}
