/**
 * Keeps a port mapped until SIGTERM, and writes what arrives at the port, a line each.
 *
 * `port_mapping.ts pcp|nat-pmp|upnp|any GATEWAY LOCAL PORT`
 *
 * @module
 */

import { SYSTEM_CLOCK } from "../../../lib/base/clock.ts";
import { formatEndpoint } from "../../../lib/net/endpoint.ts";
import { parseIpAddress } from "../../../lib/net/ip_address.ts";
import { natPmp, pcp, udpExchange } from "../../../lib/transport/port_control_client.ts";
import { PortMapping } from "../../../lib/transport/port_mapping.ts";
import { upnp } from "../../../lib/transport/upnp.ts";

const [wanted, gateway, local, port] = Deno.args;
const clock = SYSTEM_CLOCK;
const exchange = udpExchange(clock);
const all = [pcp(exchange), natPmp(exchange), upnp(clock)];

const socket = Deno.listenDatagram({ transport: "udp", hostname: "0.0.0.0", port: Number(port) });
const mapping = new PortMapping({
  clock,
  gateway: parseIpAddress(gateway!),
  local: parseIpAddress(local!),
  port: Number(port),
  protocols: all.filter(({ name }) => wanted === "any" || name === wanted),
  changed: () => {
    const { mapped, protocol } = mapping;
    write(`mapped ${mapped && formatEndpoint(mapped)} by ${protocol}`);
  },
});
Deno.addSignalListener("SIGTERM", async () => {
  await mapping.stop();
  write("removed");
  Deno.exit(0);
});
write("started");
for await (const [datagram] of socket) write(`got ${new TextDecoder().decode(datagram).trim()}`);

function write(line: string): void {
  Deno.stdout.writeSync(new TextEncoder().encode(`${line}\n`));
}
