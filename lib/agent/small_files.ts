/**
 * The two numbers that a state folder remembers from run to run.
 *
 * @module
 */

import type { StateFolder } from "./state_folder.ts";

const TIMESTAMP = "timestamp";
const UDP_PORT = "udp_port";

/** High-water mark of handshake timestamps in unix seconds; 0 if there is none or it is damaged. */
export function readMark(folder: StateFolder): number {
  return readNumber(folder, TIMESTAMP, Number.MAX_SAFE_INTEGER);
}

/** Makes the mark durable. @throws {AgentError} If the disk does not take it. */
export function writeMark(folder: StateFolder, mark: number): void {
  folder.write(TIMESTAMP, `${mark}\n`);
}

/** UDP port of the last run; 0 for any. */
export function readPort(folder: StateFolder): number {
  return readNumber(folder, UDP_PORT, 65_535);
}

/** Remembers the UDP port: peers know it. @throws {AgentError} If the disk does not take it. */
export function writePort(folder: StateFolder, port: number): void {
  if (readPort(folder) !== port) folder.write(UDP_PORT, `${port}\n`);
}

function readNumber(folder: StateFolder, name: string, max: number): number {
  const text = folder.read(name)?.trim() ?? "";
  const value = /^\d{1,16}$/.test(text) ? Number(text) : 0;
  return value <= max ? value : 0;
}
