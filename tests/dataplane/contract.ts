/**
 * What every {@linkcode DataPlane} does, whatever moves its packets. Keypairs come without a
 * handshake (tests/fakes/far_end.ts), so that only the data plane is tested.
 *
 * @module
 */

import { ARRIVALS } from "./contract_in.ts";
import { KEYPAIRS } from "./contract_keypairs.ts";
import { MTUS } from "./contract_mtu.ts";
import { DEPARTURES } from "./contract_out.ts";
import {
  OTHER_ID,
  OWN,
  PEER_ID,
  type PlaneBenchFactory,
  prefixes,
  Scene,
} from "./contract_scene.ts";

export type { PlaneBench, PlaneBenchFactory } from "./contract_scene.ts";

/**
 * Registers the contract as tests.
 *
 * @param name What is tested, as it stands in the names of the tests.
 * @param options Passed to `Deno.test`.
 */
export function testDataPlane(
  name: string,
  setUp: PlaneBenchFactory,
  options: { ignore?: boolean } = {},
): void {
  for (const [title, run] of [...DEPARTURES, ...ARRIVALS, ...KEYPAIRS, ...MTUS]) {
    Deno.test({ ...options, name: `${name} ${title}` }, async () => {
      const scene = new Scene();
      scene.bench = await setUp(scene.events);
      try {
        const { plane } = scene;
        plane.setOwnAddresses([OWN[4], OWN[6]]);
        plane.setPeer(PEER_ID, prefixes("100.64.0.2/32", "fd00::2/128", "10.2.0.0/16"));
        plane.setPeer(OTHER_ID, prefixes("100.64.0.3/32", "fd00::3/128"));
        await scene.bench.settle();
        await run(scene);
      } finally {
        await scene.bench.close();
      }
    });
  }
}
