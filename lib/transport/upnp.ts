/**
 * UPnP Internet Gateway Device, versions 1 and 2 (UPnP Device Architecture 1.1; WANIPConnection:1 and
 * :2, WANPPPConnection:1), as a way to ask for a port mapping.
 *
 * Anybody on the local network can answer a search, so only the gateway of the route table is heeded,
 * and only URLs that lead to it are fetched: directly, past any proxy, without redirections, and not
 * more than a quarter of a MiB.
 *
 * @module
 */

import { Buffer } from "node:buffer";
import { request as httpRequest } from "node:http";
import type { Clock } from "../base/clock.ts";
import type { Endpoint, IpAddress } from "../net/endpoint.ts";
import { formatIpAddress, parseIpAddress } from "../net/ip_address.ts";
import type { Mapped, MappingProtocol, MapRequest } from "./port_mapping.ts";
import { askByUdp } from "./udp_asking.ts";

const SSDP = { hostname: "239.255.255.250", port: 1900 } as const;
const DEVICES = [1, 2].map((version) =>
  `urn:schemas-upnp-org:device:InternetGatewayDevice:${version}`
);
/** Services that map ports, the best first. */
const SERVICES = ["WANIPConnection:2", "WANIPConnection:1", "WANPPPConnection:1"].map((name) =>
  `urn:schemas-upnp-org:service:${name}`
);
/** When a search is sent; gateways answer within MX, one second. */
const SEARCH_AT_MS = [0, 600];
const SEARCH_GIVE_UP_MS = 2_500;
const HTTP_TIMEOUT_MS = 3_000;
const BODY_MAX_BYTES = 256 * 1024;
/** Another node of this network has the port outside (ConflictInMappingEntry). */
const CONFLICT = 718;
/** The gateway maps for ever or not at all (OnlyPermanentLeasesSupported). */
const ONLY_PERMANENT = 725;
const TRIES = 4;
/** What gateways list beside the mapping. */
const DESCRIPTION = "tunnelmesh";

/** A service that maps ports. */
interface Control {
  readonly url: URL;
  readonly service: string;
}

/** What an action ended with. */
type Result = { readonly values: Readonly<Record<string, string>> } | { readonly error: number };

/**
 * UPnP.
 *
 * @param clock Times the search.
 * @param random A number from 0 to 1, for another port where one is taken.
 */
export function upnp(clock: Clock, random: () => number = Math.random): MappingProtocol {
  let known: Control | undefined;
  return {
    name: "upnp",
    async request(request: MapRequest): Promise<Mapped | undefined> {
      if (request.gateway.length !== 4) return undefined;
      try {
        known ??= await findControl(clock, request);
        if (known === undefined) return undefined;
        return await (request.lifetimeSeconds === 0
          ? remove(known, request)
          : map(known, request, random));
      } catch (error) {
        known = undefined; // it may have another URL by now
        throw error;
      }
    },
  };
}

async function map(
  control: Control,
  request: MapRequest,
  random: () => number,
): Promise<Mapped | undefined> {
  let { lifetimeSeconds } = request;
  let port = request.previous?.port ?? request.port;
  for (let tries = 0; tries < TRIES; tries++) {
    const result = await act(control, request.local, "AddPortMapping", {
      NewRemoteHost: "",
      NewExternalPort: port,
      NewProtocol: "UDP",
      NewInternalPort: request.port,
      NewInternalClient: formatIpAddress(request.local),
      NewEnabled: 1,
      NewPortMappingDescription: DESCRIPTION,
      NewLeaseDuration: lifetimeSeconds,
    });
    if ("values" in result) {
      const external = await externalEndpoint(control, request.local, port);
      // A permanent one is looked after like any other, in case the gateway forgets it.
      return external && { external, lifetimeSeconds: request.lifetimeSeconds };
    }
    if (result.error === ONLY_PERMANENT) lifetimeSeconds = 0;
    else if (result.error === CONFLICT) port = 1024 + Math.floor(random() * (65536 - 1024));
    else return undefined;
  }
  return undefined;
}

async function remove(control: Control, { local, previous }: MapRequest): Promise<undefined> {
  if (previous === undefined) return;
  await act(control, local, "DeletePortMapping", {
    NewRemoteHost: "",
    NewExternalPort: previous.port,
    NewProtocol: "UDP",
  });
}

async function externalEndpoint(
  control: Control,
  local: IpAddress,
  port: number,
): Promise<Endpoint | undefined> {
  const result = await act(control, local, "GetExternalIPAddress", {});
  const text = "values" in result ? result.values.NewExternalIPAddress : undefined;
  return text ? { address: parseIpAddress(text), port } : undefined;
}

/** Calls an action of the service. */
async function act(
  { url, service }: Control,
  local: IpAddress,
  action: string,
  args: Readonly<Record<string, string | number>>,
): Promise<Result> {
  const inside = Object.entries(args).map(([name, value]) => `<${name}>${value}</${name}>`).join(
    "",
  );
  const body = `<?xml version="1.0"?>\r\n` +
    `<s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/" ` +
    `s:encodingStyle="http://schemas.xmlsoap.org/soap/encoding/"><s:Body>` +
    `<u:${action} xmlns:u="${service}">${inside}</u:${action}></s:Body></s:Envelope>\r\n`;
  const { status, text } = await http(url, local, body, {
    "Content-Type": 'text/xml; charset="utf-8"',
    SOAPAction: `"${service}#${action}"`,
  });
  const leaves = await leavesOf(text);
  if (status === 200) return { values: leaves };
  return { error: Number(leaves.errorCode ?? status) };
}

