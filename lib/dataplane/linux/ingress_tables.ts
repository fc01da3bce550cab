/**
 * What the ingress worker knows of peers and keys: which index stands for which keys, and which
 * addresses are whose.
 *
 * @module
 */

import type { PacketCipher } from "../../../ffi/libcrypto.ts";
import { AllowedIps } from "../../route/allowed_ips.ts";
import { IngressPeer } from "./ingress_peer.ts";
import type { IngressCommand, SendPath } from "./messages.ts";
import { pathWordsOf } from "./path_words.ts";
import { ReceiveKeys } from "./receive_keys.ts";

/** Peers, their keys and their addresses. */
export class IngressTables {
  /** Whose the addresses inside are. */
  readonly routes = new AllowedIps<IngressPeer>((peer) => peer.id);
  readonly #cipher: PacketCipher;
  readonly #peers = new Map<string, IngressPeer>();
  readonly #keys = new Map<number, ReceiveKeys>();
  /** The keys found before, which are most often those asked for next. */
  #last: ReceiveKeys | undefined;

  constructor(cipher: PacketCipher) {
    this.#cipher = cipher;
  }

  /** The keys that an index stands for. */
  find(index: number): ReceiveKeys | undefined {
    const last = this.#last;
    if (last !== undefined && last.localIndex === index) return last;
    const keys = this.#keys.get(index);
    if (keys !== undefined) this.#last = keys;
    return keys;
  }

  /** Adds a peer, or gives it other addresses. */
  setPeer({ id, block, allowedIps }: IngressCommand & { kind: "peer" }): void {
    const peer = this.#peers.get(id) ?? new IngressPeer(id, block);
    this.#peers.set(id, peer);
    this.routes.replace(peer, allowedIps);
  }

  /** Removes a peer and its keys. */
  removePeer(id: string): void {
    const peer = this.#peers.get(id);
    if (peer === undefined) return;
    for (const keys of [...this.#keys.values()]) {
      if (keys.peer === peer) this.retire(keys.localIndex);
    }
    this.routes.removeValue(peer);
    this.#peers.delete(id);
  }

  /** Removes all peers. */
  clear(): void {
    for (const id of [...this.#peers.keys()]) this.removePeer(id);
  }

  /** Adds keys; the key that the command brought is wiped. */
  install(command: IngressCommand & { kind: "install" }): void {
    const { keypair, receiveKey, isConfirmed } = command;
    const peer = this.#peers.get(keypair.peer);
    if (peer !== undefined && !this.#keys.has(keypair.localIndex)) {
      const opener = this.#cipher.opener(receiveKey);
      const paths = command.paths.map(pathWordsOf);
      const keys = new ReceiveKeys(keypair, peer, opener, { isConfirmed, paths });
      this.#keys.set(keypair.localIndex, keys);
    }
    receiveKey.fill(0);
  }

  /** Sets by which paths keys may be confirmed, if they are not yet. */
  widen(localIndex: number, paths: readonly SendPath[]): void {
    const keys = this.#keys.get(localIndex);
    if (keys !== undefined && !keys.isConfirmed) keys.paths = paths.map(pathWordsOf);
  }

  /** Removes keys and wipes them. */
  retire(localIndex: number): void {
    const keys = this.#keys.get(localIndex);
    if (keys === undefined) return;
    this.#keys.delete(localIndex);
    if (this.#last === keys) this.#last = undefined;
    keys.opener.free();
  }
}
