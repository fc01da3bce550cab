/**
 * The one thing the session layer knows about how datagrams travel: whether two of them came the
 * same way.
 *
 * @module
 */

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
}
