/**
 * ChaCha20-Poly1305 (RFC 8439) by the system's libcrypto 3: one cipher context per key and
 * direction, nothing allocated per packet.
 *
 * Two sets of calls. `fast` spends what the job needs: the nonce is set by the parameter
 * `tlsivfixed`, which writes all 12 bytes of it and nothing else; `EVP_Cipher` is the thin door to
 * the provider; the tag is read, or given, by a parameter array made beforehand. That rests on how
 * OpenSSL 3 behaves, not on what it documents, so whoever uses it must first see it pass a self-test
 * (several packets, a forgery, recovery after it). `usual` makes the documented calls.
 *
 * Nonce: 4 bytes that are zero for transport data, then the counter, little-endian
 * (docs/protocol.md).
 *
 * @module
 */

import { cString } from "./libc.ts";
import { Mem, type Pointer } from "./memory.ts";

const TAG_LENGTH = 16;
const NONCE_LENGTH = 12;
const KEY_LENGTH = 32;

const SYMBOLS = {
  EVP_CIPHER_fetch: { parameters: ["pointer", "buffer", "pointer"], result: "pointer" },
  EVP_CIPHER_CTX_new: { parameters: [], result: "pointer" },
  EVP_CIPHER_CTX_free: { parameters: ["pointer"], result: "void" },
  EVP_CipherInit_ex: {
    parameters: ["pointer", "pointer", "pointer", "pointer", "pointer", "i32"],
    result: "i32",
  },
  EVP_CIPHER_CTX_set_params: { parameters: ["pointer", "pointer"], result: "i32" },
  EVP_CIPHER_CTX_get_params: { parameters: ["pointer", "pointer"], result: "i32" },
  EVP_CIPHER_CTX_ctrl: { parameters: ["pointer", "i32", "i32", "pointer"], result: "i32" },
  EVP_Cipher: { parameters: ["pointer", "pointer", "pointer", "u32"], result: "i32" },
  EVP_CipherUpdate: {
    parameters: ["pointer", "pointer", "pointer", "pointer", "i32"],
    result: "i32",
  },
  EVP_CipherFinal_ex: { parameters: ["pointer", "pointer", "pointer"], result: "i32" },
} as const satisfies Deno.ForeignLibraryInterface;

type Symbols = Deno.DynamicLibrary<typeof SYMBOLS>["symbols"];

/** Seals the packets of one key. */
export interface PacketSealer {
  /**
   * Seals `length` bytes of `source` from `from` on into `out` from `at` on, and puts the 16 bytes
   * of the tag behind them. Source and destination may be the same place.
   *
   * @param low Low half of the counter, unsigned.
   * @param high High half of the counter.
   * @param headerAt Where in `out` the 16 bytes of associated data stand.
   */
  seal(
    low: number,
    high: number,
    out: Mem,
    headerAt: number,
    at: number,
    source: Mem,
    from: number,
    length: number,
  ): void;
  /** Wipes the key and frees the context. Once. */
  free(): void;
}

/** Opens the packets of one key. */
export interface PacketOpener {
  /**
   * Opens in place `length` bytes from `at` on, which 16 bytes of tag follow.
   *
   * @returns Whether the tag was right; else what stands there is worth nothing.
   */
  open(
    low: number,
    high: number,
    memory: Mem,
    headerAt: number,
    at: number,
    length: number,
  ): boolean;
  /** Wipes the key and frees the context. Once. */
  free(): void;
}

/** One way to seal and open. */
export interface PacketCipher {
  /** As shown in the status. */
  readonly name: string;
  /** @param key 32 bytes; copied. */
  sealer(key: Uint8Array): PacketSealer;
  /** @param key 32 bytes; copied. */
  opener(key: Uint8Array): PacketOpener;
}

/** What all packets of one cipher have alike. */
export interface PacketForm {
  /** Length of the associated data in bytes. */
  readonly headerLength: number;
  /** The first four bytes of the nonce, little-endian, unsigned. */
  readonly nonceHead: number;
}

/** The header of transport data, and its nonce. */
const TRANSPORT_DATA: PacketForm = { headerLength: 16, nonceHead: 0 };

/**
 * Loads libcrypto 3.
 *
 * @param form Of the packets; another than that of transport data is for vectors of others.
 * @returns The ways to use it, best first; none where it is missing or has no ChaCha20-Poly1305.
 */
export function libcryptoCiphers(form: PacketForm = TRANSPORT_DATA): PacketCipher[] {
  const loaded = load();
  if (loaded === undefined) return [];
  return [
    {
      name: "libcrypto",
      sealer: (key) => new FastSealer(loaded, form, key),
      opener: (key) => new FastOpener(loaded, form, key),
    },
    {
      name: "libcrypto (usual calls)",
      sealer: (key) => new UsualSealer(loaded, form, key),
      opener: (key) => new UsualOpener(loaded, form, key),
    },
  ];
}

