// ChaCha20-Poly1305 (RFC 8439) in AssemblyScript: four ChaCha20 blocks at a time, one per SIMD lane,
// and Poly1305 in limbs of 26 bits. Compiled by tests/vectors/wasm_build.ts.
//
// Memory (the caller copies in and out, see ../transport_aead.ts):
//
//    1024  32   key, read by init()
//    1088  64   ChaCha20 state of one block, its counter word unused
//    1152 256   four blocks of key stream
//    1408  32   scratch for Poly1305's last block, then the tag that open() works out
//   65536       free for the caller
//
// No branch and no address depends on the key or the plaintext, only on lengths.

const KEY: usize = 1024;
const STATE: usize = 1088;
const KEY_STREAM: usize = 1152;
const SCRATCH: usize = 1408;

// RFC 8439 section 2.1. Rotations by whole bytes are one shuffle.
@inline function rotate16(a: v128): v128 { return v128.shuffle<u8>(a, a, 2, 3, 0, 1, 6, 7, 4, 5, 10, 11, 8, 9, 14, 15, 12, 13); }
@inline function rotate8(a: v128): v128 { return v128.shuffle<u8>(a, a, 3, 0, 1, 2, 7, 4, 5, 6, 11, 8, 9, 10, 15, 12, 13, 14); }
@inline function rotate12(a: v128): v128 { return v128.or(i32x4.shl(a, 12), i32x4.shr_u(a, 20)); }
@inline function rotate7(a: v128): v128 { return v128.or(i32x4.shl(a, 7), i32x4.shr_u(a, 25)); }
@inline function put(to: usize, from: usize, offset: usize, stream: v128): void { v128.store(to + offset, v128.xor(v128.load(from + offset), stream)); }

