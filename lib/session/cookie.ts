/**
 * Cookies: how a responder under load has an initiator prove that it receives at the address it
 * sends from, without remembering anything of it.
 *
 * ```text
 * initiator                                    responder under load
 *   initiation, mac2 zero ───────────────────►   cookie = MAC(secret, address │ port │ bucket │ e)
 *   ◄──────────── type 4: cookie, sealed         forgets it
 *   same initiation, mac2 = MAC(cookie, …) ──►   makes the cookie again, compares
 * ```
 *
 * What must hold: a cookie is good for one source endpoint, one ephemeral key and two minutes to
 * four; it authenticates nobody.
 *
 * @see docs/protocol.md §3
 * @module
 */

import { equalBytes, utf8 } from "../base/bytes.ts";
import { writeU16Le, writeU64Le } from "../base/integers.ts";
import type { CryptoBackend } from "../crypto/backend.ts";
import {
  type Cookie,
  encodeCookie,
  type Initiation,
  MAC_LENGTH,
  macFields,
  XNONCE_LENGTH,
} from "../wire/datagram.ts";
import { COOKIE_BUCKET_MS, COOKIE_SECRET_MS } from "./limits.ts";
import type { PathEndpoint } from "./path.ts";

const COOKIE_LABEL = utf8("tunnelmesh cookie v1");
const SECRET_LENGTH = 32;
const EPHEMERAL_LENGTH = 32;

/** What a cookie is made over: address 16 │ port u16 │ bucket u64 │ ephemeral 32. */
const AT = { address: 0, port: 16, bucket: 18, ephemeral: 26, end: 58 } as const;
/** An IPv4 address stands in the last four bytes, behind these. */
const MAPPED_PREFIX = Uint8Array.of(0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff);

/**
 * The key that seals cookies of one responder; worth keeping. Everybody can make it: what it adds
 * is that only who saw the initiation can answer it.
 *
 * @param responderStaticKey 32 bytes.
 */
export function cookieKey(crypto: CryptoBackend, responderStaticKey: Uint8Array): Uint8Array {
  return crypto.sha256(COOKIE_LABEL, responderStaticKey);
}

/**
 * Opens a cookie that came.
 *
 * @param key From {@linkcode cookieKey}.
 * @param mac1 That of the initiation it answers.
 * @returns 16 bytes, or `undefined` if it was not sealed for that initiation.
 */
export function openCookie(
  crypto: CryptoBackend,
  key: Uint8Array,
  mac1: Uint8Array,
  { nonce, sealed }: Cookie,
): Uint8Array | undefined {
  return crypto.openX(key, nonce, mac1, sealed);
}

/** Returns a copy of an initiation with the mac2 that a cookie gives it; nothing else differs. */
export function withMac2(
  crypto: CryptoBackend,
  cookie: Uint8Array,
  initiation: Uint8Array,
): Uint8Array {
  const copy = initiation.slice();
  const { beforeMac2, mac2 } = macFields(copy);
  mac2.set(crypto.keyedBlake2s(cookie, MAC_LENGTH, beforeMac2));
  return copy;
}

/** What a {@linkcode CookieJar} works with. */
export interface CookieJarOptions {
  /** 32 bytes: this node's own. */
  readonly staticPublicKey: Uint8Array;
  readonly crypto: CryptoBackend;
  readonly random: (length: number) => Uint8Array;
  /** Milliseconds since 1970. */
  readonly unixNow: () => number;
}

/** The responder's side: one secret, and nothing per initiator. */
export class CookieJar {
  readonly #options: CookieJarOptions;
  readonly #key: Uint8Array;
  #secret: Uint8Array | undefined;
  #renewAt = -Infinity;

  /** Starts with a new secret. */
  constructor(options: CookieJarOptions) {
    this.#options = options;
    this.#key = cookieKey(options.crypto, options.staticPublicKey);
  }

  /**
   * Writes the answer to an initiation whose mac1 was right: a datagram of type 4.
   *
   * @param source Where the initiation came from.
   */
  challenge(initiation: Initiation, source: PathEndpoint, now: number): Uint8Array {
    const { crypto, random } = this.#options;
    const nonce = random(XNONCE_LENGTH);
    const cookie = this.#cookie(initiation, source, this.#bucket, now);
    return encodeCookie({
      profile: initiation.profile,
      receiverIndex: initiation.senderIndex,
      nonce,
      sealed: crypto.sealX(this.#key, nonce, initiation.mac1, cookie),
    });
  }

  /** Whether an initiation's mac2 is right: its sender receives at `source`. */
  isProven(initiation: Initiation, source: PathEndpoint, now: number): boolean {
    const { crypto } = this.#options;
    for (const bucket of [this.#bucket, this.#bucket - 1]) {
      const cookie = this.#cookie(initiation, source, bucket, now);
      const mac2 = crypto.keyedBlake2s(cookie, MAC_LENGTH, initiation.beforeMac2);
      if (equalBytes(mac2, initiation.mac2)) return true;
    }
    return false;
  }

  get #bucket(): number {
    return Math.floor(this.#options.unixNow() / COOKIE_BUCKET_MS);
  }

  #cookie(initiation: Initiation, source: PathEndpoint, bucket: number, now: number): Uint8Array {
    const { address, port } = source;
    const over = new Uint8Array(AT.end);
    if (address.length === 4) over.set(MAPPED_PREFIX, AT.address);
    over.set(address, AT.port - address.length);
    writeU16Le(over, AT.port, port);
    writeU64Le(over, AT.bucket, bucket);
    over.set(initiation.noise.subarray(0, EPHEMERAL_LENGTH), AT.ephemeral);
    return this.#options.crypto.keyedBlake2s(this.#secretAt(now), MAC_LENGTH, over);
  }

  #secretAt(now: number): Uint8Array {
    if (this.#secret === undefined || now >= this.#renewAt) {
      this.#secret = this.#options.random(SECRET_LENGTH);
      this.#renewAt = now + COOKIE_SECRET_MS;
    }
    return this.#secret;
  }
}
