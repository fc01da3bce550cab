/**
 * SSH of a node: its transport, kept in step with the roster, and what it tells the coordinator of
 * itself.
 *
 * What must hold: what a node tells of itself is what its servers prove; connections go to where
 * the peer's roster record says, never into the mesh itself.
 *
 * @module
 */

import { equalBytes, fromBase64 } from "../base/bytes.ts";
import type { Clock } from "../base/clock.ts";
import { logOf } from "../base/log.ts";
import { SshConnectionError } from "../crypto/ssh_transport.ts";
import { parseEndpoint } from "../net/endpoint.ts";
import { formatIpAddress, parseIpAddress } from "../net/ip_address.ts";
import { type IpPrefix, prefixContains } from "../net/ip_prefix.ts";
import { SshTransport } from "../transport/ssh.ts";
import { formatHostAndPort, parseSshAddress, type SshAddress } from "../transport/ssh_address.ts";
import type { SshJump } from "../transport/ssh_dialing.ts";
import type { SshPath } from "../transport/ssh_link.ts";
import type { EndpointHint, SshReach } from "../wire/control_message.ts";
import type { NodeRecord } from "../wire/server_message.ts";
import { AgentError, reasonOf } from "./errors.ts";
import { SshEndpointListener } from "./ssh_endpoint.ts";
import { readSshEndpoint, refreshSshEndpoint } from "./ssh_endpoint_setup.ts";
import { openSshConnectionKeys, type SshConnectionKeys } from "./ssh_keys.ts";
import type { StateFolder } from "./state_folder.ts";

/** How long changes of the roster are gathered before `authorized_keys` follows. */
const REFRESH_DELAY_MS = 200;

const log = logOf("agent");

/** What a person may want of SSH. */
export interface SshOptions {
  /** TCP port of the built-in server; 0 for any; absent: no server. */
  readonly port?: number | undefined;
  /** Where peers reach this node's server, beside its own addresses: `[user@]host:port`. */
  readonly endpoints?: readonly string[] | undefined;
  /** Goes before every connection. */
  readonly jump?: SshJumpOptions | undefined;
}

/** A jump host as a person names it. */
export interface SshJumpOptions {
  /** `user@host:port`. */
  readonly to: string;
  /** Path of a private key that it knows, OpenSSH text without passphrase. */
  readonly key: string;
  /** Its host key as in a `.pub` file; without it, whoever answers there is taken for it. */
  readonly hostKey?: string | undefined;
}

/** What an {@linkcode SshSide} is made of. */
export interface SshSideOptions extends SshOptions {
  readonly folder: StateFolder;
  readonly clock: Clock;
  /** Members by node id, always as they are. */
  readonly nodes: () => ReadonlyMap<string, NodeRecord>;
  readonly ownNodeId: string;
  /** Ranges of the mesh: no connection goes there. */
  readonly meshRanges: () => readonly IpPrefix[];
  /** There is a way to a peer that was not there. */
  readonly opened: (nodeId: string, path: SshPath) => void;
  /** A way is no more. */
  readonly closed: (nodeId: string, path: SshPath) => void;
}

/** SSH of a running node. */
export class SshSide {
  readonly #options: SshSideOptions;
  readonly #keys: SshConnectionKeys;
  readonly #listener: SshEndpointListener;
  #cancelRefresh: (() => void) | undefined;
  /** To be given to the device, which may close it first. */
  readonly transport: SshTransport;