// Section 2.3 for the blocks `counter` to `counter + 3`. Writes from ^ key stream, 256 bytes, to `to`;
// with `to` 0 the key stream itself to KEY_STREAM. Vector xN holds word N of all four blocks: they are
// sixteen locals, so the rounds are written out.
function blocks4(counter: i32, to: usize, from: usize): void {
  const counters = i32x4.add(i32x4.splat(counter), i32x4(0, 1, 2, 3));
  let x12 = counters;
  let x0 = i32x4.splat(load<i32>(STATE + 0));
  let x1 = i32x4.splat(load<i32>(STATE + 4));
  let x2 = i32x4.splat(load<i32>(STATE + 8));
  let x3 = i32x4.splat(load<i32>(STATE + 12));
  let x4 = i32x4.splat(load<i32>(STATE + 16));
  let x5 = i32x4.splat(load<i32>(STATE + 20));
  let x6 = i32x4.splat(load<i32>(STATE + 24));
  let x7 = i32x4.splat(load<i32>(STATE + 28));
  let x8 = i32x4.splat(load<i32>(STATE + 32));
  let x9 = i32x4.splat(load<i32>(STATE + 36));
  let x10 = i32x4.splat(load<i32>(STATE + 40));
  let x11 = i32x4.splat(load<i32>(STATE + 44));
  let x13 = i32x4.splat(load<i32>(STATE + 52)), x14 = i32x4.splat(load<i32>(STATE + 56)), x15 = i32x4.splat(load<i32>(STATE + 60));
  for (let i = 0; i < 10; i++) {
    // columns
    x0 = i32x4.add(x0, x4); x12 = rotate16(v128.xor(x12, x0));
    x8 = i32x4.add(x8, x12); x4 = rotate12(v128.xor(x4, x8));
    x0 = i32x4.add(x0, x4); x12 = rotate8(v128.xor(x12, x0));
    x8 = i32x4.add(x8, x12); x4 = rotate7(v128.xor(x4, x8));
    x1 = i32x4.add(x1, x5); x13 = rotate16(v128.xor(x13, x1));
    x9 = i32x4.add(x9, x13); x5 = rotate12(v128.xor(x5, x9));
    x1 = i32x4.add(x1, x5); x13 = rotate8(v128.xor(x13, x1));
    x9 = i32x4.add(x9, x13); x5 = rotate7(v128.xor(x5, x9));
    x2 = i32x4.add(x2, x6); x14 = rotate16(v128.xor(x14, x2));
    x10 = i32x4.add(x10, x14); x6 = rotate12(v128.xor(x6, x10));
    x2 = i32x4.add(x2, x6); x14 = rotate8(v128.xor(x14, x2));
    x10 = i32x4.add(x10, x14); x6 = rotate7(v128.xor(x6, x10));
    x3 = i32x4.add(x3, x7); x15 = rotate16(v128.xor(x15, x3));
    x11 = i32x4.add(x11, x15); x7 = rotate12(v128.xor(x7, x11));
    x3 = i32x4.add(x3, x7); x15 = rotate8(v128.xor(x15, x3));
    x11 = i32x4.add(x11, x15); x7 = rotate7(v128.xor(x7, x11));
    // diagonals
    x0 = i32x4.add(x0, x5); x15 = rotate16(v128.xor(x15, x0));
    x10 = i32x4.add(x10, x15); x5 = rotate12(v128.xor(x5, x10));
    x0 = i32x4.add(x0, x5); x15 = rotate8(v128.xor(x15, x0));
    x10 = i32x4.add(x10, x15); x5 = rotate7(v128.xor(x5, x10));
    x1 = i32x4.add(x1, x6); x12 = rotate16(v128.xor(x12, x1));
    x11 = i32x4.add(x11, x12); x6 = rotate12(v128.xor(x6, x11));
    x1 = i32x4.add(x1, x6); x12 = rotate8(v128.xor(x12, x1));
    x11 = i32x4.add(x11, x12); x6 = rotate7(v128.xor(x6, x11));
    x2 = i32x4.add(x2, x7); x13 = rotate16(v128.xor(x13, x2));
    x8 = i32x4.add(x8, x13); x7 = rotate12(v128.xor(x7, x8));
    x2 = i32x4.add(x2, x7); x13 = rotate8(v128.xor(x13, x2));
    x8 = i32x4.add(x8, x13); x7 = rotate7(v128.xor(x7, x8));
    x3 = i32x4.add(x3, x4); x14 = rotate16(v128.xor(x14, x3));
    x9 = i32x4.add(x9, x14); x4 = rotate12(v128.xor(x4, x9));
    x3 = i32x4.add(x3, x4); x14 = rotate8(v128.xor(x14, x3));
    x9 = i32x4.add(x9, x14); x4 = rotate7(v128.xor(x4, x9));
  }
  x0 = i32x4.add(x0, i32x4.splat(load<i32>(STATE + 0)));
  x1 = i32x4.add(x1, i32x4.splat(load<i32>(STATE + 4)));
  x2 = i32x4.add(x2, i32x4.splat(load<i32>(STATE + 8)));
  x3 = i32x4.add(x3, i32x4.splat(load<i32>(STATE + 12)));
  x4 = i32x4.add(x4, i32x4.splat(load<i32>(STATE + 16)));
  x5 = i32x4.add(x5, i32x4.splat(load<i32>(STATE + 20)));
  x6 = i32x4.add(x6, i32x4.splat(load<i32>(STATE + 24)));
  x7 = i32x4.add(x7, i32x4.splat(load<i32>(STATE + 28)));
  x8 = i32x4.add(x8, i32x4.splat(load<i32>(STATE + 32)));
  x9 = i32x4.add(x9, i32x4.splat(load<i32>(STATE + 36)));
  x10 = i32x4.add(x10, i32x4.splat(load<i32>(STATE + 40)));
  x11 = i32x4.add(x11, i32x4.splat(load<i32>(STATE + 44)));
  x12 = i32x4.add(x12, counters);
  x13 = i32x4.add(x13, i32x4.splat(load<i32>(STATE + 52)));
  x14 = i32x4.add(x14, i32x4.splat(load<i32>(STATE + 56)));
  x15 = i32x4.add(x15, i32x4.splat(load<i32>(STATE + 60)));
  // Transposed four words at a time: lane n of x0 to x3 is the first quarter of block n.
  let t0: v128, t1: v128, t2: v128, t3: v128;
  if (to === 0) {
    t0 = v128.shuffle<i32>(x0, x1, 0, 4, 1, 5); t1 = v128.shuffle<i32>(x2, x3, 0, 4, 1, 5);
    t2 = v128.shuffle<i32>(x0, x1, 2, 6, 3, 7); t3 = v128.shuffle<i32>(x2, x3, 2, 6, 3, 7);
    v128.store(KEY_STREAM + 0, v128.shuffle<i64>(t0, t1, 0, 2));
    v128.store(KEY_STREAM + 64, v128.shuffle<i64>(t0, t1, 1, 3));
    v128.store(KEY_STREAM + 128, v128.shuffle<i64>(t2, t3, 0, 2));
    v128.store(KEY_STREAM + 192, v128.shuffle<i64>(t2, t3, 1, 3));
    t0 = v128.shuffle<i32>(x4, x5, 0, 4, 1, 5); t1 = v128.shuffle<i32>(x6, x7, 0, 4, 1, 5);
    t2 = v128.shuffle<i32>(x4, x5, 2, 6, 3, 7); t3 = v128.shuffle<i32>(x6, x7, 2, 6, 3, 7);
    v128.store(KEY_STREAM + 16, v128.shuffle<i64>(t0, t1, 0, 2));
    v128.store(KEY_STREAM + 80, v128.shuffle<i64>(t0, t1, 1, 3));
    v128.store(KEY_STREAM + 144, v128.shuffle<i64>(t2, t3, 0, 2));
    v128.store(KEY_STREAM + 208, v128.shuffle<i64>(t2, t3, 1, 3));
    t0 = v128.shuffle<i32>(x8, x9, 0, 4, 1, 5); t1 = v128.shuffle<i32>(x10, x11, 0, 4, 1, 5);
    t2 = v128.shuffle<i32>(x8, x9, 2, 6, 3, 7); t3 = v128.shuffle<i32>(x10, x11, 2, 6, 3, 7);
    v128.store(KEY_STREAM + 32, v128.shuffle<i64>(t0, t1, 0, 2));
    v128.store(KEY_STREAM + 96, v128.shuffle<i64>(t0, t1, 1, 3));
    v128.store(KEY_STREAM + 160, v128.shuffle<i64>(t2, t3, 0, 2));
    v128.store(KEY_STREAM + 224, v128.shuffle<i64>(t2, t3, 1, 3));
    t0 = v128.shuffle<i32>(x12, x13, 0, 4, 1, 5); t1 = v128.shuffle<i32>(x14, x15, 0, 4, 1, 5);
    t2 = v128.shuffle<i32>(x12, x13, 2, 6, 3, 7); t3 = v128.shuffle<i32>(x14, x15, 2, 6, 3, 7);
    v128.store(KEY_STREAM + 48, v128.shuffle<i64>(t0, t1, 0, 2));
    v128.store(KEY_STREAM + 112, v128.shuffle<i64>(t0, t1, 1, 3));
    v128.store(KEY_STREAM + 176, v128.shuffle<i64>(t2, t3, 0, 2));
    v128.store(KEY_STREAM + 240, v128.shuffle<i64>(t2, t3, 1, 3));
    return;
  }
  t0 = v128.shuffle<i32>(x0, x1, 0, 4, 1, 5); t1 = v128.shuffle<i32>(x2, x3, 0, 4, 1, 5);
  t2 = v128.shuffle<i32>(x0, x1, 2, 6, 3, 7); t3 = v128.shuffle<i32>(x2, x3, 2, 6, 3, 7);
  put(to, from, 0, v128.shuffle<i64>(t0, t1, 0, 2));
  put(to, from, 64, v128.shuffle<i64>(t0, t1, 1, 3));
  put(to, from, 128, v128.shuffle<i64>(t2, t3, 0, 2));
  put(to, from, 192, v128.shuffle<i64>(t2, t3, 1, 3));
  t0 = v128.shuffle<i32>(x4, x5, 0, 4, 1, 5); t1 = v128.shuffle<i32>(x6, x7, 0, 4, 1, 5);
  t2 = v128.shuffle<i32>(x4, x5, 2, 6, 3, 7); t3 = v128.shuffle<i32>(x6, x7, 2, 6, 3, 7);
  put(to, from, 16, v128.shuffle<i64>(t0, t1, 0, 2));
  put(to, from, 80, v128.shuffle<i64>(t0, t1, 1, 3));
  put(to, from, 144, v128.shuffle<i64>(t2, t3, 0, 2));
  put(to, from, 208, v128.shuffle<i64>(t2, t3, 1, 3));
  t0 = v128.shuffle<i32>(x8, x9, 0, 4, 1, 5); t1 = v128.shuffle<i32>(x10, x11, 0, 4, 1, 5);
  t2 = v128.shuffle<i32>(x8, x9, 2, 6, 3, 7); t3 = v128.shuffle<i32>(x10, x11, 2, 6, 3, 7);
  put(to, from, 32, v128.shuffle<i64>(t0, t1, 0, 2));
  put(to, from, 96, v128.shuffle<i64>(t0, t1, 1, 3));
  put(to, from, 160, v128.shuffle<i64>(t2, t3, 0, 2));
  put(to, from, 224, v128.shuffle<i64>(t2, t3, 1, 3));
  t0 = v128.shuffle<i32>(x12, x13, 0, 4, 1, 5); t1 = v128.shuffle<i32>(x14, x15, 0, 4, 1, 5);
  t2 = v128.shuffle<i32>(x12, x13, 2, 6, 3, 7); t3 = v128.shuffle<i32>(x14, x15, 2, 6, 3, 7);
  put(to, from, 48, v128.shuffle<i64>(t0, t1, 0, 2));
  put(to, from, 112, v128.shuffle<i64>(t0, t1, 1, 3));
  put(to, from, 176, v128.shuffle<i64>(t2, t3, 0, 2));
  put(to, from, 240, v128.shuffle<i64>(t2, t3, 1, 3));
}

