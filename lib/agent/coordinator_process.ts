/**
 * A coordinator as a running process: the coordinator itself, its discovery ports, its own member
 * of the mesh, and the control socket.
 *
 * ```
 * UDP N      types 1 to 6: the member's data socket, which answers discovery too
 * UDP N+1    discovery only: from a second port an agent sees what its NAT does
 * ```
 *
 * @module
 */

import { Netlink } from "../../ffi/netlink.ts";
import { Poller } from "../../ffi/poller.ts";
import { openUdpSocket, type UdpLinux } from "../../ffi/udp_linux.ts";
import { SYSTEM_CLOCK } from "../base/clock.ts";
import { logOf } from "../base/log.ts";
import { VERSION } from "../base/version.ts";
import type { ListenAddress } from "../coordinator/control_listener.ts";
import {
  Coordinator,
  type CoordinatorTls,
  DEFAULT_COORDINATOR_PORT,
} from "../coordinator/coordinator.ts";
import { WorkerListener } from "../coordinator/listener_link.ts";
import { type Endpoint, formatEndpoint } from "../net/endpoint.ts";
import { formatIpAddress, isLoopback, isUnspecified, parseIpAddress } from "../net/ip_address.ts";
import { type IpPrefix, parseIpPrefix } from "../net/ip_prefix.ts";
import { Agent } from "./agent.ts";
import { coordinatorUrlOf, insideOf } from "./coordinator_url.ts";
import { ControlSocketServer } from "./control_socket.ts";
import { adminMethods } from "./coordinator_admin.ts";
import type { DataPlaneWish } from "./data_plane_choice.ts";
import { AgentError } from "./errors.ts";
import { refuseOverlap } from "./interface.ts";
import { MemberListener } from "./member_listener.ts";
import type { TrustMode } from "./peer_trust.ts";
import { toAgentError } from "./syscall_fault.ts";

/** Control socket in the coordinator's state folder. */
export const COORDINATOR_SOCKET = "coordinator.sock";
/** State folder of the member, in the coordinator's. */
export const MEMBER_FOLDER = "member";

const SOFTWARE = `tunnelmesh ${VERSION}`;
const REGISTRY_FILE = "registry.db";
const DEFAULT_RANGE = parseIpPrefix("100.64.0.0/10");
/** An address of the internet; nothing is sent to it, only the way there is looked up. */
const FAR_AWAY = Uint8Array.of(192, 0, 2, 1);

const log = logOf("coordinator");

/** What a coordinator process starts with. */
export interface CoordinatorProcessOptions {
  /** State folder. */
  readonly state: string;
  /** Where to take control connections. @default every address, port 8443 */
  readonly listen?: readonly ListenAddress[] | undefined;
  /** First UDP port; the next one is used too. @default {8443} */
  readonly udpPort?: number | undefined;
  /** Name of the member. @default the host's name */
  readonly name?: string | undefined;
  /** Range of IPv4 addresses, fixed by the first start. @default 100.64.0.0/10 */
  readonly range?: IpPrefix | undefined;
  /** PEM texts, or plain HTTP. @default a certificate of its own making */
  readonly tls?: Exclude<CoordinatorTls, { kind: "self-signed" }> | undefined;
  /** Whether this machine is a member of the mesh itself. @default {true} */
  readonly hasMember?: boolean | undefined;
  /** @default {"strict"} */
  readonly binding?: "strict" | "roam" | undefined;
  /** Whether members may ask for invites. @default {false} */
  readonly memberInvites?: boolean | undefined;
  /** Session limits lower than the defaults, by name. */
  readonly limits?: Readonly<Record<string, number>> | undefined;
  /** Name or pattern of the member's interface. */
  readonly interfaceName?: string | undefined;
  /** Which members its own member has to do with. @default {"all"} */
  readonly trust?: TrustMode | undefined;
  /** Which data plane the member uses. @default {"auto"} */
  readonly dataPlane?: DataPlaneWish | undefined;
  /** Ends the start. */
  readonly signal?: AbortSignal | undefined;
}

/** A running coordinator with all that belongs to it. */
export class CoordinatorProcess {
  readonly #coordinator: Coordinator;
  readonly #scope: AsyncDisposableStack;
  readonly #ended: PromiseWithResolvers<void>;
  readonly #isTls: boolean;
  /** Its member; `undefined` where there is none. */
  readonly member: Agent | undefined;
  #closed: Promise<void> | undefined;

