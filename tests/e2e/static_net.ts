/**
 * Real processes of the program in allow-list mode: a server and clients, each with its file.
 *
 * @module
 */

import { callControlSocket } from "../../lib/agent/control_socket.ts";
import type { StaticPeerStatus, StaticStatus } from "../../lib/agent/static_status.ts";
import { toBase64 } from "../../lib/base/bytes.ts";
import { generateKeyPair } from "../../lib/crypto/x25519.ts";
import type { Host } from "../lab/namespaces.ts";
import { Node } from "./mesh.ts";

/** UDP port of every server. */
export const PORT = 51_820;

/** One end: its key, its file and its process. */
export class StaticEnd {
  readonly publicKey: string;
  readonly #privateKey: string;
  readonly #node: Node;
  /** Path of its file. */
  readonly file: string;
  /** What its file says beside profile, mesh id and key; written by {@linkcode write}. */
  config: Record<string, unknown>;

  /**
   * Describes an end; nothing is written or started yet.
   *
   * @param host Where it runs.
   * @param folder For its files, of the owner only.
   * @param config What its file says.
   */
  constructor(readonly host: Host, folder: string, config: Record<string, unknown>) {
    const pair = generateKeyPair();
    this.publicKey = toBase64(pair.publicKey);
    this.#privateKey = toBase64(pair.privateKey);
    this.file = `${folder}/${host.name}.yaml`;
    this.config = config;
    this.#node = new Node(host, `${folder}/${host.name}`, ["up", "--config", this.file]);
  }

  /** The running process. */
  get process() {
    return this.#node.process!;
  }

  /** Writes its file, as other programs do: under another name first, then in its place. */
  async write(change: Record<string, unknown> = {}): Promise<void> {
    this.config = { ...this.config, ...change };
    const config = {
      profile: "allowed-peers",
      meshId: "0f1e2d3c4b5a69788796a5b4c3d2e1f0",
      privateKeyFile: `${this.host.name}.key`,
      interface: "tm0",
      ...this.config,
    };
    const options = { mode: 0o600 };
    const keyFile = this.file.replace(/yaml$/, "key");
    await Deno.writeTextFile(keyFile, `${this.#privateKey}\n`, options);
    // JSON is YAML.
    await Deno.writeTextFile(`${this.file}.new`, JSON.stringify(config, null, 2), options);
    await Deno.rename(`${this.file}.new`, this.file);
  }

  /** Writes the file and starts the process. */
  async start(...args: string[]): Promise<this> {
    await this.write();
    this.#node.launch(...args);
    await this.process.shows(/^Up as /m);
    return this;
  }

  /** How it stands. */
  async status(): Promise<StaticStatus> {
    return await callControlSocket(this.#node.state, "agent.sock", "status") as StaticStatus;
  }

  /** What it says of one peer, by name. */
  async peer(name: string): Promise<StaticPeerStatus> {
    return (await this.status()).peers.find((peer) => peer.name === name)!;
  }

  /** Runs a command of the program about this node. */
  ask(...args: string[]) {
    return this.#node.ask(...args);
  }
}
