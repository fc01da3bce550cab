/**
 * The one thing the session layer knows about how datagrams travel: whether two of them came the
 * same way.
 *
 * @module
 */

/** An address and port of UDP. */
export interface PathEndpoint {
  /** 4 or 16 bytes; never an IPv4 address in IPv6 form. */
  readonly address: Uint8Array;
  readonly port: number;
}

/**
 * One way to reach a peer. A session is bound to exactly one (protocol.md §5, `strict`).
 *
 * On UDP it is address and port at both ends, on SSH the connection, on the relay the peer.
 */
export interface Path {
  /** Which transport carries it. */
  readonly kind: "udp" | "ssh" | "relay";
  /** Equal for two paths exactly if they are the same way. */
  readonly key: string;
  /** The far end as a person reads it, such as `192.0.2.7:51820`. */
  readonly remote: string;
  /** The far end, on UDP: what a cookie is bound to. Streams have none, and no cookies. */
  readonly endpoint?: PathEndpoint;
  /** The node that the transport knows at the far end, 64 hex digits; absent where it knows none. */
  readonly nodeId?: string;
}

/**
 * Whether a path is known to lead to another node than this: a connection made with the SSH key of
 * one member, say, carries nothing of another's.
 */
export function isOfAnother(path: Path, nodeId: string): boolean {
  return path.nodeId !== undefined && path.nodeId !== nodeId;
}
