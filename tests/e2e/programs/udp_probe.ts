/**
 * A probe of the time that passes between arrivals.
 *
 * `receive PORT` prints `ready`, takes datagrams until one says `end`, then prints
 * `{ "received": n, "largestGapMs": n, "lost": n }`; `send ADDRESS PORT SECONDS RATE` sends
 * numbered ones at an even rate, catching up after each sleep, and prints how many. SIGINT ends it
 * before its time.
 *
 * @module
 */

const [mode, ...rest] = Deno.args;
if (mode === "receive") await receive(Number(rest[0]));
else await send(rest[0]!, Number(rest[1]), Number(rest[2]), Number(rest[3]));

async function receive(port: number): Promise<void> {
  const socket = Deno.listenDatagram({ transport: "udp", hostname: "0.0.0.0", port });
  say("ready");
  let received = 0;
  let largestGapMs = 0;
  let highest = -1;
  let last = NaN;
  for await (const [datagram] of socket) {
    if (datagram.length < 4) break;
    const now = performance.now();
    if (received > 0) largestGapMs = Math.max(largestGapMs, now - last);
    last = now;
    received++;
    highest = Math.max(highest, new DataView(datagram.buffer, datagram.byteOffset).getUint32(0));
  }
  say(JSON.stringify({ received, largestGapMs, lost: highest + 1 - received }));
  Deno.exit(0);
}

async function send(hostname: string, port: number, seconds: number, rate: number): Promise<void> {
  const socket = Deno.listenDatagram({ transport: "udp", hostname: "0.0.0.0", port: 0 });
  const to = { transport: "udp", hostname, port } as const;
  const datagram = new Uint8Array(64);
  const view = new DataView(datagram.buffer);
  let isOver = false;
  Deno.addSignalListener("SIGINT", () => isOver = true);
  const startedAt = performance.now();
  let sent = 0;
  while (sent < seconds * rate && !isOver) {
    const due = Math.min((performance.now() - startedAt) / 1000, seconds) * rate;
    while (sent < due) {
      view.setUint32(0, sent++);
      await socket.send(datagram, to);
    }
    await new Promise((resolve) => setTimeout(resolve, 1));
  }
  for (let i = 0; i < 3; i++) await socket.send(new Uint8Array(1), to);
  say(String(sent));
  Deno.exit(0);
}

function say(line: string): void {
  Deno.stdout.writeSync(new TextEncoder().encode(`${line}\n`));
}
