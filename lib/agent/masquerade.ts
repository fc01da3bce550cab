/**
 * The way of clients to the internet through this machine: forwarding switched on, and their
 * addresses replaced by its own, by nftables in a table that is this node's alone.
 *
 * The table is made by the program `nft` (package nftables): its netlink protocol is a language of
 * its own, and every distribution has the program. A table of a process that died is replaced by the
 * next one, whole, in one transaction. What forwarding was before is kept in the state folder, so
 * that it comes back even after a crash in between.
 *
 * Clients do not reach each other this way, and nobody reaches them who was not asked.
 *
 * @module
 */

import { logOf } from "../base/log.ts";
import { formatIpPrefix, type IpPrefix } from "../net/ip_prefix.ts";
import { AgentError, reasonOf } from "./errors.ts";
import type { StateFolder } from "./state_folder.ts";

const log = logOf("agent");

const FORWARDING = {
  ipv4: "/proc/sys/net/ipv4/ip_forward",
  ipv6: "/proc/sys/net/ipv6/conf/all/forwarding",
} as const;
type Family = keyof typeof FORWARDING;

/** Remembers in the state folder what forwarding was. */
const FORWARDING_FILE = "forwarding.json";

/** Masquerading for the clients behind one interface. */
export class Masquerade {
  readonly #interfaceName: string;
  readonly #folder: StateFolder;
  #isOn = false;

  /** Does nothing yet. @param folder Locked. */
  constructor(interfaceName: string, folder: StateFolder) {
    this.#interfaceName = interfaceName;
    this.#folder = folder;
  }

  /** Whether it is on. */
  get isOn(): boolean {
    return this.#isOn;
  }

  /**
   * Switches it on for these clients, or changes whom it is for.
   *
   * @param clients Prefixes that clients may send from; nobody else's are forwarded.
   * @throws {AgentError} `failed` if `nft` is missing or refuses; what was in force still is then.
   */
  set(clients: readonly IpPrefix[]): void {
    nft(masqueradeRules(this.#interfaceName, clients));
    this.#isOn = true;
    const families: [Family, number][] = [["ipv4", 4], ["ipv6", 16]];
    for (const [family, length] of families) {
      if (clients.some(({ address }) => address.length === length)) this.#forward(family);
    }
  }

  /** Undoes everything. Safe to call twice, and before {@linkcode set}: then after a crash. */
  remove(): void {
    try {
      if (this.#isOn) nft(`${removal(this.#interfaceName)}\n`);
    } catch (error) {
      log.error("Masquerading not removed", { reason: reasonOf(error) });
    }
    this.#isOn = false;
    const before = this.#before();
    for (const family of Object.keys(before) as Family[]) {
      try {
        Deno.writeTextFileSync(FORWARDING[family], before[family]!);
      } catch (error) {
        log.error("Forwarding not restored", { kind: family, reason: reasonOf(error) });
      }
    }
    this.#folder.remove(FORWARDING_FILE);
  }

  /** Switches forwarding on, once it is written down what it was. */
  #forward(family: Family): void {
    const path = FORWARDING[family];
    const before = this.#before();
    try {
      const value = Deno.readTextFileSync(path).trim();
      if (value === "1") return;
      if (before[family] === undefined) {
        this.#folder.write(FORWARDING_FILE, JSON.stringify({ ...before, [family]: value }) + "\n");
      }
      Deno.writeTextFileSync(path, "1");
    } catch (cause) {
      const why = `${reasonOf(cause)}; switch it on yourself, or leave masquerade out`;
      throw new AgentError("failed", `Cannot forward ${family} for clients: ${why}`, { cause });
    }
  }

  /** What forwarding was before it was switched on here. */
  #before(): Partial<Record<Family, string>> {
    try {
      const given = JSON.parse(this.#folder.read(FORWARDING_FILE) ?? "{}");
      const families = Object.keys(FORWARDING) as Family[];
      return Object.fromEntries(
        families.filter((family) => /^[012]$/.test(given[family])).map((f) => [f, given[f]]),
      );
    } catch {
      return {}; // damaged: what it was is not known
    }
  }
}

/**
 * The rules, as `nft` reads them: one transaction that replaces what is there.
 *
 * @param interfaceName Of the tunnel.
 * @param clients Prefixes of clients, of both families, that do not overlap unless one lies in
 * another.
 */
export function masqueradeRules(interfaceName: string, clients: readonly IpPrefix[]): string {
  const table = tableName(interfaceName);
  const families: [word: string, set: string, length: number][] = [
    ["ip", "clients4", 4],
    ["ip6", "clients6", 16],
  ];
  const sets = families.map(([, set, length]) => {
    const prefixes = clients.filter(({ address }) => address.length === length);
    const elements = prefixes.length === 0
      ? ""
      : ` elements = { ${prefixes.map(formatIpPrefix).join(", ")} };`;
    const type = length === 4 ? "ipv4_addr" : "ipv6_addr";
    return `  set ${set} { type ${type}; flags interval; auto-merge;${elements} }`;
  });
  const tunnel = JSON.stringify(interfaceName);
  return [
    removal(interfaceName),
    `table inet ${table} {`,
    ...sets,
    "  chain forward {",
    "    type filter hook forward priority filter; policy accept;",
    `    iifname ${tunnel} oifname ${tunnel} drop`,
    ...families.map(([word, set]) => `    iifname ${tunnel} ${word} saddr @${set} accept`),
    `    iifname ${tunnel} drop`,
    `    oifname ${tunnel} ct state established,related accept`,
    `    oifname ${tunnel} drop`,
    "  }",
    "  chain postrouting {",
    "    type nat hook postrouting priority srcnat; policy accept;",
    ...families.map(([word, set]) => `    ${word} saddr @${set} oifname != ${tunnel} masquerade`),
    "  }",
    "}",
    "",
  ].join("\n");
}

/** Removes the table whether it is there or not: adding one that is there changes nothing. */
function removal(interfaceName: string): string {
  const table = tableName(interfaceName);
  return `table inet ${table}\ndelete table inet ${table}`;
}

function tableName(interfaceName: string): string {
  return `tunnelmesh_${interfaceName.replaceAll(/[^A-Za-z0-9_]/g, "_")}`;
}

/** Runs `nft` on some text; nothing of it is in force if it fails. */
function nft(text: string): void {
  const file = Deno.makeTempFileSync({ prefix: "tunnelmesh-nft-" });
  try {
    Deno.writeTextFileSync(file, text);
    const { success, stderr } = new Deno.Command("nft", {
      args: ["-f", file],
      stdin: "null",
      stdout: "null",
      stderr: "piped",
    }).outputSync();
    if (success) return;
    const [line = ""] = new TextDecoder().decode(stderr).split("\n");
    throw new AgentError("failed", `Cannot masquerade: nft refuses (${line.trim()})`);
  } catch (cause) {
    if (cause instanceof AgentError) throw cause;
    const why = cause instanceof Deno.errors.NotFound
      ? 'there is no program "nft"; install the package nftables, or leave masquerade out'
      : reasonOf(cause);
    throw new AgentError("failed", `Cannot masquerade: ${why}`, { cause });
  } finally {
    Deno.removeSync(file);
  }
}
