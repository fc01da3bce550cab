/**
 * Sends a marker over TCP, again and again.
 *
 * `listen PORT` prints `ready`, then how many bytes came; `connect ADDRESS PORT HEX BYTES` sends.
 *
 * @module
 */

const [mode, ...rest] = Deno.args;
if (mode === "listen") await listen(Number(rest[0]));
else await send(rest[0]!, Number(rest[1]), rest[2]!, Number(rest[3]));

async function listen(port: number): Promise<void> {
  const listener = Deno.listen({ hostname: "::", port });
  say("ready");
  const connection = await listener.accept();
  let total = 0;
  for await (const chunk of connection.readable) total += chunk.length;
  say(String(total));
  Deno.exit(0);
}

async function send(hostname: string, port: number, hex: string, bytes: number): Promise<void> {
  const marker = Uint8Array.from(hex.match(/../g)!, (pair) => parseInt(pair, 16));
  const whole = new Uint8Array(Math.ceil(bytes / marker.length) * marker.length);
  for (let at = 0; at < whole.length; at += marker.length) whole.set(marker, at);
  const connection = await Deno.connect({ hostname, port });
  let rest = whole;
  while (rest.length > 0) rest = rest.subarray(await connection.write(rest));
  connection.close();
}

function say(line: string): void {
  Deno.stdout.writeSync(new TextEncoder().encode(`${line}\n`));
}
