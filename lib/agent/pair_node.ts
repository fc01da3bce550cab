/**
 * This machine's side of a pairing: who it is, whether it can keep what is agreed, and the keeping.
 *
 * ```
 * a network of the two   state folder   NAME.yaml     file for `tunnelmesh up`; 0600
 *                                       pins.json     the other one, verified
 * invited                state folder   invite        token for `tunnelmesh join`; 0600
 *                                       pins.json     the inviter, verified
 * inviting               the member's   pins.json     the invited one, verified
 * ```
 *
 * What must hold: without an agreement the state folder is what it was before, keys included that
 * were made for it.
 *
 * @module
 */

import { Netlink } from "../../ffi/netlink.ts";
import { concatBytes, utf8 } from "../base/bytes.ts";
import { sha256 } from "../crypto/hash.ts";
import { randomBytes } from "../crypto/random.ts";
import type { KeyPair } from "../crypto/x25519.ts";
import { pairedConfig } from "../config/paired_peer.ts";
import { parseRange } from "../config/values.ts";
import { isValidName, labelOf } from "../coordinator/names.ts";
import { formatIpPrefix } from "../net/ip_prefix.ts";
import { parseToken } from "../token/token.ts";
import type { PairHello, PairInvite } from "../wire/pair_message.ts";
import { callControlSocket } from "./control_socket.ts";
import { AgentError, reasonOf } from "./errors.ts";
import { IDENTITY_FILES, openIdentity, readIdentity } from "./identity.ts";
import { refuseOverlap } from "./interface.ts";
import { readMembership } from "./membership.ts";
import type { Kept, MetPeer } from "./pair_agreement.ts";
import { PinStore } from "./pins.ts";
import { StateFolder } from "./state_folder.ts";

/** The invite that `join` takes by `--token-file`. */
const INVITE_FILE = "invite";
const AGENT_SOCKET = "agent.sock";
const MESH_ID_LABEL = utf8("tunnelmesh pair mesh v1");
const MESH_ID_LENGTH = 16;
/** How many networks are tried before a person has to choose one. */
const RANGE_TRIES = 64;

/** How this machine takes part. */
export interface PairNodeOptions {
  /** State folder: where the keys are, or will be. */
  readonly state: string;
  /** Whether it invites the other one; then the folder is that of a running member. */
  readonly isInviter: boolean;
  /** What it calls itself. @default its name in a mesh, else the host's */
  readonly name: string | undefined;
  /** IPv4 network for the two. @default one that is free here, where this side listens */
  readonly range: string | undefined;
  /** Port that the other side dials, or the endpoint that this side dials. */
  readonly side:
    | { readonly kind: "listener"; readonly port: number }
    | { readonly kind: "dialler"; readonly endpoint: string };
  /** File for `tunnelmesh up`. @default NAME.yaml in the state folder */
  readonly config: string | undefined;
}

/** This machine. */
export class PairNode {
  readonly #options: PairNodeOptions;
  readonly #folder: StateFolder;
  readonly #undo: (() => void)[];
  /** Borrowed as long as the pairing lives. */
  readonly staticKey: KeyPair;
  /** 64 lower-case hex digits. */
  readonly nodeId: string;
  /** What this side says first. */
  readonly hello: PairHello;
  #isClosed = false;

  private constructor(parts: {
    options: PairNodeOptions;
    folder: StateFolder;
    identity: { readonly staticKey: KeyPair; readonly nodeId: string };
    hello: PairHello;
    undo: (() => void)[];
  }) {
    this.#options = parts.options;
    this.#folder = parts.folder;
    this.#undo = parts.undo;
    this.staticKey = parts.identity.staticKey;
    this.nodeId = parts.identity.nodeId;
    this.hello = parts.hello;
  }

