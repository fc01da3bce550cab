/**
 * Vectors of others, which are not part of this tree: they are read from the folder that the
 * environment variable TUNNELMESH_VECTORS names. Their tests are ignored, by name, without it.
 *
 * @module
 */

const folder = Deno.env.get("TUNNELMESH_VECTORS");

/**
 * Declares a test over one file.
 *
 * @param name Name of the test.
 * @param file Name of the file in the folder.
 * @param body Gets the parsed JSON.
 */
export function testWithVectors<T>(name: string, file: string, body: (vectors: T) => void): void {
  Deno.test({
    name,
    ignore: folder === undefined,
    async fn() {
      body(JSON.parse(await Deno.readTextFile(`${folder}/${file}`)));
    },
  });
}
