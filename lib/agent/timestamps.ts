/**
 * The handshake timestamps of a state folder (protocol.md §3).
 *
 * @module
 */

import type { Clock } from "../base/clock.ts";
import { logOf } from "../base/log.ts";
import { TimestampSource } from "../session/timestamp.ts";
import { reasonOf } from "./errors.ts";
import { readMark, writeMark } from "./small_files.ts";
import type { StateFolder } from "./state_folder.ts";

const log = logOf("agent");

/** Makes timestamps that grow over all runs on this folder, whatever the machine's clock does. */
export function timestampsOf(folder: StateFolder, clock: Clock): TimestampSource {
  return new TimestampSource({
    unixNow: () => clock.unixNow(),
    mark: readMark(folder),
    persist: (mark) => {
      try {
        writeMark(folder, mark);
      } catch (error) {
        log.error("Timestamp not saved", { reason: reasonOf(error) });
        throw error; // then the next handshake tries again
      }
    },
  });
}
