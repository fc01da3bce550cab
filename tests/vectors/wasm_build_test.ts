import { deepStrictEqual } from "node:assert/strict";
import { COMPILED, compileAead } from "./wasm_build.ts";

Deno.test("the committed WebAssembly module is what its source compiles to", async () => {
  deepStrictEqual(await compileAead(), await Deno.readFile(COMPILED));
});
