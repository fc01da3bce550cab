/**
 * Configuration of miniupnpd, the UPnP, NAT-PMP and PCP service that {@linkcode NatLab} runs on a
 * gateway. Pure.
 *
 * @module
 */

/**
 * Writes the configuration.
 *
 * @param number Of the private network: 1 for 10.1.0.0/24.
 * @param settings Instead of those it has, or beside them.
 */
export function miniupnpdConfig(
  number: number,
  settings: Readonly<Record<string, string>>,
): string {
  const lines = Object.entries({
    ext_ifname: "wan",
    listening_ip: "lan",
    enable_natpmp: "yes",
    enable_upnp: "yes",
    secure_mode: "yes",
    min_lifetime: "60",
    max_lifetime: "86400",
    uuid: `00000000-0000-0000-0000-00000000000${number}`,
    upnp_table_name: "upnp",
    upnp_nat_table_name: "upnp",
    upnp_forward_chain: "fw",
    upnp_nat_chain: "pre",
    upnp_nat_postrouting_chain: "post",
    ...settings,
  }).map(([name, value]) => `${name}=${value}`);
  const network = `10.${number}.0.0/24`;
  lines.push(`allow 1024-65535 ${network} 1024-65535`, "deny 0-65535 0.0.0.0/0 0-65535", "");
  return lines.join("\n");
}
