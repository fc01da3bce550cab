/**
 * Compiles lib/crypto/wasm: the WebAssembly module is committed beside its source, and a test holds
 * the two together. After a change of the source:
 *
 * ```sh
 * deno run -A tests/vectors/wasm_build.ts
 * ```
 *
 * @module
 */

/** Pinned: another version may order the same code differently. */
const COMPILER = "npm:assemblyscript@0.28.20/asc";

// deno-fmt-ignore
const OPTIONS = [
  "-O3", "--noAssert", "--runtime", "stub", "--enable", "simd",
  "--initialMemory", "8", "--maximumMemory", "8", "--memoryBase", "65536",
];

const FOLDER = new URL("../../lib/crypto/wasm/", import.meta.url);
const SOURCE = new URL("chacha20_poly1305.as", FOLDER);

/** Where the compiled module is kept. */
export const COMPILED = new URL("chacha20_poly1305.wasm", FOLDER);

/**
 * Compiles the source.
 *
 * @returns The module.
 * @throws {Error} If the compiler cannot be had or refuses the source.
 */
export async function compileAead(): Promise<Uint8Array> {
  const folder = await Deno.makeTempDir();
  try {
    // The compiler takes no other extension; in the tree this one would make it a TypeScript file.
    await Deno.copyFile(SOURCE, `${folder}/source.ts`);
    const { success, stderr } = await new Deno.Command(Deno.execPath(), {
      args: ["run", "-A", "--no-config", COMPILER, "source.ts", "-o", "out.wasm", ...OPTIONS],
      cwd: folder,
    }).output();
    if (!success) throw new Error(`Cannot compile: ${new TextDecoder().decode(stderr)}`);
    return await Deno.readFile(`${folder}/out.wasm`);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

if (import.meta.main) await Deno.writeFile(COMPILED, await compileAead());
