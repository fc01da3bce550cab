/**
 * Where an SSH server is, as text: `[user@]host:port`, an IPv6 address in brackets.
 *
 * @module
 */

/** Name to log in with where none is given; the built-in server takes any. */
export const DEFAULT_SSH_USER = "tunnelmesh";

/** What `user`, and what `host` may consist of: names and addresses, nothing that has a meaning elsewhere. */
const ADDRESS =
  /^(?:([A-Za-z0-9._-]{1,64})@)?(?:\[([0-9A-Fa-f:.]{2,45})\]|([A-Za-z0-9._-]{1,253})):(\d{1,5})$/;

/** An SSH server that can be connected to. */
export interface SshAddress {
  readonly user: string;
  /** Name or address, an IPv6 address without brackets. */
  readonly host: string;
  /** 1 to 65535. */
  readonly port: number;
}

/**
 * Reads an address.
 *
 * @throws {SyntaxError} If it is none.
 */
export function parseSshAddress(text: string): SshAddress {
  const [, user = DEFAULT_SSH_USER, ipv6, name, digits] = ADDRESS.exec(text) ?? [];
  const host = ipv6 ?? name;
  const port = Number(digits);
  if (host === undefined || !(port >= 1 && port <= 65_535)) {
    throw new SyntaxError(`Cannot read SSH address "${text}": it is not [user@]host:port`);
  }
  return { user, host, port };
}

/** Writes an address, without the user if that is the default. */
export function formatSshAddress({ user, host, port }: SshAddress): string {
  return `${user === DEFAULT_SSH_USER ? "" : `${user}@`}${formatHostAndPort(host, port)}`;
}

/** Writes host and port, an IPv6 address in brackets. */
export function formatHostAndPort(host: string, port: number): string {
  return host.includes(":") ? `[${host}]:${port}` : `${host}:${port}`;
}