/** The library and its cipher. */
interface Loaded {
  readonly library: Symbols;
  readonly cipher: Pointer;
}

/** Loaded once: calls through a second set of symbols are slow. */
let once: { readonly loaded: Loaded | undefined } | undefined;

function load(): Loaded | undefined {
  return (once ??= { loaded: loadNow() }).loaded;
}

function loadNow(): Loaded | undefined {
  let library: Symbols;
  try {
    library = Deno.dlopen("libcrypto.so.3", SYMBOLS).symbols;
  } catch {
    return undefined;
  }
  // Safety: the name is read before the call returns; the result is never freed.
  const cipher = library.EVP_CIPHER_fetch(null, cString("ChaCha20-Poly1305"), null);
  return cipher === null ? undefined : { library, cipher };
}

// Places in the memory of one context.
const LENGTH_OUT = 0;
const KEY = 32;
const NONCE = 64;
const NAMES = 80;
const PARAMETERS = 128;
const CONTEXT_SIZE = 320;
/**
 * `OSSL_PARAM` (openssl/core.h):
 * `0 key* 8 │ 8 type 4 │ 12 (gap) 4 │ 16 data* 8 │ 24 size 8 │ 32 return size 8 = 40`.
 * An array ends with one that is all zeros.
 */
const PARAMETER_SIZE = 40;
const OCTET_STRING = 5;

const NONCE_LOW = (NONCE + 4) >> 2;
const NONCE_HIGH = (NONCE + 8) >> 2;

/** A context with its key set, and the memory its calls point into. */
class Context {
  protected readonly memory = new Mem(CONTEXT_SIZE);
  protected readonly words = this.memory.u32;
  protected readonly lengthOut = this.memory.pointer(LENGTH_OUT);
  protected readonly library: Symbols;
  protected readonly context: Pointer;
  protected readonly headerLength: number;

  constructor({ library, cipher }: Loaded, form: PacketForm, key: Uint8Array, isSealing: boolean) {
    if (key.length !== KEY_LENGTH) throw new RangeError(`key must be ${KEY_LENGTH} bytes`);
    this.library = library;
    this.headerLength = form.headerLength;
    this.words[NONCE >> 2] = form.nonceHead;
    this.memory.u8.set(key, KEY);
    // Safety: the context is freed by free(); key and nonce lie in a Mem that this object holds,
    // and the key is copied by the call.
    this.context = library.EVP_CIPHER_CTX_new();
    const [at, nonce] = [this.memory.pointer(KEY), this.memory.pointer(NONCE)];
    const isReady =
      library.EVP_CipherInit_ex(this.context, cipher, null, at, nonce, isSealing ? 1 : 0) === 1;
    this.memory.u8.fill(0, KEY, KEY + KEY_LENGTH);
    if (!isReady) throw new Error("Cannot set up ChaCha20-Poly1305 in libcrypto");
  }

  free(): void {
    // Safety: made by the constructor and used by nobody after this; libcrypto clears the key.
    this.library.EVP_CIPHER_CTX_free(this.context);
  }

  /** Describes a parameter whose data stands at `offset`, or is set later (`offset` 0). */
  protected parameter(
    o: { at: number; nameAt: number; name: string; offset: number; length: number },
  ): void {
    const { memory, words } = this;
    memory.u8.set(cString(o.name), o.nameAt);
    memory.putAddress(o.nameAt, words, o.at >> 2);
    words[(o.at + 8) >> 2] = OCTET_STRING;
    memory.putAddress(o.offset, words, (o.at + 16) >> 2);
    words[(o.at + 24) >> 2] = o.length;
  }
}

const FIRST = PARAMETERS;
const SECOND = PARAMETERS + PARAMETER_SIZE;
/** The array for reading the tag while sealing stands behind the end of the first. */
const SEAL_TAG = PARAMETERS + 2 * PARAMETER_SIZE;
const SEAL_TAG_DATA = (SEAL_TAG + 16) >> 2;
const OPEN_TAG_DATA = (SECOND + 16) >> 2;
const NAME_OF_NONCE = NAMES;
const NAME_OF_TAG = NAMES + 16;

class FastSealer extends Context implements PacketSealer {
  readonly #nonce = this.memory.pointer(FIRST);
  readonly #tag = this.memory.pointer(SEAL_TAG);

  constructor(loaded: Loaded, form: PacketForm, key: Uint8Array) {
    super(loaded, form, key, true);
    this.parameter({
      at: FIRST,
      nameAt: NAME_OF_NONCE,
      name: "tlsivfixed",
      offset: NONCE,
      length: NONCE_LENGTH,
    });
    this.parameter({
      at: SEAL_TAG,
      nameAt: NAME_OF_TAG,
      name: "tag",
      offset: 0,
      length: TAG_LENGTH,
    });
  }