// Poly1305, section 2.5: key r in five limbs and five times r1 to r4, pad p, accumulator h.
let r0: u64, r1: u64, r2: u64, r3: u64, r4: u64, s1: u64, s2: u64, s3: u64, s4: u64;
let p0: u64, p1: u64, h0: u64, h1: u64, h2: u64, h3: u64, h4: u64;

// Section 2.6: the one-time key is the beginning of block 0.
function polyInit(): void {
  const a = load<u64>(KEY_STREAM) & 0x0ffffffc0fffffff, b = load<u64>(KEY_STREAM + 8) & 0x0ffffffc0ffffffc;
  r0 = a & 0x3ffffff; r1 = (a >> 26) & 0x3ffffff; r2 = ((a >> 52) | (b << 12)) & 0x3ffffff; r3 = (b >> 14) & 0x3ffffff; r4 = b >> 40;
  s1 = r1 * 5; s2 = r2 * 5; s3 = r3 * 5; s4 = r4 * 5;
  p0 = load<u64>(KEY_STREAM + 16); p1 = load<u64>(KEY_STREAM + 24);
  h0 = 0; h1 = 0; h2 = 0; h3 = 0; h4 = 0;
}

// h = (h + block) * r for every whole block of 16 bytes.
function polyBlocks(p: usize, n: usize): void {
  let a0 = h0, a1 = h1, a2 = h2, a3 = h3, a4 = h4;
  const R0 = r0, R1 = r1, R2 = r2, R3 = r3, R4 = r4, S1 = s1, S2 = s2, S3 = s3, S4 = s4;
  for (let e = p + (n & ~15); p < e; p += 16) {
    const a = load<u64>(p), b = load<u64>(p, 8);
    a0 += a & 0x3ffffff; a1 += (a >> 26) & 0x3ffffff; a2 += ((a >> 52) | (b << 12)) & 0x3ffffff; a3 += (b >> 14) & 0x3ffffff; a4 += (b >> 40) | 0x1000000;
    const d0 = a0 * R0 + a1 * S4 + a2 * S3 + a3 * S2 + a4 * S1,
      d1 = a0 * R1 + a1 * R0 + a2 * S4 + a3 * S3 + a4 * S2,
      d2 = a0 * R2 + a1 * R1 + a2 * R0 + a3 * S4 + a4 * S3,
      d3 = a0 * R3 + a1 * R2 + a2 * R1 + a3 * R0 + a4 * S4,
      d4 = a0 * R4 + a1 * R3 + a2 * R2 + a3 * R1 + a4 * R0;
    // Two carry chains side by side; limbs may end a little above 26 bits.
    let e1 = d1 + (d0 >> 26), e4 = d4 + (d3 >> 26); a0 = d0 & 0x3ffffff; a3 = d3 & 0x3ffffff;
    let e2 = d2 + (e1 >> 26); a1 = e1 & 0x3ffffff; a0 += (e4 >> 26) * 5; a4 = e4 & 0x3ffffff;
    a3 += e2 >> 26; a2 = e2 & 0x3ffffff; a1 += a0 >> 26; a0 &= 0x3ffffff; a4 += a3 >> 26; a3 &= 0x3ffffff;
  }
  h0 = a0; h1 = a1; h2 = a2; h3 = a3; h4 = a4;
}

