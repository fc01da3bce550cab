/**
 * The Debian packages that end-to-end tests and the demonstration need.
 *
 * @module
 */

import { exec } from "./tally.ts";

/** A program, the package that has it, and what it is for. */
const NEEDED: [program: string, package_: string, why: string][] = [
  ["ip", "iproute2", "makes network namespaces"],
  ["nsenter", "util-linux", "starts processes in them"],
  ["ping", "iputils-ping", "asks across the mesh"],
  ["tcpdump", "tcpdump", "reads the wire"],
  ["ssh-keygen", "openssh-client", "makes and checks SSH keys"],
  ["sshd", "openssh-server", "is an SSH server of another make"],
  ["ssh-keyscan", "openssh-client", "shows host keys"],
  ["faketime", "faketime", "starts a process in another time"],
  ["script", "bsdutils", "starts a process on a terminal"],
  ["nft", "nftables", "masquerades, and is the NAT of the NAT lab"],
  ["setpriv", "util-linux", "starts a process without rights"],
];

/** As {@linkcode NEEDED}, for those who ask for them by name. */
const ON_REQUEST: typeof NEEDED = [
  ["conntrack", "conntrack", "makes it forget"],
  ["gcc", "build-essential", "builds its delay wire"],
  ["miniupnpd", "miniupnpd-nftables", "maps ports on its gateways"],
];

/** As {@linkcode NEEDED}, but done without where it can't be had. */
const WELCOME: typeof NEEDED = [["iperf3", "iperf3", "measures"]];

/**
 * Makes sure that namespaces can be made and the programs for it are there.
 *
 * @param rows What is needed. @default {NEEDED}
 * @returns What this machine lacks, `undefined` if nothing.
 */
export async function installPackages(
  needed: readonly string[] = NEEDED.map(([program]) => program),
): Promise<string | undefined> {
  if (Deno.build.os !== "linux") return "needs Linux";
  if (Deno.uid() !== 0) return "needs root, for network namespaces and TUN devices";
  try {
    (await Deno.open("/dev/net/tun", { read: true, write: true })).close();
  } catch (error) {
    return `needs /dev/net/tun (${error instanceof Error ? error.message : error})`;
  }
  const asked = [...NEEDED, ...ON_REQUEST].filter(([program]) => needed.includes(program));
  const wanted = [...asked, ...WELCOME];
  const missing = wanted.filter(([program]) => !isThere(program));
  if (missing.length > 0 && isThere("apt-get")) {
    await install([...new Set(missing.map(([, name]) => name))]);
  }
  const lack = asked.filter(([program]) => !isThere(program));
  if (lack.length === 0) return undefined;
  return lack.map(([program, name, why]) => `lacks ${program} of package ${name}, which ${why}`)
    .join("; ");
}

/**
 * Whether a program can be found on the search path.
 *
 * @param program Its name.
 */
export function isThere(program: string): boolean {
  const folders = [...(Deno.env.get("PATH") ?? "").split(":"), "/usr/sbin", "/sbin"];
  return folders.some((folder) => {
    try {
      return Deno.statSync(`${folder}/${program}`).isFile;
    } catch {
      return false;
    }
  });
}

async function install(packages: string[]): Promise<void> {
  const env = { DEBIAN_FRONTEND: "noninteractive" };
  const command = ["apt-get", "install", "-y", "-qq", "--no-install-recommends", ...packages];
  if ((await exec(command, { env })).code === 0) return;
  await exec(["apt-get", "update", "-qq"], { env });
  await exec(command, { env });
}