  seal(
    low: number,
    high: number,
    out: Mem,
    headerAt: number,
    at: number,
    source: Mem,
    from: number,
    length: number,
  ): void {
    const { context, headerLength, library, lengthOut, words } = this;
    words[NONCE_LOW] = low;
    words[NONCE_HIGH] = high;
    out.putAddress(at + length, words, SEAL_TAG_DATA);
    // Safety: every pointer lies in a Mem held by this object or by the caller during the call;
    // the caller leaves room for the tag.
    library.EVP_CIPHER_CTX_set_params(context, this.#nonce);
    library.EVP_Cipher(context, null, out.at(headerAt), headerLength);
    if (length > 0) library.EVP_Cipher(context, out.at(at), source.at(from), length);
    library.EVP_CipherFinal_ex(context, lengthOut, lengthOut);
    library.EVP_CIPHER_CTX_get_params(context, this.#tag);
  }
}

class FastOpener extends Context implements PacketOpener {
  readonly #parameters = this.memory.pointer(FIRST);

  constructor(loaded: Loaded, form: PacketForm, key: Uint8Array) {
    super(loaded, form, key, false);
    this.parameter({
      at: FIRST,
      nameAt: NAME_OF_NONCE,
      name: "tlsivfixed",
      offset: NONCE,
      length: NONCE_LENGTH,
    });
    this.parameter({ at: SECOND, nameAt: NAME_OF_TAG, name: "tag", offset: 0, length: TAG_LENGTH });
  }

  open(
    low: number,
    high: number,
    memory: Mem,
    headerAt: number,
    at: number,
    length: number,
  ): boolean {
    const { context, headerLength, library, lengthOut, words } = this;
    words[NONCE_LOW] = low;
    words[NONCE_HIGH] = high;
    memory.putAddress(at + length, words, OPEN_TAG_DATA);
    // Safety: as in FastSealer.seal().
    library.EVP_CIPHER_CTX_set_params(context, this.#parameters);
    library.EVP_Cipher(context, null, memory.at(headerAt), headerLength);
    if (length > 0) {
      const place = memory.at(at);
      library.EVP_Cipher(context, place, place, length);
    }
    return library.EVP_CipherFinal_ex(context, lengthOut, lengthOut) === 1;
  }
}

/** `EVP_CTRL_AEAD_GET_TAG` and `EVP_CTRL_AEAD_SET_TAG` (openssl/evp.h). */
const CTRL_GET_TAG = 0x10;
const CTRL_SET_TAG = 0x11;

class UsualSealer extends Context implements PacketSealer {
  readonly #nonce = this.memory.pointer(NONCE);

  constructor(loaded: Loaded, form: PacketForm, key: Uint8Array) {
    super(loaded, form, key, true);
  }

  seal(
    low: number,
    high: number,
    out: Mem,
    headerAt: number,
    at: number,
    source: Mem,
    from: number,
    length: number,
  ): void {
    const { context, headerLength, library, lengthOut, words } = this;
    words[NONCE_LOW] = low;
    words[NONCE_HIGH] = high;
    // Safety: as in FastSealer.seal().
    library.EVP_CipherInit_ex(context, null, null, null, this.#nonce, -1);
    library.EVP_CipherUpdate(context, null, lengthOut, out.at(headerAt), headerLength);
    if (length > 0) {
      library.EVP_CipherUpdate(context, out.at(at), lengthOut, source.at(from), length);
    }
    library.EVP_CipherFinal_ex(context, out.at(at + length), lengthOut);
    library.EVP_CIPHER_CTX_ctrl(context, CTRL_GET_TAG, TAG_LENGTH, out.at(at + length));
  }
}

class UsualOpener extends Context implements PacketOpener {
  readonly #nonce = this.memory.pointer(NONCE);

  constructor(loaded: Loaded, form: PacketForm, key: Uint8Array) {
    super(loaded, form, key, false);
  }

  open(
    low: number,
    high: number,
    memory: Mem,
    headerAt: number,
    at: number,
    length: number,
  ): boolean {
    const { context, headerLength, library, lengthOut, words } = this;
    words[NONCE_LOW] = low;
    words[NONCE_HIGH] = high;
    // Safety: as in FastSealer.seal().
    library.EVP_CipherInit_ex(context, null, null, null, this.#nonce, -1);
    library.EVP_CIPHER_CTX_ctrl(context, CTRL_SET_TAG, TAG_LENGTH, memory.at(at + length));
    library.EVP_CipherUpdate(context, null, lengthOut, memory.at(headerAt), headerLength);
    if (length > 0) {
      const place = memory.at(at);
      library.EVP_CipherUpdate(context, place, lengthOut, place, length);
    }
    return library.EVP_CipherFinal_ex(context, lengthOut, lengthOut) === 1;
  }
}