  private constructor(options: SshSideOptions, keys: SshConnectionKeys, transport: SshTransport) {
    this.#options = options;
    this.#keys = keys;
    this.transport = transport;
    this.#listener = new SshEndpointListener(
      options.folder.path,
      (stream, key, from) => transport.adopt(stream, key, from),
    );
  }

  /**
   * Reads or makes the keys and starts the server, if there is to be one.
   *
   * @throws {AgentError} `in-use` if the port is taken, `storage` if the keys cannot be used.
   */
  static async open(options: SshSideOptions): Promise<SshSide> {
    const keys = await openSshConnectionKeys(options.folder);
    const { port, clock, nodes } = options;
    const jump = options.jump && readJump(options.jump);
    /** Peers in whose place another key answered: said once, until there is a way again. */
    const deceived = new Set<string>();
    let transport: SshTransport;
    try {
      transport = await SshTransport.open({
        clock,
        hostKey: keys.host.privateText,
        clientKey: keys.client.privateText,
        clientKeyOwner: (key) => {
          for (const { nodeId, ssh } of nodes().values()) {
            if (nodeId === options.ownNodeId || ssh === undefined) continue;
            if (equalBytes(ssh.clientKey, key)) return nodeId;
          }
          return undefined;
        },
        hostKeysOf: (nodeId) => nodes().get(nodeId)?.ssh?.hostKeys ?? [],
        listen: port === undefined ? undefined : { port },
        jump,
        events: {
          opened: (nodeId, path) => {
            deceived.delete(nodeId);
            options.opened(nodeId, path);
          },
          closed: (nodeId, path) => options.closed(nodeId, path),
          failed: (peer, errors) => {
            const reason = errors.map(reasonOf).join("; ");
            log.debug("No way by SSH", { peer, reason });
            const isSaid = deceived.has(peer);
            if (isSaid || !errors.some(isWrongHostKey)) return;
            deceived.add(peer);
            const name = nodes().get(peer)?.name;
            log.warning("SSH server in a peer's place refused", { peer, name, reason });
          },
        },
      });
    } catch (cause) {
      const isTaken = (cause as { code?: string }).code === "EADDRINUSE";
      throw new AgentError(
        isTaken ? "in-use" : "failed",
        `Cannot serve SSH on TCP port ${port}: ${
          isTaken ? "another process has it" : reasonOf(cause)
        }; choose another one by --ssh-port`,
        { cause },
      );
    }
    try {
      return new SshSide(options, keys, transport);
    } catch (error) {
      await transport.close();
      throw error;
    }
  }

  /**
   * What to tell the coordinator.
   *
   * @param hints Where this node may be reached by UDP: its server is at the same addresses.
   */
  reach(hints: readonly EndpointHint[]): SshReach {
    const addresses = hints.map(({ endpoint }) => formatIpAddress(parseEndpoint(endpoint).address));
    const setup = readSshEndpoint(this.#options.folder);
    const { port } = this.transport;
    const endpoints = [
      ...this.#options.endpoints ?? [],
      ...port === undefined ? [] : addresses.map((host) => formatHostAndPort(host, port)),
      ...setup === undefined
        ? []
        : addresses.map((host) => `${setup.user}@${formatHostAndPort(host, setup.port)}`),
    ];
    return {
      hostKeys: [
        ...port === undefined ? [] : [this.#keys.host.publicKey],
        ...setup?.hostKeys ?? [],
      ],
      clientKey: this.#keys.client.publicKey,
      endpoints: [...new Set(endpoints)].slice(0, 32),
    };
  }

  /** Takes what the roster says of a peer. */
  upsertPeer({ nodeId, ssh }: NodeRecord): void {
    this.transport.setPeer(nodeId, (ssh?.endpoints ?? []).flatMap((text) => this.#usable(text)));
    this.#rosterChanged();
  }

  /** A peer is no member any more. */
  removePeer(nodeId: string): void {
    this.transport.removePeer(nodeId);
    this.#rosterChanged();
  }

  /** Brings the keys of peers in `authorized_keys` up to date, where `ssh-endpoint` set that up. */
  refreshEndpoint(): void {
    const { folder, nodes, ownNodeId } = this.#options;
    try {
      refreshSshEndpoint(folder, [...nodes().values()], ownNodeId);
    } catch (error) {
      log.warning("Keys of peers not brought up to date", { reason: reasonOf(error) });
    }
  }

  /** Ends every connection, and stops listening. Safe to call twice. */
  async close(): Promise<void> {
    this.#cancelRefresh?.();
    this.#listener.close();
    await this.transport.close();
  }

  #rosterChanged(): void {
    const { clock } = this.#options;
    this.transport.recheckKeys();
    this.#cancelRefresh ??= clock.schedule(clock.now() + REFRESH_DELAY_MS, () => {
      this.#cancelRefresh = undefined;
      this.refreshEndpoint();
    });
  }

  #usable(text: string): SshAddress[] {
    let address: SshAddress;
    try {
      address = parseSshAddress(text);
    } catch {
      return []; // a later version's way to be reached
    }
    try {
      const ip = parseIpAddress(address.host);
      return this.#options.meshRanges().some((range) => prefixContains(range, ip)) ? [] : [address];
    } catch {
      return [address]; // a name
    }
  }
}

function isWrongHostKey(error: unknown): boolean {
  return error instanceof SshConnectionError && error.fault === "wrong-host-key";
}

function readJump({ to, key, hostKey }: SshJumpOptions): SshJump {
  try {
    const address = parseSshAddress(to);
    const privateKey = Deno.readTextFileSync(key);
    if (hostKey === undefined) return { address, privateKey };
    return { address, privateKey, hostKeys: [fromBase64(hostKey.split(" ")[1] ?? "")] };
  } catch (cause) {
    const why = `Cannot use SSH jump host "${to}": ${reasonOf(cause)}; correct sshJump`;
    throw new AgentError("config", why, { cause });
  }
}
