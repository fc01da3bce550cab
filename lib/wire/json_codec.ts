/**
 * Strict two-way codecs between JSON values and typed structures, for the bodies of the control
 * channel: what decodes is exactly of the declared type, or a {@linkcode MessageError} says which
 * field was wrong. Unknown fields are ignored, so that neighbouring versions understand each other.
 *
 * @module
 */

import { fromBase64Url, toBase64Url } from "../base/bytes.ts";

/** A control message that does not follow its declaration. */
export class MessageError extends Error {
  override readonly name = "MessageError";
}

/** How one value is written to and read from JSON. */
export interface Codec<T> {
  /** The JSON value; `undefined` leaves a field out. */
  encode(value: T): unknown;
  /**
   * @param at Where the value stands, for the error.
   * @throws {MessageError} when the JSON value is not of this type.
   */
  decode(json: unknown, at: string): T;
  /** Whether the field may be missing. */
  readonly isOptional?: true;
}

/** One codec for every field of a structure. */
export type Fields<T> = { readonly [K in keyof T]-?: Codec<Exclude<T[K], undefined>> };

function wrong(at: string, wanted: string): MessageError {
  return new MessageError(`Cannot read "${at}": expected ${wanted}`);
}

/** Text of at most `maxLength` UTF-16 units, without control characters. */
export function text(maxLength: number): Codec<string> {
  return {
    encode: (value) => value,
    decode(json, at) {
      if (typeof json !== "string" || json.length > maxLength) {
        throw wrong(at, `text of at most ${maxLength} characters`);
      }
      // Names and endpoints end up in logs and on terminals.
      if (/\p{Cc}/u.test(json)) throw wrong(at, "text without control characters");
      return json;
    },
  };
}

/** A node id: 64 lower-case hex digits. */
export const NODE_ID: Codec<string> = {
  encode: (value) => value,
  decode(json, at) {
    if (typeof json !== "string" || !/^[0-9a-f]{64}$/.test(json)) throw wrong(at, "a node id");
    return json;
  },
};

/** `true` or `false`. */
export const BOOLEAN: Codec<boolean> = {
  encode: (value) => value,
  decode(json, at) {
    if (typeof json !== "boolean") throw wrong(at, "true or false");
    return json;
  },
};

/** A whole number in `[min, max]`. */
export function integer(min: number, max: number): Codec<number> {
  return {
    encode: (value) => value,
    decode(json, at) {
      if (typeof json !== "number" || !Number.isInteger(json) || json < min || json > max) {
        throw wrong(at, `a whole number from ${min} to ${max}`);
      }
      return json;
    },
  };
}

/** Exactly `length` bytes, as base64url. */
export function bytes(length: number): Codec<Uint8Array> {
  return bytesWhere((value) => value.length === length, length, `${length} bytes in base64url`);
}

/** 1 to `maxLength` bytes, as base64url. */
export function blob(maxLength: number): Codec<Uint8Array> {
  return bytesWhere((value) => value.length > 0, maxLength, `1 to ${maxLength} bytes in base64url`);
}

function bytesWhere(
  isRight: (value: Uint8Array) => boolean,
  maxLength: number,
  wanted: string,
): Codec<Uint8Array> {
  return {
    encode: (value) => toBase64Url(value),
    decode(json, at) {
      if (typeof json !== "string" || json.length > Math.ceil(maxLength * 4 / 3)) {
        throw wrong(at, wanted);
      }
      let value: Uint8Array;
      try {
        value = fromBase64Url(json);
      } catch {
        throw wrong(at, wanted);
      }
      if (!isRight(value)) throw wrong(at, wanted);
      return value;
    },
  };
}

/** One of a few words. */
export function oneOf<const T extends string>(...words: T[]): Codec<T> {
  return {
    encode: (value) => value,
    decode(json, at) {
      const found = words.find((word) => word === json);
      if (found === undefined) throw wrong(at, `one of ${words.join(", ")}`);
      return found;
    },
  };
}

/** A list of at most `maxItems` values. */
export function list<T>(item: Codec<T>, maxItems: number): Codec<readonly T[]> {
  return {
    encode: (values) => values.map((value) => item.encode(value)),
    decode(json, at) {
      if (!Array.isArray(json) || json.length > maxItems) {
        throw wrong(at, `a list of at most ${maxItems} values`);
      }
      return json.map((value, i) => item.decode(value, `${at}[${i}]`));
    },
  };
}

/** Names to values, at most `maxItems` of them. */
export function record<T>(item: Codec<T>, maxItems: number): Codec<Readonly<Record<string, T>>> {
  return {
    encode: (values) =>
      Object.fromEntries(Object.entries(values).map(([name, v]) => [name, item.encode(v)])),
    decode(json, at) {
      const entries = Object.entries(asObject(json, at));
      if (entries.length > maxItems) throw wrong(at, `at most ${maxItems} fields`);
      return Object.fromEntries(
        entries.map(([name, v]) => [name, item.decode(v, `${at}.${name}`)]),
      );
    },
  };
}

/** A field that may be missing. */
export function optional<T>(codec: Codec<T>): Codec<T> {
  return { ...codec, isOptional: true };
}

/** A structure, field by field; fields without a codec are ignored. */
export function object<T extends object>(fields: Fields<T>): Codec<T> {
  const entries = Object.entries(fields) as [keyof T & string, Codec<unknown>][];
  return {
    encode(value) {
      const json: Record<string, unknown> = {};
      for (const [name, codec] of entries) {
        const field = value[name];
        if (field !== undefined) json[name] = codec.encode(field);
      }
      return json;
    },
    decode(json, at) {
      const source = asObject(json, at);
      const value: Record<string, unknown> = {};
      for (const [name, codec] of entries) {
        // Own fields only: "constructor" and the like must not come from the prototype.
        const field = Object.hasOwn(source, name) ? source[name] : undefined;
        if (field !== undefined) value[name] = codec.decode(field, `${at}.${name}`);
        else if (!codec.isOptional) throw wrong(`${at}.${name}`, "it to be there");
      }
      // Every required field was decoded by the codec of its declared type just above.
      return value as T;
    },
  };
}

function asObject(json: unknown, at: string): Record<string, unknown> {
  if (typeof json !== "object" || json === null || Array.isArray(json)) {
    throw wrong(at, "an object");
  }
  return json as Record<string, unknown>;
}
