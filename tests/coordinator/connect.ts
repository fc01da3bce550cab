/**
 * Simulated agents over real WebSockets, with the `ws` client that real agents use.
 *
 * @module
 */

import { WebSocket } from "ws";
import type { SimulatedAgent } from "./simulated_agent.ts";

/** Connects an agent to `https://…` or `http://…`; returns at once. */
export function connect(agent: SimulatedAgent, url: string): SimulatedAgent {
  const socket = new WebSocket(`${url.replace(/^http/, "ws")}/control`, {
    rejectUnauthorized: false,
  });
  socket.binaryType = "nodebuffer";
  socket.on("open", () =>
    agent.opened({
      send: (message) => socket.send(message),
      close: () => socket.close(),
    }));
  socket.on("message", (data: Uint8Array) => agent.received(new Uint8Array(data)));
  socket.on(
    "close",
    (code: number, reason: Uint8Array) => agent.ended(code, new TextDecoder().decode(reason)),
  );
  socket.on("error", () => {});
  return agent;
}
