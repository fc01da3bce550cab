/**
 * Who is a member, under which name and addresses: the one truth of a mesh (protocol.md §1).
 *
 * Every change is saved first and only then seen in memory, so that a failed save (a full disk)
 * leaves the registry as it was, and a registration is all or nothing. Times are unix milliseconds.
 *
 * @module
 */

import { equalBytes, toHex } from "../base/bytes.ts";
import { sha256 } from "../crypto/hash.ts";
import { randomBytes } from "../crypto/random.ts";
import type { Hello } from "../wire/client_message.ts";
import type { SshReach, Statement } from "../wire/control_message.ts";
import type { NodeRecord, Roster } from "../wire/server_message.ts";
import { RefusalError } from "../wire/refusal.ts";
import type { Ledger, LedgerChanges } from "./ledger.ts";
import type { MeshIdentity } from "./mesh_identity.ts";
import { chooseName, labelOf } from "./names.ts";
import type { NodeRow, TokenRow } from "./store.ts";
import type { TokenBook } from "./token_book.ts";

/** Most nodes in one body of a full roster: about half a megabyte. */
const ROSTER_CHUNK = 512;

/** Whether a statement is good for a static key of this mesh. */
export type StatementVerifier = (claim: {
  readonly meshId: Uint8Array;
  readonly staticKey: Uint8Array;
  readonly sshPublicKey: Uint8Array;
  readonly statement: Uint8Array;
  readonly unixSeconds: number;
}) => boolean;

/** A node that proved its static key and a token's join secret asks to be a member. */
export interface JoinRequest {
  /** 32 bytes. */
  readonly staticKey: Uint8Array;
  /** 8 bytes. */
  readonly tokenId: Uint8Array;
  readonly hello: Hello;
  /** Whether a node must be taken to be in use: its name and addresses are not up for taking over. */
  readonly isInUse: (nodeId: string) => boolean;
  readonly unixMs: number;
}

/** What a registration did. */
export interface JoinResult {
  readonly node: NodeRow;
  /** Node id whose name and addresses this node has now: the same machine, installed anew. */
  readonly tookOver?: string;
}

/** What a {@linkcode Registry} works on. */
export interface RegistryOptions {
  readonly ledger: Ledger;
  readonly mesh: MeshIdentity;
  readonly tokens: TokenBook;
  readonly verifyStatement: StatementVerifier;
}

/** The node id of a static public key: SHA-256, as hex. */
export function nodeIdOf(staticKey: Uint8Array): string {
  return toHex(sha256(staticKey));
}

/** All nodes of a mesh. */
export class Registry {
  readonly #ledger: Ledger;
  readonly #mesh: MeshIdentity;
  readonly #tokens: TokenBook;
  readonly #verify: StatementVerifier;
  /** Names of nodes that are not removed. */
  readonly #byName = new Map<string, string>();
  /** Nodes whose endpoints or last-seen time is not saved yet. */
  readonly #unsaved = new Set<string>();

