/**
 * PCP and NAT-PMP as ways to ask for a port mapping.
 *
 * @module
 */

import type { Clock } from "../base/clock.ts";
import { randomBytes } from "../crypto/random.ts";
import { type Endpoint, equalEndpoints, type IpAddress } from "../net/endpoint.ts";
import { formatIpAddress, parseIpAddress } from "../net/ip_address.ts";
import {
  type Answer,
  decodeNatPmpAddress,
  decodeNatPmpMap,
  decodePcpMap,
  encodeNatPmpAddress,
  encodeNatPmpMap,
  encodePcpMap,
  PCP_NONCE_LENGTH,
  PORT_CONTROL_PORT,
} from "./port_control.ts";
import type { MappingProtocol, MapRequest } from "./port_mapping.ts";
import { askByUdp } from "./udp_asking.ts";

/** When a question is asked, from the first time on; RFC 6886 §3.1, given up sooner. */
const ASK_AT_MS = [0, 250, 750];
/** When it is given up. */
const GIVE_UP_MS = 1_750;

/**
 * Asks a gateway one thing until it answers.
 *
 * @param read Reads an answer; `undefined` for what is none.
 * @returns `undefined` if no answer came.
 */
export type Exchange = <T>(
  to: Endpoint,
  from: IpAddress,
  question: Uint8Array,
  read: (datagram: Uint8Array) => T | undefined,
) => Promise<T | undefined>;

/** PCP (RFC 6887). */
export function pcp(exchange: Exchange, random = randomBytes): MappingProtocol {
  const nonce = random(PCP_NONCE_LENGTH);
  return {
    name: "pcp",
    async request({ gateway, local, port, previous, lifetimeSeconds }: MapRequest) {
      const request = {
        nonce,
        client: local,
        internalPort: port,
        // A removal names no address (§15.1).
        suggested: lifetimeSeconds === 0
          ? undefined
          : previous ?? { address: new Uint8Array(local.length), port },
        lifetimeSeconds,
      };
      const to = { address: gateway, port: PORT_CONTROL_PORT };
      const read = (datagram: Uint8Array) => decodePcpMap(datagram, request);
      return valueOf(await exchange(to, local, encodePcpMap(request), read));
    },
  };
}

/** NAT-PMP (RFC 6886); IPv4 only. */
export function natPmp(exchange: Exchange): MappingProtocol {
  return {
    name: "nat-pmp",
    async request({ gateway, local, port, previous, lifetimeSeconds }: MapRequest) {
      if (gateway.length !== 4) return undefined;
      const to = { address: gateway, port: PORT_CONTROL_PORT };
      const suggested = lifetimeSeconds === 0 ? 0 : previous?.port ?? port;
      const question = encodeNatPmpMap(port, suggested, lifetimeSeconds);
      const read = (datagram: Uint8Array) => decodeNatPmpMap(datagram, port);
      const grant = valueOf(await exchange(to, local, question, read));
      if (grant === undefined || lifetimeSeconds === 0) return undefined;
      const address = valueOf(
        await exchange(to, local, encodeNatPmpAddress(), decodeNatPmpAddress),
      );
      return address && { ...grant, external: { address, port: grant.externalPort } };
    },
  };
}

/** Asks over a socket of its own, and heeds only what comes from the very endpoint that was asked. */
export function udpExchange(clock: Clock): Exchange {
  return (to, from, question, read) => {
    const hostname = formatIpAddress(to.address);
    return askByUdp({
      clock,
      from,
      askAtMs: ASK_AT_MS,
      giveUpMs: GIVE_UP_MS,
      questions: [{
        datagram: question,
        to: { transport: "udp", hostname, port: to.port },
      }],
      read: (datagram, sender) => {
        const source = { address: parseIpAddress(sender.hostname), port: sender.port };
        return equalEndpoints(source, to) ? read(datagram) : undefined;
      },
    });
  };
}

function valueOf<T>(answer: Answer<T> | undefined): T | undefined {
  return answer !== undefined && "value" in answer ? answer.value : undefined;
}