/** Searches for the gateway and reads which of its services maps ports. */
async function findControl(clock: Clock, request: MapRequest): Promise<Control | undefined> {
  const location = await search(clock, request);
  if (location === undefined) return undefined;
  const { status, text } = await http(location, request.local);
  if (status !== 200) return undefined;
  const services = await servicesOf(text);
  for (const service of SERVICES) {
    const path = services.get(service);
    if (path === undefined) continue;
    const url = new URL(path, location);
    return isOfGateway(url, request.gateway) ? { url, service } : undefined;
  }
  return undefined;
}

/** Asks everybody, and the gateway by itself, where its description is. */
function search(clock: Clock, { gateway, local }: MapRequest): Promise<URL | undefined> {
  const hostname = formatIpAddress(gateway);
  const questions = DEVICES.flatMap((device) => {
    const datagram = new TextEncoder().encode(
      "M-SEARCH * HTTP/1.1\r\nHOST: 239.255.255.250:1900\r\n" +
        `MAN: "ssdp:discover"\r\nMX: 1\r\nST: ${device}\r\n\r\n`,
    );
    return [SSDP, { hostname, port: SSDP.port }].map((to) => ({
      datagram,
      to: { transport: "udp" as const, ...to },
    }));
  });
  return askByUdp({
    clock,
    from: local,
    askAtMs: SEARCH_AT_MS,
    giveUpMs: SEARCH_GIVE_UP_MS,
    questions,
    read: (datagram, sender) => {
      if (sender.hostname !== hostname) return undefined;
      const location = locationOf(new TextDecoder().decode(datagram));
      return location !== undefined && isOfGateway(location, gateway) ? location : undefined;
    },
  });
}

/**
 * Reads an answer to a search.
 *
 * @returns `undefined` unless a gateway says where its description is.
 */
export function locationOf(text: string): URL | undefined {
  const [status, ...lines] = text.split(/\r?\n/);
  if (!/^HTTP\/1\.[01] 200\b/.test(status ?? "")) return undefined;
  const headers = new Map(lines.map((line) => {
    const colon = line.indexOf(":");
    return [line.slice(0, colon).trim().toLowerCase(), line.slice(colon + 1).trim()];
  }));
  if (!DEVICES.includes(headers.get("st") ?? "")) return undefined;
  return URL.parse(headers.get("location") ?? "") ?? undefined;
}

function isOfGateway(url: URL, gateway: IpAddress): boolean {
  return url.protocol === "http:" && url.hostname === formatIpAddress(gateway);
}

/** One request and its answer. Not `fetch`, which heeds proxies and cannot choose the own address. */
function http(
  url: URL,
  local: IpAddress,
  body?: string,
  headers: Readonly<Record<string, string>> = {},
): Promise<{ status: number; text: string }> {
  return new Promise((resolve, reject) => {
    const bytes = new TextEncoder().encode(body ?? "");
    const request = httpRequest(url, {
      method: body === undefined ? "GET" : "POST",
      localAddress: formatIpAddress(local),
      headers: { ...headers, "Content-Length": bytes.length, Connection: "close" },
      agent: false,
    }, (response) => {
      const parts: Uint8Array[] = [];
      let length = 0;
      response.on("data", (part: Uint8Array) => {
        length += part.length;
        if (length > BODY_MAX_BYTES) request.destroy(new Error("The gateway's answer is too long"));
        else parts.push(part);
      });
      response.on("error", reject);
      response.on("end", () => {
        clearTimeout(timer);
        resolve({ status: response.statusCode ?? 0, text: Buffer.concat(parts).toString("utf8") });
      });
    });
    const timer = setTimeout(
      () => request.destroy(new Error("The gateway takes too long")),
      HTTP_TIMEOUT_MS,
    );
    request.on("error", (error) => {
      clearTimeout(timer);
      reject(error);
    });
    request.end(bytes);
  });
}

/** Loaded when first used: most nodes never meet a gateway that speaks XML. */
async function parseXml(text: string): Promise<unknown> {
  const { XMLParser } = await import("fast-xml-parser");
  const parser = new XMLParser({
    removeNSPrefix: true,
    parseTagValue: false,
    processEntities: false,
  });
  return parser.parse(text);
}

/**
 * Reads a gateway's description.
 *
 * @param text XML, from whoever is the gateway.
 * @returns Control URLs by service type, wherever in the tree of devices they stand.
 * @throws {Error} If it is no XML.
 */
export async function servicesOf(text: string): Promise<Map<string, string>> {
  const found = new Map<string, string>();
  visit(await parseXml(text), (node) => {
    const { serviceType, controlURL } = node;
    if (typeof serviceType === "string" && typeof controlURL === "string") {
      found.set(serviceType.trim(), controlURL.trim());
    }
  });
  return found;
}

/**
 * Reads the answer to an action.
 *
 * @param text XML, from whoever is the gateway.
 * @returns All texts by the name of their element.
 * @throws {Error} If it is no XML.
 */
export async function leavesOf(text: string): Promise<Record<string, string>> {
  const leaves: Record<string, string> = {};
  visit(await parseXml(text), (node) => {
    for (const [name, value] of Object.entries(node)) {
      if (typeof value === "string") leaves[name] = value.trim();
    }
  });
  return leaves;
}

function visit(tree: unknown, see: (node: Readonly<Record<string, unknown>>) => void): void {
  if (typeof tree !== "object" || tree === null) return;
  if (!Array.isArray(tree)) see(tree as Record<string, unknown>);
  for (const value of Object.values(tree)) visit(value, see);
}