  private constructor(parts: {
    coordinator: Coordinator;
    member: Agent | undefined;
    scope: AsyncDisposableStack;
    ended: PromiseWithResolvers<void>;
    isTls: boolean;
  }) {
    this.#coordinator = parts.coordinator;
    this.member = parts.member;
    this.#scope = parts.scope;
    this.#ended = parts.ended;
    this.#isTls = parts.isTls;
  }

  /**
   * Starts a coordinator.
   *
   * @throws {Error} With a message for a person; nothing is left running then.
   */
  static async start(options: CoordinatorProcessOptions): Promise<CoordinatorProcess> {
    await using undo = new AsyncDisposableStack();
    const { state, hasMember = true, udpPort = DEFAULT_COORDINATOR_PORT } = options;
    const ended = Promise.withResolvers<void>();
    ended.promise.catch(() => {});
    if (hasMember) await refuseRange(options);

    const poller = new Poller();
    undo.defer(() => poller.close());
    const members: MemberListener[] = [];
    let coordinator: Coordinator | undefined = undefined as Coordinator | undefined;
    const answer = (datagram: Uint8Array, from: Endpoint) =>
      coordinator?.answerDiscovery(datagram, from);
    for (const port of hasMember ? [udpPort + 1] : [udpPort, udpPort + 1]) {
      const socket = openDiscoverySocket(port, poller, answer, ended.reject);
      undo.defer(() => socket.close());
    }
    coordinator = await Coordinator.start({
      stateFolder: state,
      listen: options.listen ?? [],
      tls: options.tls ?? { kind: "self-signed", names: certificateNames() },
      ...(options.range === undefined ? {} : { ipv4Range: options.range }),
      udpPorts: [udpPort, udpPort + 1],
      ...(options.binding === undefined ? {} : { binding: options.binding }),
      ...(options.limits === undefined ? {} : { limits: options.limits }),
      memberInvites: options.memberInvites ?? false,
      software: SOFTWARE,
      clock: SYSTEM_CLOCK,
      log,
      onFailed: ended.reject,
      makeListener: (given) => {
        const listener = new MemberListener(new WorkerListener(given));
        members.push(listener);
        return listener;
      },
    });
    const started = coordinator;
    undo.defer(() => started.stop());
    const isTls = options.tls?.kind !== "none";
    let member: Agent | undefined;
    if (hasMember) {
      member = await startMember(options, {
        udpPort,
        coordinatorUrl: insideUrl(started, isTls),
        token: started.token(),
        inCoordinator: { dial: members[0]!.dial, answerDiscovery: answer },
      });
      const live = member;
      undo.defer(() => live.close());
      live.ended.then(undefined, ended.reject);
    }
    const scope = undo.move();
    const made = new CoordinatorProcess({ coordinator: started, member, scope, ended, isTls });
    try {
      const socket = new ControlSocketServer(state, COORDINATOR_SOCKET, made.#methods());
      scope.defer(() => socket.close());
    } catch (error) {
      await scope.disposeAsync();
      throw error;
    }
    log.info("Coordinator is up", {
      port: portOf(started),
      count: made.#coordinator.peers().length,
    });
    log.warning("Packet policy is allow-all: all members may talk to each other");
    return made;
  }

  /** Rejects when the coordinator cannot go on. */
  get ended(): Promise<void> {
    return this.#ended.promise;
  }

  /** Where control connections are taken. */
  get listening(): readonly ListenAddress[] {
    return this.#coordinator.listening;
  }

  /** The coordinator inside. */
  get coordinator(): Coordinator {
    return this.#coordinator;
  }

  /** The token, and the command that joins another machine by it. A secret. */
  invitation(): { token: string; joinCommand: string } {
    const token = this.#coordinator.token();
    return { token, joinCommand: this.#joinCommandOf(token) };
  }

  #joinCommandOf(token: string): string {
    const host = reachableHost(this.listening);
    const url = coordinatorUrlOf(host, portOf(this.#coordinator), this.#isTls);
    return `sudo ./tunnelmesh join --coordinator ${url} --token ${token}`;
  }

  /** Stops in reverse order. Safe to call twice. */
  close(): Promise<void> {
    return this.#closed ??= this.#scope.disposeAsync();
  }

  #methods() {
    return {
      ...adminMethods({
        coordinator: this.#coordinator,
        ownNodeId: this.member?.status().nodeId,
        joinCommandOf: (token) => this.#joinCommandOf(token),
      }),
      "backup": ({ file }: Record<string, unknown>) => {
        if (typeof file !== "string" || !file.startsWith("/")) {
          throw new AgentError("usage", "Cannot back up: the file must be an absolute path");
        }
        this.#coordinator.backup(file);
        return { file };
      },
    };
  }
}

/** Looks before a mesh is founded on a range that this machine cannot use. */
async function refuseRange({ state, range }: CoordinatorProcessOptions): Promise<void> {
  try {
    await Deno.stat(`${state}/${REGISTRY_FILE}`);
  } catch {
    using netlink = new Netlink();
    refuseOverlap(netlink, [range ?? DEFAULT_RANGE]);
  }
}

function openDiscoverySocket(
  port: number,
  poller: Poller,
  answer: (datagram: Uint8Array, from: Endpoint) => Uint8Array | undefined,
  failed: (error: Error) => void,
): UdpLinux {
  let socket: UdpLinux;
  try {
    socket = openUdpSocket({ port, poller, formatEndpoint });
  } catch (error) {
    const found = toAgentError(error);
    if (!(found instanceof AgentError) || found.fault !== "in-use") throw found;
    throw new AgentError(
      "in-use",
      `Cannot use UDP port ${port}: another process has it; choose another pair by --udp-port`,
      { cause: error },
    );
  }
  socket.start((datagram, path) => {
    const reply = answer(datagram, path.endpoint);
    if (reply !== undefined) socket.send(reply, path);
  }, failed);
  return socket;
}

async function startMember(
  options: CoordinatorProcessOptions,
  given: Pick<
    Parameters<typeof Agent.start>[0],
    "udpPort" | "coordinatorUrl" | "token" | "inCoordinator"
  >,
): Promise<Agent> {
  const { state, name, interfaceName, trust, dataPlane, signal } = options;
  try {
    return await Agent.start({
      ...given,
      state: `${state}/${MEMBER_FOLDER}`,
      name,
      interfaceName,
      trust,
      dataPlane,
      signal,
    });
  } catch (error) {
    const isUnable = error instanceof AgentError &&
      (error.fault === "privilege" || error.fault === "device");
    if (!isUnable) throw error;
    throw new AgentError(
      error.fault,
      `${error.message}; or start the coordinator with --no-member`,
      { cause: error },
    );
  }
}

function portOf({ listening }: Coordinator): number {
  return listening[0]?.port ?? DEFAULT_COORDINATOR_PORT;
}

/** Where its own member finds the relay; its line to the coordinator needs no socket. */
function insideUrl({ listening }: Coordinator, isTls: boolean): string {
  const nowhere = { hostname: "127.0.0.1", port: DEFAULT_COORDINATOR_PORT };
  const { hostname, port } = insideOf(listening) ?? nowhere;
  return coordinatorUrlOf(hostname, port, isTls);
}

/** What the certificate is made for; members do not look at it, people's own tools may. */
function certificateNames(): string[] {
  return [...new Set([Deno.hostname(), "localhost", ...ownAddresses()])];
}

/** Under which name or address others are likely to reach this machine. */
function reachableHost(listening: readonly ListenAddress[]): string {
  for (const { hostname } of listening) {
    try {
      const address = parseIpAddress(hostname);
      if (!isUnspecified(address) && !isLoopback(address)) return formatIpAddress(address);
    } catch {
      return hostname;
    }
  }
  return ownAddresses()[0] ?? Deno.hostname();
}

/** Own addresses, that of the way to the internet first. */
function ownAddresses(): string[] {
  using netlink = new Netlink();
  const first = netlink.routeTo(FAR_AWAY)?.preferredSource;
  const others = netlink.addresses()
    .filter(({ scope, address }) => scope === "global" && !isLoopback(address))
    .map(({ address }) => address);
  const all = first === undefined ? others : [first, ...others];
  return [...new Set(all.map(formatIpAddress))];
}
