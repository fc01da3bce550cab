/**
 * Notices that a file changed, whichever way: written in place, replaced by another one under its
 * name, or reached by another symbolic link.
 *
 * The folder is watched and not the file, since editors replace files. Where the system cannot watch
 * it, the file is looked at every two seconds.
 *
 * @module
 */

import { logOf } from "../base/log.ts";
import { reasonOf } from "./errors.ts";

const log = logOf("agent");

/** Editors write in several steps; what is read in between may be half a file. */
const SETTLE_MS = 150;
const LOOK_EVERY_MS = 2_000;

/**
 * Watches a file.
 *
 * @param path Of the file; its folder must exist.
 * @param changed Called soon after a change, once for several in a row; also if the file vanished.
 */
export function watchFile(path: string, changed: () => void): { close(): void } {
  let seen = versionOf(path);
  let timer: ReturnType<typeof setTimeout> | undefined;
  let isClosed = false;
  const look = () => {
    timer = undefined;
    const version = versionOf(path);
    if (isClosed || version === seen) return;
    seen = version;
    changed();
  };
  const lookSoon = () => {
    clearTimeout(timer);
    timer = setTimeout(look, SETTLE_MS);
  };
  const watchers = [...foldersOf(path)].map((folder) => watchFolder(folder, lookSoon));
  return {
    close() {
      isClosed = true;
      clearTimeout(timer);
      for (const watcher of watchers) watcher.close();
    },
  };
}

/** The folder of the file, and that of what it links to. */
function foldersOf(path: string): Set<string> {
  const folderOf = (file: string) => file.includes("/") ? file.replace(/\/[^/]*$/, "") || "/" : ".";
  const folders = new Set([folderOf(path)]);
  try {
    folders.add(folderOf(Deno.realPathSync(path)));
  } catch {
    // It is not there now; its folder tells when it is.
  }
  return folders;
}

function watchFolder(folder: string, changed: () => void): { close(): void } {
  try {
    const watcher = Deno.watchFs(folder, { recursive: false });
    (async () => {
      for await (const _event of watcher) changed();
    })().catch((error) => log.warning("File not watched any more", { reason: reasonOf(error) }));
    return {
      close() {
        try {
          watcher.close();
        } catch {
          // closed before
        }
      },
    };
  } catch (error) {
    log.debug("Folder cannot be watched", { file: folder, reason: reasonOf(error) });
    const timer = setInterval(changed, LOOK_EVERY_MS);
    return { close: () => clearInterval(timer) };
  }
}

/** What tells one version of a file from another. */
function versionOf(path: string): string {
  try {
    const { mtime, size, ino } = Deno.statSync(path);
    return `${mtime?.getTime()} ${size} ${ino}`;
  } catch {
    return "none";
  }
}