  /**
   * Finds out who this machine is; makes keys where there are none.
   *
   * @throws {AgentError} `in-use` if another process runs on the folder, `usage` if what is asked
   * for cannot be.
   */
  static async open(options: PairNodeOptions): Promise<PairNode> {
    const { state, isInviter, side } = options;
    if (options.range !== undefined && (isInviter || side.kind === "dialler")) {
      throw new AgentError(
        "usage",
        "Cannot choose --range here: the listening side chooses it, for a network of the two",
      );
    }
    const undo: (() => void)[] = [];
    const folder = isInviter ? StateFolder.peek(state) : openFolder(state, undo);
    try {
      const identity = isInviter ? readIdentity(folder) : await openIdentity(folder);
      if (identity === undefined) {
        throw new AgentError(
          "usage",
          `Cannot invite: "${state}" is not the folder of a member; run this where one of the mesh ` +
            "runs, and name its folder by --state",
        );
      }
      if ("isNew" in identity && identity.isNew) {
        undo.push(() => IDENTITY_FILES.forEach((name) => folder.remove(name)));
      }
      const hello: PairHello = {
        kind: "hello",
        name: ownName(options, folder),
        purpose: isInviter ? "invite" : "static",
        ...(side.kind === "listener" && !isInviter && { range: options.range ?? freeRange() }),
      };
      return new PairNode({ options, folder, identity, hello, undo });
    } catch (error) {
      runAll(undo, folder);
      throw error;
    }
  }

  /**
   * Looks whether what is to be agreed can be kept.
   *
   * @throws {AgentError} If not.
   */
  check(peer: MetPeer): void {
    const pin = PinStore.load(this.#folder).pin(peer.name);
    if (pin?.state === "verified" && pin.nodeId !== peer.nodeId) {
      throw new AgentError(
        "refused",
        `Cannot pair with "${peer.name}": that name is pinned to another key, ` +
          `${pin.nodeId.slice(0, 16)}…; if that change is right, do tunnelmesh peer forget ` +
          `${peer.name} first`,
      );
    }
    if (peer.outcome !== "static") return;
    const file = this.#configFile(peer);
    if (isThere(file)) {
      throw new AgentError(
        "usage",
        `Cannot pair with "${peer.name}": "${file}" is there already; remove it, or name another ` +
          "file by --config",
      );
    }
    if (this.#options.side.kind === "dialler") {
      const range = this.#rangeOf(peer);
      using netlink = new Netlink();
      refuseOverlap(netlink, [parseRange(range)], "give another --range at the listening side");
    }
    this.#configText(peer); // refuses what cannot stand in such a file
  }

  /** Writes down what was agreed. @throws {AgentError} If the disk does not take it: nothing is. */
  async keep(peer: MetPeer, invite: PairInvite | undefined): Promise<Kept> {
    switch (peer.outcome) {
      case "we-invite":
        return { undo: await this.#pinInMember(peer) };
      case "they-invite": {
        const { coordinator, token } = readInvite(invite!);
        this.#folder.write(INVITE_FILE, `${token}\n`);
        const file = this.#folder.pathOf(INVITE_FILE);
        return this.#withPin(peer, { file, coordinator }, () => this.#folder.remove(INVITE_FILE));
      }
      case "static": {
        const file = this.#configFile(peer);
        const [folder, name] = splitPath(file);
        StateFolder.peek(folder).write(name, this.#configText(peer));
        return this.#withPin(peer, { file }, () => StateFolder.peek(folder).remove(name));
      }
    }
  }

  /**
   * Lets go of the state folder. Safe to call twice.
   *
   * @param isAgreed Whether there was an agreement: else keys that were made here go again.
   */
  close(isAgreed: boolean): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    runAll(isAgreed ? [] : this.#undo, this.#folder);
  }

  #withPin(
    peer: MetPeer,
    kept: { readonly file: string; readonly coordinator?: string },
    removeFile: () => void,
  ): Kept {
    try {
      const pins = PinStore.load(this.#folder);
      const before = pins.stateOf(peer.name, peer.nodeId);
      pins.verify(peer.name, peer.nodeId);
      return {
        ...kept,
        undo: () => {
          removeFile();
          if (before !== "verified") pins.forget(peer.name);
          return Promise.resolve();
        },
      };
    } catch (error) {
      removeFile();
      throw error;
    }
  }

  /** A running member keeps its pins itself. */
  async #pinInMember({ name, nodeId }: MetPeer): Promise<() => Promise<void>> {
    const { state } = this.#options;
    const isKnown = PinStore.load(this.#folder).stateOf(name, nodeId) === "verified";
    await callControlSocket(state, AGENT_SOCKET, "peer-verify", { name, nodeId });
    return async () => {
      if (!isKnown) await callControlSocket(state, AGENT_SOCKET, "peer-forget", { name });
    };
  }

  #configFile({ name }: MetPeer): string {
    return this.#options.config ?? this.#folder.pathOf(`${name}.yaml`);
  }

  #configText(peer: MetPeer): string {
    const { side, config, state } = this.#options;
    try {
      return pairedConfig({
        ownName: this.hello.name,
        peerName: peer.name,
        peerPublicKey: peer.publicKey,
        privateKeyFile: config === undefined ? "static.key" : `${realPath(state)}/static.key`,
        meshId: meshIdOf(peer.handshakeHash),
        range: this.#rangeOf(peer),
        side,
      });
    } catch (cause) {
      throw new AgentError("failed", `Cannot pair with "${peer.name}": ${reasonOf(cause)}`, {
        cause,
      });
    }
  }

  #rangeOf(peer: MetPeer): string {
    const range = this.hello.range ?? peer.range;
    try {
      return formatIpPrefix(parseRange(range ?? ""));
    } catch (cause) {
      throw new AgentError(
        "failed",
        `Cannot pair with "${peer.name}": neither side has chosen a network; start again`,
        { cause },
      );
    }
  }
}

