/**
 * Compiles lib/crypto/wasm: the WebAssembly modules are committed beside their sources, and a test
 * holds them together. After a change of a source:
 *
 * ```sh
 * deno run -A tests/vectors/wasm_build.ts
 * ```
 *
 * @module
 */

/** Pinned: another version may order the same code differently. */
const COMPILER = "npm:assemblyscript@0.28.20/asc";

const OPTIONS = ["-O3", "--noAssert", "--runtime", "stub", "--enable", "simd"];

/** The modules, with the memory of each: pages, and where its own data stands. */
export const MODULES = [
  { name: "chacha20_poly1305", pages: 8, dataAt: 65536 },
  { name: "blake2s", pages: 2, dataAt: 1024 },
] as const;

/** One of them. */
export type Module = typeof MODULES[number];

/** Where a module is kept: its source, or what that compiles to. */
export function fileOf({ name }: Module, extension: "as" | "wasm"): URL {
  return new URL(`../../lib/crypto/wasm/${name}.${extension}`, import.meta.url);
}

/**
 * Compiles the source of a module.
 *
 * @throws {Error} If the compiler cannot be had or refuses the source.
 */
export async function compile(module: Module): Promise<Uint8Array> {
  const pages = String(module.pages);
  const memory = ["--initialMemory", pages, "--maximumMemory", pages];
  const options = [...OPTIONS, ...memory, "--memoryBase", String(module.dataAt)];
  const folder = await Deno.makeTempDir();
  try {
    // The compiler takes no other extension; in the tree this one would make it a TypeScript file.
    await Deno.copyFile(fileOf(module, "as"), `${folder}/source.ts`);
    const { success, stderr } = await new Deno.Command(Deno.execPath(), {
      args: ["run", "-A", "--no-config", COMPILER, "source.ts", "-o", "out.wasm", ...options],
      cwd: folder,
    }).output();
    if (!success) throw new Error(`Cannot compile: ${new TextDecoder().decode(stderr)}`);
    return await Deno.readFile(`${folder}/out.wasm`);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

if (import.meta.main) {
  for (const module of MODULES) await Deno.writeFile(fileOf(module, "wasm"), await compile(module));
}