// Section 2.8: associated data and ciphertext are each padded with zeros to whole blocks.
function polyPadded(p: usize, n: usize): void {
  polyBlocks(p, n);
  const tail = n & 15;
  if (tail !== 0) {
    v128.store(SCRATCH, i64x2.splat(0));
    memory.copy(SCRATCH, p + (n & ~15), tail);
    polyBlocks(SCRATCH, 16);
  }
}

function polyFinish(adLength: usize, n: usize, tag: usize): void {
  store<u64>(SCRATCH, adLength); store<u64>(SCRATCH + 8, n); polyBlocks(SCRATCH, 16);
  let c: u64 = h1 >> 26; h1 &= 0x3ffffff;
  h2 += c; c = h2 >> 26; h2 &= 0x3ffffff;
  h3 += c; c = h3 >> 26; h3 &= 0x3ffffff;
  h4 += c; c = h4 >> 26; h4 &= 0x3ffffff;
  h0 += c * 5; c = h0 >> 26; h0 &= 0x3ffffff; h1 += c;
  // g = h - p, and h = g if that is not negative, without a branch.
  let g0 = h0 + 5; c = g0 >> 26; g0 &= 0x3ffffff;
  let g1 = h1 + c; c = g1 >> 26; g1 &= 0x3ffffff;
  let g2 = h2 + c; c = g2 >> 26; g2 &= 0x3ffffff;
  let g3 = h3 + c; c = g3 >> 26; g3 &= 0x3ffffff;
  const g4 = h4 + c - 0x4000000;
  const m: u64 = (g4 >> 63) - 1, k = ~m;
  h0 = (h0 & k) | (g0 & m); h1 = (h1 & k) | (g1 & m); h2 = (h2 & k) | (g2 & m); h3 = (h3 & k) | (g3 & m); h4 = (h4 & k) | (g4 & m & 0x3ffffff);
  const low = h0 | (h1 << 26) | (h2 << 52), high = (h2 >> 12) | (h3 << 14) | (h4 << 40), sum = low + p0;
  store<u64>(tag, sum); store<u64>(tag + 8, high + p1 + u64(sum < low));
}