/** What both ends call the network of the two; nobody else can know it beforehand. */
function meshIdOf(handshakeHash: Uint8Array): Uint8Array {
  return sha256(concatBytes(MESH_ID_LABEL, handshakeHash)).slice(0, MESH_ID_LENGTH);
}

function openFolder(state: string, undo: (() => void)[]): StateFolder {
  const isNew = !isThere(state);
  const folder = StateFolder.open(state);
  if (isNew) {
    undo.push(() => {
      folder.remove("lock");
      Deno.removeSync(state); // only if nothing else is in it
    });
  }
  return folder;
}

/** Undoes in reverse order; what cannot be undone must not hide why it had to be. */
function runAll(undo: readonly (() => void)[], folder: StateFolder): void {
  for (const step of undo.toReversed()) {
    try {
      step();
    } catch {
      // It stays.
    }
  }
  folder.close();
}

function ownName({ name }: PairNodeOptions, folder: StateFolder): string {
  const found = name ?? readMembership(folder)?.welcome.name ?? labelOf(Deno.hostname());
  if (isValidName(found)) return found;
  throw new AgentError(
    "usage",
    `Cannot use name "${found}": a name is 1 to 63 lower-case letters, digits and hyphens; give ` +
      "one by --name",
  );
}

/** A network that this machine has no route to. */
function freeRange(): string {
  using netlink = new Netlink();
  for (let triesLeft = RANGE_TRIES;; triesLeft--) {
    const range = `10.${randomBytes(2).join(".")}.0/24`;
    try {
      refuseOverlap(netlink, [parseRange(range)], "choose one by --range");
      return range;
    } catch (error) {
      if (triesLeft === 0) throw error;
    }
  }
}

function readInvite({ coordinator, token }: PairInvite): PairInvite {
  try {
    parseToken(token);
    if (!/^https?:$/.test(new URL(coordinator).protocol)) throw new SyntaxError("no such URL");
    return { kind: "invite", coordinator, token };
  } catch (cause) {
    throw new AgentError("refused", "Cannot pair: the invite that came is none", { cause });
  }
}

function isThere(path: string): boolean {
  try {
    Deno.lstatSync(path);
    return true;
  } catch {
    return false;
  }
}

function realPath(path: string): string {
  try {
    return Deno.realPathSync(path);
  } catch {
    return path;
  }
}

function splitPath(path: string): [folder: string, name: string] {
  const at = path.lastIndexOf("/");
  return at < 0 ? [".", path] : [path.slice(0, at) || "/", path.slice(at + 1)];
}
