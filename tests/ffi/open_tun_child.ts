/**
 * Opens a TUN device and says how that went: for tests that take something from the process first.
 *
 * @module
 */

import { Poller } from "../../ffi/poller.ts";
import { hasNetAdmin } from "../../ffi/privilege.ts";
import { openTun } from "../../ffi/tun_linux.ts";

const poller = new Poller();
let outcome: string;
try {
  await openTun({ mtu: 1408, poller }).close();
  outcome = "opened";
} catch (error) {
  outcome = (error as Error).message;
}
await poller.close();
await Deno.stdout.write(
  new TextEncoder().encode(JSON.stringify({ outcome, hasNetAdmin: hasNetAdmin() })),
);
