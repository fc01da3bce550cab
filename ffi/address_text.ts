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
  const text = groups.join(":");
  let longest = { index: 0, 0: "" };
  for (const run of text.matchAll(/\b0(?::0)+\b/g)) {
    if (run[0].length > longest[0].length) longest = run;
  }
  if (longest[0] === "") return text;
  const before = text.slice(0, longest.index).replace(/:$/, "");
  const after = text.slice(longest.index + longest[0].length).replace(/^:/, "");
  return `${before}::${after}`;
}

/**
 * Formats a network.
 *
 * @param prefix Address of 4 or 16 bytes and prefix length in bits.
 */
export function prefixText(prefix: { address: Uint8Array; length: number }): string {
  return `${addressText(prefix.address)}/${prefix.length}`;
}
