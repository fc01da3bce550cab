import { deepStrictEqual, strictEqual, throws } from "node:assert/strict";
import { Mem, type Pointer } from "../../ffi/memory.ts";

/** On both sides of where remembered pointers change their page. */
const SIZES = [8, 1024, 1032, 3000];

function addressOf(pointer: Pointer): bigint {
  return Deno.UnsafePointer.value(pointer);
}

function placesOf({ u8: { length } }: Mem): number[] {
  const places = [0, 1, 7, 1023, 1024, 1025, 2047, 2048, length - 1, length];
  return [...new Set(places)].filter((place) => place <= length);
}

Deno.test("Mem.at() makes a pointer to each place once", () => {
  for (const size of SIZES) {
    const memory = new Mem(size);
    const base = addressOf(memory.pointer(0));
    const first = placesOf(memory).map((place) => memory.at(place));
    for (const [i, place] of placesOf(memory).entries()) {
      strictEqual(addressOf(first[i]!), base + BigInt(place), `${place} of ${size}`);
      strictEqual(memory.at(place), first[i], `${place} of ${size}, again`);
    }
    strictEqual(new Set(first).size, first.length);
  }
});

Deno.test("Mem.at() points into its own memory only", () => {
  const [one, other] = [new Mem(2048), new Mem(2048)];
  one.u8[1030] = 1;
  other.u8[1030] = 2;
  const read = (pointer: Pointer) => new Deno.UnsafePointerView(pointer!).getUint8();
  deepStrictEqual([read(one.at(1030)), read(other.at(1030)), read(one.at(1031))], [1, 2, 0]);
});

Deno.test("Mem.putAddress() stores the address that a pointer has", () => {
  for (const size of SIZES) {
    const memory = new Mem(size);
    for (const place of placesOf(memory)) {
      const target = new Uint32Array(4).fill(0x5555_5555);
      memory.putAddress(place, target, 1);
      const [before, low, high, after] = target;
      strictEqual(BigInt(high!) << 32n | BigInt(low!), addressOf(memory.at(place)));
      deepStrictEqual([before, after], [0x5555_5555, 0x5555_5555]);
    }
  }
});

Deno.test("Mem makes no pointer to a place outside", () => {
  for (const size of SIZES) {
    const memory = new Mem(size);
    const { length } = memory.u8;
    for (const place of [-1, -1024, length + 1, length + 1024, length + 5000, 2 ** 31]) {
      throws(() => memory.pointer(place), RangeError, `pointer(${place}) of ${size}`);
      for (let times = 0; times < 2; times++) {
        throws(() => memory.at(place), RangeError, `at(${place}) of ${size}`);
      }
    }
  }
});
