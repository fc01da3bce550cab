/**
 * UDP probes for the NAT lab, run inside it.
 *
 * ```
 * nat_probe.ts serve IP OTHER        reflectors on IP:3478 and IP:3479, rendezvous on IP:3480
 * nat_probe.ts classify PORT IP1 IP2 writes how the NAT maps and filters
 * nat_probe.ts punch NAME PEER IP PORT MS
 *                                    punches towards PEER, both at once through the rendezvous
 * nat_probe.ts keep PORT IP IDLE_MS  writes the mapping before and after a silence
 * ```
 *
 * @module
 */

/** What the programs tell each other. */
interface Message {
  readonly op?: "where" | "other-port" | "other-address" | "relay" | "join" | "answer" | "hello";
  readonly id?: string;
  readonly to?: [string, number];
  readonly name?: string;
  readonly peer?: string;
  readonly seen?: [string, number];
  readonly heard?: boolean;
}

const PORTS = [3478, 3479, 3480] as const;
/** How often a question is asked that is not answered. */
const ATTEMPTS = 2;
/** How often the one who is through tells the other one. */
const TELLINGS = 4;

class Socket {
  readonly #socket: Deno.DatagramConn;
  #pending: Promise<[Uint8Array, Deno.Addr]> | undefined;

  constructor(hostname: string, port: number) {
    this.#socket = Deno.listenDatagram({ transport: "udp", hostname, port });
  }

  async send(message: Message, hostname: string, port: number): Promise<void> {
    const bytes = new TextEncoder().encode(JSON.stringify(message));
    // A gateway that rejects is as good as one that drops.
    await this.#socket.send(bytes, { transport: "udp", hostname, port }).catch(() => {});
  }

  /** @returns `undefined` if nothing comes in time. */
  async receive(timeoutMs: number): Promise<[Message, string, number] | undefined> {
    const pending = this.#pending ??= this.#socket.receive();
    const silence = Promise.withResolvers<undefined>();
    const timer = setTimeout(() => silence.resolve(undefined), timeoutMs);
    const got = await Promise.race([pending.catch(() => undefined), silence.promise]);
    clearTimeout(timer);
    if (got === undefined) return undefined;
    this.#pending = undefined;
    const { hostname, port } = got[1] as Deno.NetAddr;
    return [JSON.parse(new TextDecoder().decode(got[0])), hostname, port];
  }

  /** Asks again and again where the machine may be slow: each time from the same port. */
  async ask(message: Message, hostname: string, port: number): Promise<Message | undefined> {
    const id = crypto.randomUUID();
    for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
      await this.send({ ...message, id }, hostname, port);
      for (let got; (got = await this.receive(400)) !== undefined;) {
        if (got[0].id === id) return got[0];
      }
    }
    return undefined;
  }
}

const [command, ...args] = Deno.args;
if (command === "serve") await serve(args[0]!, args[1]!);
if (command === "classify") await classify(Number(args[0]), args[1]!, args[2]!);
if (command === "punch") {
  await punch(args[0]!, args[1]!, args[2]!, Number(args[3]), Number(args[4]));
}
if (command === "keep") await keep(Number(args[0]), args[1]!, Number(args[2]));
Deno.exit(0);

async function serve(own: string, other: string): Promise<void> {
  const [first, second, rendezvous] = PORTS.map((port) => new Socket(own, port));
  const registered = new Map<string, [string, number]>();
  const loops = [first!, second!, rendezvous!].map(async (socket) => {
    for (;;) {
      const got = await socket.receive(60_000);
      if (got === undefined) continue;
      const [message, host, port] = got;
      const answer: Message = { op: "answer", id: message.id ?? "", seen: [host, port] };
      if (message.op === "where") await socket.send(answer, host, port);
      if (message.op === "other-port") await second!.send(answer, host, port);
      if (message.op === "other-address") {
        await first!.send({ op: "relay", id: answer.id!, to: [host, port] }, other, PORTS[0]);
      }
      if (message.op === "relay") {
        await first!.send({ ...answer, seen: message.to! }, ...message.to!);
      }
      if (message.op === "join") {
        registered.set(message.name!, [host, port]);
        const peer = registered.get(message.peer!);
        if (peer === undefined) continue;
        await socket.send({ op: "answer", seen: peer }, host, port);
        await socket.send({ op: "answer", seen: [host, port] }, ...peer);
      }
    }
  });
  write({ ready: own });
  await Promise.all(loops);
}

async function classify(port: number, first: string, second: string): Promise<void> {
  // Filtering, by a mapping that has talked to first:3478 only.
  const filtered = new Socket("0.0.0.0", port + 1);
  await filtered.ask({ op: "where" }, first, PORTS[0]);
  const otherAddress = await filtered.ask({ op: "other-address" }, first, PORTS[0]);
  const otherPort = await filtered.ask({ op: "other-port" }, first, PORTS[0]);
  const socket = new Socket("0.0.0.0", port);
  const seen: string[] = [];
  for (const [host, at] of [[first, 0], [first, 1], [second, 0]] as const) {
    const answer = await socket.ask({ op: "where" }, host, PORTS[at]);
    if (answer === undefined) return write({ udp: "blocked" });
    seen.push(answer.seen!.join(":"));
  }
  write({
    mapping: new Set(seen).size === 1 ? "independent" : seen[0] === seen[1] ? "address" : "port",
    filtering: otherAddress ? "independent" : otherPort ? "address" : "port",
    isPortKept: seen[0]!.endsWith(`:${port}`),
    seen,
  });
}

async function punch(
  name: string,
  peer: string,
  rendezvous: string,
  port: number,
  giveUpMs: number,
): Promise<void> {
  const socket = new Socket("0.0.0.0", port);
  const startedAt = performance.now();
  let to: [string, number] | undefined;
  let from: string | undefined;
  let directMs: number | undefined;
  // Whoever is through says so a few times, for the other end to hear it.
  let tellings = 0;
  const isOver = (now: number) => directMs === undefined ? now > giveUpMs : tellings === TELLINGS;
  for (let sentAt = -Infinity; !isOver(performance.now() - startedAt);) {
    if (performance.now() - sentAt > 200) {
      sentAt = performance.now();
      await socket.send({ op: "join", name, peer }, rendezvous, PORTS[2]);
      if (to) await socket.send({ op: "hello", name, heard: from !== undefined }, ...to);
      if (directMs !== undefined) tellings++;
    }
    const got = await socket.receive(100);
    if (got === undefined) continue;
    const [message, host, port] = got;
    if (message.op === "answer") to ??= message.seen!;
    if (message.op !== "hello" || message.name !== peer) continue;
    from ??= `${host}:${port}`;
    to = [host, port]; // where it came from, which helps if one side is symmetric
    if (message.heard) directMs ??= Math.round(performance.now() - startedAt);
    else await socket.send({ op: "hello", name, heard: true }, ...to);
  }
  write({ isDirect: directMs !== undefined, directMs, from });
}

async function keep(port: number, server: string, idleMs: number): Promise<void> {
  const socket = new Socket("0.0.0.0", port);
  const before = await socket.ask({ op: "where" }, server, PORTS[0]);
  await new Promise((resolve) => setTimeout(resolve, idleMs));
  const after = await socket.ask({ op: "where" }, server, PORTS[0]);
  write({ before: before?.seen?.join(":"), after: after?.seen?.join(":") });
}

function write(value: unknown): void {
  Deno.stdout.writeSync(new TextEncoder().encode(JSON.stringify(value) + "\n"));
}
