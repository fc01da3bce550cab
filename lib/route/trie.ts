/**
 * The trie under {@linkcode AllowedIps}: path-compressed, binary, keyed by up to 128 bits.
 *
 * A node is a prefix; a child is a longer prefix that begins with it, on the side of its next bit. A
 * node without a value has two children, the root apart. A key of 32 bits uses the first word.
 *
 * @module
 */

/** A prefix as four 32-bit words, most significant first; bits past `length` are zero. */
export interface PrefixWords {
  readonly w0: number;
  readonly w1: number;
  readonly w2: number;
  readonly w3: number;
  /** 0 to 128. */
  readonly length: number;
}

/** One prefix of the trie. Values may be anything but `undefined`. */
export class TrieNode<T> implements PrefixWords {
  /** What the prefix stands for; `undefined` where it only joins two longer ones. */
  value: T | undefined = undefined;
  /** Longer prefixes whose next bit is 0. */
  zero: TrieNode<T> | undefined = undefined;
  /** Longer prefixes whose next bit is 1. */
  one: TrieNode<T> | undefined = undefined;
  readonly w0: number;
  readonly w1: number;
  readonly w2: number;
  readonly w3: number;
  readonly length: number;

  constructor(words: PrefixWords) {
    this.w0 = words.w0 >>> 0;
    this.w1 = words.w1 >>> 0;
    this.w2 = words.w2 >>> 0;
    this.w3 = words.w3 >>> 0;
    this.length = words.length;
  }
}

/** A trie without prefixes. */
export function newTrie<T>(): TrieNode<T> {
  return new TrieNode<T>({ w0: 0, w1: 0, w2: 0, w3: 0, length: 0 });
}

/** The value of the longest prefix that a key begins with. Allocates nothing. */
export function find<T>(
  root: TrieNode<T>,
  w0: number,
  w1: number,
  w2: number,
  w3: number,
): T | undefined {
  let best: T | undefined = undefined;
  let node: TrieNode<T> | undefined = root;
  while (node !== undefined) {
    // A joining node need not be compared: if the key does not begin with it, it does not begin
    // with what hangs below either.
    if (node.value !== undefined) {
      if (sharedBits(node, w0, w1, w2, w3) < node.length) break;
      best = node.value;
    }
    if (node.length === 128) break;
    node = bitAt(node.length, w0, w1, w2, w3) === 0 ? node.zero : node.one;
  }
  return best;
}

/** Sets the value of a prefix. */
export function insert<T>(root: TrieNode<T>, words: PrefixWords, value: T): void {
  let node = root;
  while (node.length < words.length) {
    const side = sideOf(words, node.length);
    const child: TrieNode<T> | undefined = node[side];
    const shared = child === undefined ? -1 : sharedWith(child, words);
    if (child === undefined) {
      node[side] = new TrieNode<T>(words);
    } else if (shared < child.length) {
      // The child goes on elsewhere: a node where the two part takes its place.
      const fork: TrieNode<T> = new TrieNode<T>(truncate(words, shared));
      fork[sideOf(child, shared)] = child;
      node[side] = fork;
    }
    node = node[side]!;
  }
  node.value = value;
}

/** Removes a prefix's value; one that is not there is fine. */
export function remove<T>(root: TrieNode<T>, words: PrefixWords): void {
  let parent: TrieNode<T> | undefined = undefined;
  let grandparent: TrieNode<T> | undefined = undefined;
  let node: TrieNode<T> | undefined = root;
  while (node !== undefined && node.length < words.length) {
    grandparent = parent;
    parent = node;
    node = node[sideOf(words, node.length)];
  }
  if (node === undefined || node.length !== words.length) return;
  if (sharedWith(node, words) < words.length) return;
  node.value = undefined;
  if (parent !== undefined) contract(parent, node);
  if (grandparent !== undefined) contract(grandparent, parent!);
}

/** Every prefix with a value that lies in a prefix or holds it, shortest first on the way down. */
export function* overlapping<T>(
  root: TrieNode<T>,
  words: PrefixWords,
): Generator<TrieNode<T> & { value: T }> {
  let node: TrieNode<T> | undefined = root;
  while (node !== undefined && node.length < words.length) {
    if (sharedWith(node, words) < node.length) return;
    if (hasValue(node)) yield node;
    node = node[sideOf(words, node.length)];
  }
  if (node !== undefined && sharedWith(node, words) >= words.length) yield* withValues(node);
}

function* withValues<T>(root: TrieNode<T>): Generator<TrieNode<T> & { value: T }> {
  const rest: TrieNode<T>[] = [root];
  for (let node = rest.pop(); node !== undefined; node = rest.pop()) {
    if (hasValue(node)) yield node;
    if (node.one !== undefined) rest.push(node.one);
    if (node.zero !== undefined) rest.push(node.zero);
  }
}

/** Takes a node out of the way that holds nothing and parts nothing. */
function contract<T>(parent: TrieNode<T>, node: TrieNode<T>): void {
  if (node.value !== undefined) return;
  if (node.zero !== undefined && node.one !== undefined) return;
  parent[sideOf(node, parent.length)] = node.zero ?? node.one;
}

function hasValue<T>(node: TrieNode<T>): node is TrieNode<T> & { value: T } {
  return node.value !== undefined;
}

function sideOf(words: PrefixWords, at: number): "zero" | "one" {
  return bitAt(at, words.w0, words.w1, words.w2, words.w3) === 0 ? "zero" : "one";
}

function bitAt(at: number, w0: number, w1: number, w2: number, w3: number): number {
  const word = at < 64 ? (at < 32 ? w0 : w1) : (at < 96 ? w2 : w3);
  return (word >>> (31 - (at & 31))) & 1;
}

/** How many leading bits of both prefixes agree, at most the shorter one's length. */
function sharedWith(a: PrefixWords, b: PrefixWords): number {
  return Math.min(sharedBits(a, b.w0, b.w1, b.w2, b.w3), a.length, b.length);
}

function sharedBits(node: PrefixWords, w0: number, w1: number, w2: number, w3: number): number {
  // Bit operations give signed numbers, so the words are compared by what they differ in.
  let differing = node.w0 ^ w0;
  if (differing !== 0 || node.length <= 32) return Math.clz32(differing);
  differing = node.w1 ^ w1;
  if (differing !== 0 || node.length <= 64) return 32 + Math.clz32(differing);
  differing = node.w2 ^ w2;
  if (differing !== 0 || node.length <= 96) return 64 + Math.clz32(differing);
  return 96 + Math.clz32(node.w3 ^ w3);
}

function truncate(words: PrefixWords, length: number): PrefixWords {
  return {
    w0: words.w0 & wordMask(length),
    w1: words.w1 & wordMask(length - 32),
    w2: words.w2 & wordMask(length - 64),
    w3: words.w3 & wordMask(length - 96),
    length,
  };
}

/** @param bits How many bits of a word belong to the prefix; any number. */
function wordMask(bits: number): number {
  if (bits >= 32) return -1;
  return bits <= 0 ? 0 : -1 << (32 - bits);
}
