/**
 * What the gateways of {@linkcode NatLab} do to packets, as nftables rules and settings
 * of the kernel. Pure.
 *
 * | mode | mapping | filtering | port kept |
 * | --- | --- | --- | --- |
 * | `none` | no translation: the hosts have public addresses | none | yes |
 * | `fullcone` | endpoint-independent | none | yes |
 * | `addrcone` | endpoint-independent | address | yes |
 * | `cone` | endpoint-independent | address and port | yes |
 * | `random` | another port for each destination port ("symmetric") | address and port | no |
 *
 * @module
 */

/** How a gateway translates IPv4. */
export type NatMode = "none" | "fullcone" | "addrcone" | "cone" | "random";

/** All modes, from the most open one on. */
export const NAT_MODES: readonly NatMode[] = ["none", "fullcone", "addrcone", "cone", "random"];

/**
 * What a gateway lets through: everything; no UDP, DNS included; or only TCP to port 443, the rest
 * dropped or (`tcp443only-reject`) refused with ICMP.
 */
export type FirewallMode = "open" | "noudp" | "tcp443only" | "tcp443only-reject";

/** What the kernel of a gateway is told; names that it does not have are passed over. */
export const GATEWAY_SETTINGS: readonly string[] = [
  "net.ipv4.ip_forward=1",
  "net.ipv6.conf.all.forwarding=1",
  // Only there if something else on this machine loaded it. `lan` is a switch and filters no IP, or
  // what is hairpinned would pass from port to port and never be routed.
  "net.bridge.bridge-nf-call-iptables=0",
  "net.bridge.bridge-nf-call-ip6tables=0",
];

/**
 * The rules of a translation mode, which replace those of any other.
 *
 * @param mode How to translate.
 * @param inside The host that a port forwarding leads to.
 * @param udpPort The port that everything by UDP comes from, outside: for one socket inside.
 * @default its own
 */
export function natRules(mode: NatMode, inside: string, udpPort?: number): string {
  const rules: string[] = [];
  if (mode !== "none") {
    const flags = mode === "random" ? " random" : "";
    const udp = udpPort === undefined
      ? ""
      : `oifname "wan" meta l4proto udp masquerade to :${udpPort}; `;
    const all = `${udp}oifname "wan" masquerade${flags};`;
    rules.push(chain("post", "nat", "postrouting", "srcnat", all));
    // A home router drops what comes for itself unasked. Without this the kernel answers by ICMP
    // and, worse, keeps a conntrack entry for the peer's early packet, so that the inside host's own
    // packet cannot keep its port any more: a false "symmetric".
    rules.push(chain("self", "filter", "input", "0", 'iifname "wan" ct state new drop;'));
    // Nor does it route what comes from outside for its private network.
    const notOurs = 'iifname "wan" ct state new ct status & dnat == 0 drop;';
    rules.push(chain("strict", "filter", "forward", "-5", notOurs));
  }
  if (mode === "fullcone") {
    const all = `iifname "wan" meta l4proto udp dnat to ${inside};`;
    rules.push(chain("pre", "nat", "prerouting", "dstnat", all));
  }
  if (mode === "addrcone") {
    rules.unshift("set seen { type ipv4_addr; flags dynamic,timeout; timeout 2m; }");
    const known = `iifname "wan" meta l4proto udp ip saddr @seen dnat to ${inside};`;
    rules.push(chain("pre", "nat", "prerouting", "dstnat", known));
    const note = 'oifname "wan" meta l4proto udp update @seen { ip daddr };';
    rules.push(chain("note", "filter", "forward", "10", note));
  }
  return table("ip", "nat", rules);
}

/** The rules of a firewall, which replace those of any other. */
export function firewallRules(mode: FirewallMode): string {
  const only443 = "ct state established,related accept; tcp dport 443 accept;";
  const rule: Record<FirewallMode, string> = {
    open: "",
    noudp: "meta l4proto udp drop;",
    // Neighbour discovery of IPv6 is not forwarded, so nothing has to be let through for it.
    tcp443only: `${only443} drop;`,
    "tcp443only-reject": `${only443} reject with icmpx admin-prohibited;`,
  };
  return table("inet", "fw", [chain("f", "filter", "forward", "0", rule[mode])]);
}

