/**
 * Addresses as text, for error messages and keys of this folder (which may not import `lib/net`).
 *
 * @module
 */

/**
 * Formats an address.
 *
 * @param address 4 or 16 bytes.
 * @returns Dotted decimal, or eight hex groups with the first longest run of zeros shortened.
 */
export function addressText(address: Uint8Array): string {
  if (address.length === 4) return address.join(".");
  const groups: string[] = [];
  for (let i = 0; i < 16; i += 2) groups.push((address[i]! << 8 | address[i + 1]!).toString(16));
  const runs = groups.join(":").match(/\b0(?::0)+\b/g) ?? [];
  const longest = runs.reduce((best, run) => run.length > best.length ? run : best, "");
  if (longest === "") return groups.join(":");
  const text = groups.join(":").replace(longest, "");
  return text === "" ? "::" : text.replace(/^:|:$|::/, "::");
}

/**
 * Formats a network.
 *
 * @param prefix Address of 4 or 16 bytes and prefix length in bits.
 */
export function prefixText(prefix: { address: Uint8Array; length: number }): string {
  return `${addressText(prefix.address)}/${prefix.length}`;
}
