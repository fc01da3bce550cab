import { strictEqual } from "node:assert/strict";
import { ERRNO, SyscallError, type SyscallFault } from "../../ffi/errno.ts";

/** errno, remedy, the message a user sees, and what it means. */
const FAILURES: [errno: number, remedy: string | undefined, end: string, fault: SyscallFault][] = [
  [ERRNO.EPERM, "run as root", "EPERM (1); run as root", "no-privilege"],
  [ERRNO.EACCES, undefined, "EACCES (13)", "no-privilege"],
  [ERRNO.EBUSY, undefined, "EBUSY (16)", "in-use"],
  [ERRNO.EADDRINUSE, "stop it", "EADDRINUSE (98); stop it", "in-use"],
  [ERRNO.ENOENT, undefined, "ENOENT (2)", "no-device"],
  [ERRNO.EINVAL, undefined, "EINVAL (22)", "other"],
  [133, undefined, "errno (133)", "other"],
];

Deno.test("SyscallError names the attempt, the errno, what it means and what to do", () => {
  for (const [errno, remedy, end, fault] of FAILURES) {
    const error = new SyscallError(`open TUN device "tm0"`, errno, remedy);
    strictEqual(error.message, `Cannot open TUN device "tm0": ${end}`);
    strictEqual(error.fault, fault, end);
    strictEqual(error.errno, errno);
    strictEqual(error.name, "SyscallError");
  }
});
