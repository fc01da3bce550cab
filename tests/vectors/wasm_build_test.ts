import { deepStrictEqual } from "node:assert/strict";
import { compile, fileOf, MODULES } from "./wasm_build.ts";

for (const module of MODULES) {
  Deno.test(`${module.name}.wasm is what its source compiles to`, async () => {
    deepStrictEqual(await compile(module), await Deno.readFile(fileOf(module, "wasm")));
  });
}