/**
 * Whether what a host sends to a public endpoint that this gateway mapped to another host comes
 * there, and from the sender's own public endpoint (RFC 4787 REQ-9, "External source IP address and
 * port"). If not, it is dropped, as everything for the public address from inside.
 *
 * The kernel cannot look up which mapping a public port belongs to, so the packets that leave are
 * noted once they are translated. Whoever is noted is reached, whatever the filter of the mode.
 */
export function hairpinRules(isOn: boolean): string {
  const stray = "meta l4proto udp fib daddr type local fib daddr . iif type != local drop;";
  const rules = [chain("self", "filter", "input", "0", stray)];
  if (isOn) {
    const endpoints = "type ipv4_addr . inet_service : ipv4_addr . inet_service;";
    const map = `{ ${endpoints} flags dynamic,timeout; timeout 2m; }`;
    const own = "ct original ip saddr . ct original proto-src";
    const seen = "ip saddr . udp sport";
    const note = `oifname "wan" meta l4proto udp ` +
      `update @inside { ${seen} : ${own} } update @outside { ${own} : ${seen} };`;
    const back = 'iifname "lan" dnat ip to ip daddr . udp dport map @inside;';
    const asSeen = 'oifname "lan" ct status dnat snat ip to ip saddr . udp sport map @outside;';
    rules.unshift(
      `map inside ${map}`,
      `map outside ${map}`,
      chain("note", "filter", "postrouting", "srcnat + 10", note),
      chain("pre", "nat", "prerouting", "dstnat", back),
      chain("post", "nat", "postrouting", "srcnat", asSeen),
    );
  }
  return table("ip", "hairpin", rules);
}

/** Whether the hosts of a network are kept from each other: the bridge forwards no frames. */
export function isolationRules(isOn: boolean): string {
  return table("bridge", "isolation", [chain("f", "filter", "forward", "0", isOn ? "drop;" : "")]);
}

/** IPv6 as home routers have it: no translation, and nothing comes in that was not asked for. */
export function statefulIpv6Rules(isStateful: boolean): string {
  const rule = isStateful
    ? 'iifname "wan" ct state established,related accept; iifname "wan" drop;'
    : "";
  return table("ip6", "stateful", [chain("f", "filter", "forward", "-5", rule)]);
}

/**
 * Loss of forwarded packets.
 *
 * @param percent Of each direction, in steps of 0.1.
 */
export function lossRules(percent: number): string {
  const perMille = Math.round(percent * 10);
  const share = perMille >= 1000 ? "" : `numgen random mod 1000 < ${perMille} `;
  const rule = perMille === 0 ? "" : `${share}drop;`;
  return table("inet", "loss", [chain("f", "filter", "forward", "-50", rule)]);
}

/** The tables that a port mapping service (miniupnpd-nftables) writes its rules into. */
export function portMappingRules(): string {
  return table("inet", "upnp", [
    chain("f", "filter", "forward", "0", "jump fw;"),
    "chain fw { }",
    chain("p", "nat", "prerouting", "dstnat", "jump pre;"),
    "chain pre { }",
    chain("q", "nat", "postrouting", "srcnat", "jump post;"),
    "chain post { }",
  ]);
}

function chain(name: string, type: string, hook: string, priority: string, rules: string): string {
  return `chain ${name} { type ${type} hook ${hook} priority ${priority}; ${rules} }`;
}

/** Declared, deleted and made anew in one transaction: so it is replaced, not added to. */
function table(family: string, name: string, contents: readonly string[]): string {
  const id = `table ${family} ${name}`;
  return [id, `delete ${id}`, `${id} {`, ...contents, "}", ""].join("\n");
}
