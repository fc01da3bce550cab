// BLAKE2s (RFC 7693) in AssemblyScript: the four rows of the working vector are four SIMD vectors.
// Compiled by tests/vectors/wasm_build.ts.
//
// Memory (the caller copies in and out, see ../keyed_blake2s.ts):
//
//    1024 160   message schedule, from the module
//    2048  64   key, padded with zeros; overwritten with zeros by hash()
//    2112  32   hash
//    2176  64   last block, padded with zeros
//   65536       message, at most 65536 bytes
//
// No branch and no address depends on the key or the message, only on lengths.

const KEY: usize = 2048;
const HASH: usize = 2112;
const LAST: usize = 2176;
const MESSAGE: usize = 65536;

// RFC 7693 section 2.7, as places in a block in bytes.
// deno-fmt-ignore
const SIGMA: usize = memory.data<u8>([
   0,  4,  8, 12, 16, 20, 24, 28, 32, 36, 40, 44, 48, 52, 56, 60,
  56, 40, 16, 32, 36, 60, 52, 24,  4, 48,  0,  8, 44, 28, 20, 12,
  44, 32, 48,  0, 20,  8, 60, 52, 40, 56, 12, 24, 28,  4, 36, 16,
  28, 36, 12,  4, 52, 48, 44, 56,  8, 24, 20, 40, 16,  0, 60, 32,
  36,  0, 20, 28,  8, 16, 40, 60, 56,  4, 44, 48, 24, 32, 12, 52,
   8, 48, 24, 40,  0, 44, 32, 12, 16, 52, 28, 20, 60, 56,  4, 36,
  48, 20,  4, 60, 56, 52, 16, 40,  0, 28, 24, 12, 36,  8, 32, 44,
  52, 44, 28, 56, 48,  4, 12, 36, 20,  0, 60, 16, 32, 24,  8, 40,
  24, 60, 56, 36, 44, 12,  0, 32, 48,  8, 52, 28,  4, 16, 40, 20,
  40,  8, 32, 16, 28, 24,  4, 20, 60, 44, 36, 56, 12, 48, 52,  0,
]);

// Rotations to the right. Those by whole bytes are one shuffle.
@inline function rotate16(a: v128): v128 { return v128.shuffle<u8>(a, a, 2, 3, 0, 1, 6, 7, 4, 5, 10, 11, 8, 9, 14, 15, 12, 13); }
@inline function rotate12(a: v128): v128 { return v128.or(i32x4.shr_u(a, 12), i32x4.shl(a, 20)); }
@inline function rotate8(a: v128): v128 { return v128.shuffle<u8>(a, a, 1, 2, 3, 0, 5, 6, 7, 4, 9, 10, 11, 8, 13, 14, 15, 12); }
@inline function rotate7(a: v128): v128 { return v128.or(i32x4.shr_u(a, 7), i32x4.shl(a, 25)); }
// One word of the block for each of four columns or diagonals.
@inline function words(block: usize, schedule: usize): v128 {
  return i32x4.replace_lane(i32x4.replace_lane(i32x4.replace_lane(
    i32x4.splat(load<i32>(block + load<u8>(schedule))),
    1, load<i32>(block + load<u8>(schedule, 2))),
    2, load<i32>(block + load<u8>(schedule, 4))),
    3, load<i32>(block + load<u8>(schedule, 6)));
}

// Section 3.2; `count` is the number of bytes up to this block's end, `isLast` 0 or -1.
function compress(block: usize, count: u32, isLast: i32): void {
  const h0 = v128.load(HASH), h1 = v128.load(HASH + 16);
  let a = h0, b = h1;
  let c = i32x4(0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a);
  let d = v128.xor(i32x4(0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19), i32x4.replace_lane(i32x4.replace_lane(i32x4.splat(0), 0, count), 2, isLast));
  for (let s = SIGMA; s < SIGMA + 160; s += 16) {
    // columns
    a = i32x4.add(i32x4.add(a, b), words(block, s)); d = rotate16(v128.xor(d, a));
    c = i32x4.add(c, d); b = rotate12(v128.xor(b, c));
    a = i32x4.add(i32x4.add(a, b), words(block, s + 1)); d = rotate8(v128.xor(d, a));
    c = i32x4.add(c, d); b = rotate7(v128.xor(b, c));
    // diagonals
    b = v128.shuffle<i32>(b, b, 1, 2, 3, 0); c = v128.shuffle<i32>(c, c, 2, 3, 0, 1); d = v128.shuffle<i32>(d, d, 3, 0, 1, 2);
    a = i32x4.add(i32x4.add(a, b), words(block, s + 8)); d = rotate16(v128.xor(d, a));
    c = i32x4.add(c, d); b = rotate12(v128.xor(b, c));
    a = i32x4.add(i32x4.add(a, b), words(block, s + 9)); d = rotate8(v128.xor(d, a));
    c = i32x4.add(c, d); b = rotate7(v128.xor(b, c));
    b = v128.shuffle<i32>(b, b, 3, 0, 1, 2); c = v128.shuffle<i32>(c, c, 2, 3, 0, 1); d = v128.shuffle<i32>(d, d, 1, 2, 3, 0);
  }
  v128.store(HASH, v128.xor(h0, v128.xor(a, c)));
  v128.store(HASH + 16, v128.xor(h1, v128.xor(b, d)));
}

// Hashes n bytes at MESSAGE under the key at KEY, of 1 to 32 bytes with zeros behind it, to
// outLength bytes at HASH.
export function hash(keyLength: u32, outLength: u32, n: u32): void {
  v128.store(HASH, i32x4(0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a));
  v128.store(HASH + 16, i32x4(0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19));
  store<u32>(HASH, load<u32>(HASH) ^ 0x01010000 ^ (keyLength << 8) ^ outLength);
  compress(KEY, 64, n === 0 ? -1 : 0);
  memory.fill(KEY, 0, 64);
  if (n === 0) return;
  let at: u32 = 0;
  for (; n - at > 64; at += 64) compress(MESSAGE + at, 128 + at, 0);
  memory.fill(LAST, 0, 64);
  memory.copy(LAST, MESSAGE + at, n - at);
  compress(LAST, 64 + n, -1);
}