  constructor(options: RegistryOptions) {
    this.#ledger = options.ledger;
    this.#mesh = options.mesh;
    this.#tokens = options.tokens;
    this.#verify = options.verifyStatement;
    this.#ledger.watchNodes((node, before) => {
      if (before !== undefined && this.#byName.get(before.name) === node.nodeId) {
        this.#byName.delete(before.name);
      }
      if (node.state !== "removed") this.#byName.set(node.name, node.nodeId);
    });
  }

  /** Version of the roster: one higher at each change that members see. */
  get version(): number {
    return this.#ledger.number("roster-version");
  }

  /** A node that is or was a member. */
  node(nodeId: string): NodeRow | undefined {
    return this.#ledger.nodes.get(nodeId);
  }

  /** Every node that is or was a member. */
  all(): Iterable<NodeRow> {
    return this.#ledger.nodes.values();
  }

  /** The members, disabled ones not among them. */
  *members(): Generator<NodeRow> {
    for (const node of this.#ledger.nodes.values()) if (node.state === "active") yield node;
  }

  /**
   * Makes a node a member, or a member again; a member stays what it is.
   *
   * @throws {RefusalError} when it may not be; nothing has changed then.
   */
  join(request: JoinRequest): JoinResult {
    const { staticKey, unixMs } = request;
    const nodeId = nodeIdOf(staticKey);
    const token = this.#tokens.admitting(request.tokenId, nodeId, unixMs);
    const hello = namedBy(token, request.hello);
    const known = this.node(nodeId);
    if (known?.state === "disabled") throw new RefusalError("disabled");
    const statement = this.#checked(staticKey, hello.statement);
    const replaced = known === undefined ? this.#replacedBy(statement, hello, request) : undefined;
    const name = replaced?.name ?? this.#nameFor(nodeId, hello, known);
    const version = this.version + 1;
    const { host, nextHost, reclaimed } = this.#hostFor(known, replaced);
    const node: NodeRow = {
      nodeId,
      staticKey: staticKey.slice(),
      name,
      host,
      statement,
      endpoints: hello.endpoints,
      os: hello.os,
      software: hello.software,
      state: "active",
      version,
      tokenSerial: token.serial,
      hasConnected: known?.state === "active" && known.hasConnected,
      joinedAt: known?.joinedAt ?? unixMs,
      seenAt: unixMs,
    };
    this.#commit({
      nodes: [
        // Before the new row: name and host number are unique in the store.
        ...(replaced ? [{ ...replaced, host: 0, state: "removed" as const, version }] : []),
        ...(reclaimed ? [{ ...reclaimed, host: 0 }] : []),
        node,
      ],
      tokens: [
        ...(replaced ? this.#tokens.revokedWith(replaced.nodeId) : []),
        ...this.#tokens.spend(token, nodeId),
      ],
      settings: { "roster-version": String(version), "next-host": String(nextHost) },
    });
    return replaced === undefined ? { node } : { node, tookOver: replaced.nodeId };
  }

  /**
   * Says whether a static key may connect as a member. Changes nothing.
   *
   * @throws {RefusalError} `not-a-member`, `removed`, `disabled`.
   */
  requireMember(staticKey: Uint8Array): NodeRow {
    const node = this.node(nodeIdOf(staticKey));
    if (node === undefined) throw new RefusalError("not-a-member");
    if (node.state !== "active") throw new RefusalError(node.state);
    return node;
  }

  /**
   * A member connected: takes over what its hello changes.
   *
   * @throws {RefusalError} when it is no member, or asks for a name or brings a statement that
   * cannot be had; nothing has changed then.
   */
  connect(staticKey: Uint8Array, hello: Hello, unixMs: number): NodeRow {
    const known = this.requireMember(staticKey);
    const statement = hello.statement === undefined || sameStatement(hello.statement, known)
      ? known.statement
      : this.#checked(staticKey, hello.statement);
    const name = hello.nameIsExplicit ? this.#nameFor(known.nodeId, hello, known) : known.name;
    const node: NodeRow = {
      ...known,
      name,
      statement,
      os: hello.os ?? known.os,
      software: hello.software,
      endpoints: hello.endpoints,
      hasConnected: true,
      seenAt: unixMs,
    };
    const isSeenByOthers = name !== known.name || statement !== known.statement ||
      node.os !== known.os;
    if (!isSeenByOthers) {
      this.#showUnsaved(node);
      return node;
    }
    const version = this.version + 1;
    const changed = { ...node, version };
    this.#commit({ nodes: [changed], settings: { "roster-version": String(version) } });
    return changed;
  }

  /** Notes that a member was heard, and where it may be reached; saved by the next `flush`. */
  touch(nodeId: string, unixMs: number, endpoints?: Hello["endpoints"]): void {
    const node = this.node(nodeId);
    if (node === undefined) return;
    this.#showUnsaved({ ...node, seenAt: unixMs, endpoints: endpoints ?? node.endpoints });
  }

  /**
   * Notes how a member reaches others, and may be reached, by SSH.
   *
   * @returns Whether that is news for the others. A client key that is another member's is not
   * taken: its connections would be held for this one's.
   */
  setSsh(nodeId: string, { hostKeys, clientKey, endpoints }: SshReach): boolean {
    const node = this.node(nodeId);
    if (node === undefined) return false;
    const ssh: SshReach = { hostKeys, clientKey, endpoints };
    if (JSON.stringify(node.ssh) === JSON.stringify(ssh)) return false;
    for (const other of this.members()) {
      if (other.nodeId === nodeId || other.ssh === undefined) continue;
      if (equalBytes(other.ssh.clientKey, clientKey)) return false;
    }
    const version = this.version + 1;
    this.#commit({
      nodes: [{ ...node, ssh, version }],
      settings: { "roster-version": String(version) },
    });
    return true;
  }

  /**
   * Saves what `touch` and `connect` left unsaved.
   *
   * @throws {RefusalError} `storage-failure`; it stays unsaved then.
   */
  flush(): void {
    if (this.#unsaved.size === 0) return;
    const nodes = [...this.#unsaved].map((nodeId) => this.#ledger.nodes.get(nodeId)!);
    this.#ledger.commit({ nodes });
    this.#unsaved.clear();
  }

  /**
   * Removes, disables or enables a member. Its row, and so its addresses, stay its own; invites that
   * it asked for admit nobody once it is none.
   *
   * @throws {RefusalError} `not-a-member` when there is no such node or it was removed before;
   * `storage-failure`.
   */
  setState(nodeId: string, state: NodeRow["state"]): NodeRow {
    const node = this.node(nodeId);
    if (node === undefined || node.state === "removed") throw new RefusalError("not-a-member");
    if (node.state === state) return node;
    const version = this.version + 1;
    const changed: NodeRow = { ...node, state, version };
    this.#commit({
      nodes: [changed],
      tokens: state === "active" ? [] : this.#tokens.revokedWith(nodeId),
      settings: { "roster-version": String(version) },
    });
    return changed;
  }

  /**
   * The bodies that bring a copy of the roster up to date.
   *
   * @param since Version of that copy; 0: there is none.
   * @param lineage Lineage of that copy.
   */
  rosterSince(since: number, lineage: string | undefined): Roster[] {
    if (lineage === this.#lineage && since > this.version) {
      // Somebody has seen more than this registry knows: an older copy of it was put in place. The
      // numbers that follow would mean two things, so the history starts anew.
      this.#ledger.commit({ settings: { lineage: toHex(randomBytes(8)) } });
    }
    if (lineage !== this.#lineage || since === 0) return this.#fullRoster();
    return [this.#delta(since)];
  }

  /** The change since a version, in one body; `since` is a version of this lineage. */
  changesSince(since: number): Roster {
    return this.#delta(since);
  }

  /** A member as the others see it. */
  recordOf(node: NodeRow): NodeRecord {
    return {
      nodeId: node.nodeId,
      name: node.name,
      staticKey: node.staticKey,
      addresses: this.#mesh.addresses.addressesOf(node.host),
      statement: node.statement,
      endpoints: node.endpoints,
      ...(node.os === undefined ? {} : { os: node.os }),
      ...(node.ssh === undefined ? {} : { ssh: node.ssh }),
    };
  }

  get #lineage(): string {
    return this.#ledger.setting("lineage") ?? "";
  }

  #fullRoster(): Roster[] {
    const records = [...this.members()].map((node) => this.recordOf(node));
    const bodies: Roster[] = [];
    for (let at = 0; at === 0 || at < records.length; at += ROSTER_CHUNK) {
      const isLast = at + ROSTER_CHUNK >= records.length;
      bodies.push({
        kind: "roster",
        version: isLast ? this.version : 0,
        lineage: this.#lineage,
        full: at === 0,
        upserts: records.slice(at, at + ROSTER_CHUNK),
        removes: [],
      });
    }
    return bodies;
  }

  #delta(since: number): Roster {
    const upserts: NodeRecord[] = [];
    const removes: string[] = [];
    for (const node of this.#changedSince(since)) {
      if (node.state === "active") upserts.push(this.recordOf(node));
      else removes.push(node.nodeId);
    }
    return {
      kind: "roster",
      version: this.version,
      lineage: this.#lineage,
      full: false,
      upserts,
      removes,
    };
  }

  *#changedSince(since: number): Generator<NodeRow> {
    for (const node of this.#ledger.nodes.values()) if (node.version > since) yield node;
  }

  #commit(changes: LedgerChanges & { nodes: NodeRow[]; tokens?: TokenRow[] }): void {
    this.#ledger.commit(changes);
    for (const node of changes.nodes) this.#unsaved.delete(node.nodeId);
  }

  #showUnsaved(node: NodeRow): void {
    this.#unsaved.add(node.nodeId);
    this.#ledger.replaceInMemory(node);
  }

  #checked(staticKey: Uint8Array, statement: Statement | undefined): Statement {
    if (statement === undefined) throw new RefusalError("bad-statement");
    const isGood = this.#verify({
      meshId: this.#mesh.meshId,
      staticKey,
      sshPublicKey: statement.sshPublicKey,
      statement: statement.signature,
      unixSeconds: statement.signedAt,
    });
    if (!isGood) throw new RefusalError("bad-statement");
    return statement;
  }

  /** The holder of the wished name, if it is the same machine before it was installed anew. */
  #replacedBy(
    statement: Statement,
    hello: Hello,
    { isInUse }: JoinRequest,
  ): NodeRow | undefined {
    const wished = hello.name ?? "";
    const label = hello.nameIsExplicit ? wished.toLowerCase() : labelOf(wished);
    const holder = this.node(this.#byName.get(label) ?? "");
    const isSameMachine = holder !== undefined && holder.state === "active" &&
      equalBytes(holder.statement.sshPublicKey, statement.sshPublicKey) &&
      !isInUse(holder.nodeId);
    return isSameMachine ? holder : undefined;
  }

  #nameFor(nodeId: string, hello: Hello, known: NodeRow | undefined): string {
    const isTaken = (name: string) => {
      const holder = this.#byName.get(name);
      return holder !== undefined && holder !== nodeId;
    };
    if (known !== undefined && !hello.nameIsExplicit && !isTaken(known.name)) return known.name;
    return chooseName({ wished: hello.name ?? "", isExplicit: hello.nameIsExplicit, isTaken });
  }

  /** The host number of a node: its own, else the replaced one's, else the next; O(1) until used up. */
  #hostFor(
    known: NodeRow | undefined,
    replaced: NodeRow | undefined,
  ): { host: number; nextHost: number; reclaimed?: NodeRow } {
    const nextHost = this.#ledger.number("next-host");
    if (replaced !== undefined) return { host: replaced.host, nextHost };
    if (known !== undefined && known.host !== 0) return { host: known.host, nextHost };
    if (nextHost <= this.#mesh.addresses.maxHost) return { host: nextHost, nextHost: nextHost + 1 };
    // The range is used up: the node that was removed first gives its addresses.
    let reclaimed: NodeRow | undefined;
    for (const node of this.#ledger.nodes.values()) {
      if (node.state !== "removed" || node.host === 0) continue;
      if (reclaimed === undefined || node.version < reclaimed.version) reclaimed = node;
    }
    if (reclaimed === undefined) throw new RefusalError("roster-full");
    return { host: reclaimed.host, nextHost, reclaimed };
  }
}

/** What a node says, with the name of its invite in place of one that nobody chose. */
function namedBy({ name }: TokenRow, hello: Hello): Hello {
  return name === undefined || hello.nameIsExplicit
    ? hello
    : { ...hello, name, nameIsExplicit: true };
}

function sameStatement(statement: Statement, { statement: held }: NodeRow): boolean {
  return statement.signedAt === held.signedAt && equalBytes(statement.signature, held.signature);
}
