/**
 * The initiator's side of cookies: where one initiation went, and how it goes there once the
 * responder asked for a proof.
 *
 * @see cookie.ts
 * @module
 */

import { toHex } from "../base/bytes.ts";
import type { CryptoBackend } from "../crypto/backend.ts";
import { type Cookie, macFields } from "../wire/datagram.ts";
import type { DropReason } from "./actions.ts";
import { cookieKey, openCookie, withMac2 } from "./cookie.ts";
import type { Path, PathEndpoint } from "./path.ts";

/** Endpoints of one initiation that are remembered; ours: more than a peer has candidates. */
const MAX_ENDPOINTS = 64;

/** The ways of one initiation. */
export class TakenCookies {
  readonly #crypto: CryptoBackend;
  readonly #responderKey: Uint8Array;
  readonly #initiation: Uint8Array;
  /** By endpoint it went to: the initiation as it goes there. */
  readonly #byEndpoint = new Map<string, Uint8Array>();

  /**
   * @param responderKey Its static public key.
   * @param initiation Without mac2; like the key borrowed for good.
   */
  constructor(crypto: CryptoBackend, responderKey: Uint8Array, initiation: Uint8Array) {
    this.#crypto = crypto;
    this.#responderKey = responderKey;
    this.#initiation = initiation;
  }

  /** Called whenever the initiation goes out: how it has to look on that path. */
  goingBy({ endpoint }: Path): Uint8Array {
    if (endpoint === undefined) return this.#initiation;
    const key = keyOf(endpoint);
    const known = this.#byEndpoint.get(key);
    if (known !== undefined) return known;
    if (this.#byEndpoint.size < MAX_ENDPOINTS) this.#byEndpoint.set(key, this.#initiation);
    return this.#initiation;
  }

  /**
   * Takes a cookie: one from each endpoint that the initiation went to.
   *
   * @returns The same initiation with mac2, to be sent at once, or why the cookie is not taken.
   */
  take(cookie: Cookie, { endpoint }: Path): Uint8Array | DropReason {
    const key = endpoint === undefined ? "" : keyOf(endpoint);
    const gone = this.#byEndpoint.get(key);
    if (gone === undefined) return "wrong-path";
    if (gone !== this.#initiation) return "replayed";
    const { mac1 } = macFields(this.#initiation);
    const sealedWith = cookieKey(this.#crypto, this.#responderKey);
    const opened = openCookie(this.#crypto, sealedWith, mac1, cookie);
    if (opened === undefined) return "bad-cookie";
    const proving = withMac2(this.#crypto, opened, this.#initiation);
    this.#byEndpoint.set(key, proving);
    return proving;
  }
}

function keyOf({ address, port }: PathEndpoint): string {
  return `${toHex(address)}:${port}`;
}