// to = from ^ key stream at `stream`, for less than four blocks.
function xorTail(to: usize, from: usize, stream: usize, n: usize): void {
  let i: usize = 0;
  for (; i + 16 <= n; i += 16) v128.store(to + i, v128.xor(v128.load(from + i), v128.load(stream + i)));
  for (; i < n; i++) store<u8>(to + i, load<u8>(from + i) ^ load<u8>(stream + i));
}

// The blocks 1 to 3 are at KEY_STREAM + 64 already: block 0 was needed for the one-time key.
function xorStream(to: usize, from: usize, n: usize): void {
  const first = n < 192 ? n : 192;
  xorTail(to, from, KEY_STREAM + 64, first);
  let o = first, counter = 4;
  for (; o + 256 <= n; o += 256, counter += 4) blocks4(counter, to + o, from + o);
  if (o < n) { blocks4(counter, 0, 0); xorTail(to + o, from + o, KEY_STREAM, n - o); }
}

// Nonce: four zero bytes, then the counter's halves, little-endian.
function begin(low: u32, high: u32, ad: usize, adLength: usize): void {
  store<u32>(STATE + 56, low); store<u32>(STATE + 60, high);
  blocks4(0, 0, 0); polyInit(); polyPadded(ad, adLength);
}

// Takes the key at KEY for what follows.
export function init(): void {
  store<u32>(STATE, 0x61707865); store<u32>(STATE + 4, 0x3320646e); store<u32>(STATE + 8, 0x79622d32); store<u32>(STATE + 12, 0x6b206574);
  for (let i: usize = 0; i < 32; i += 4) store<u32>(STATE + 16 + i, load<u32>(KEY + i));
  store<u32>(STATE + 52, 0);
}

// Writes n bytes of ciphertext and 16 of tag to `to`, which may be `from`.
export function seal(low: u32, high: u32, to: usize, ad: usize, adLength: usize, from: usize, n: usize): void {
  begin(low, high, ad, adLength);
  xorStream(to, from, n);
  polyPadded(to, n);
  polyFinish(adLength, n, to + n);
}

// Checks the 16 bytes of tag behind n bytes of ciphertext; writes n bytes of plaintext to `to`, which
// may be `from`, and returns 1 only if it is right. Else writes nothing there and returns 0.
export function open(low: u32, high: u32, to: usize, ad: usize, adLength: usize, from: usize, n: usize): i32 {
  begin(low, high, ad, adLength);
  polyPadded(from, n);
  polyFinish(adLength, n, SCRATCH + 16);
  const difference = (load<u64>(SCRATCH + 16) ^ load<u64>(from + n)) | (load<u64>(SCRATCH + 24) ^ load<u64>(from + n + 8));
  if (difference !== 0) return 0;
  xorStream(to, from, n);
  return 1;
}

// Forgets key, key stream and tags.
export function wipe(): void {
  memory.fill(KEY, 0, SCRATCH + 32 - KEY);
  r0 = 0; r1 = 0; r2 = 0; r3 = 0; r4 = 0; s1 = 0; s2 = 0; s3 = 0; s4 = 0;
  p0 = 0; p1 = 0; h0 = 0; h1 = 0; h2 = 0; h3 = 0; h4 = 0;
}
