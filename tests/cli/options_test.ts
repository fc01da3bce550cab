/**
 * Values of flags, and tables.
 *
 * @module
 */

import { strictEqual, throws } from "node:assert/strict";
import { errorLine, EXIT, exitCodeOf } from "../../lib/cli/exit.ts";
import { integerFrom, parseDuration, parseLogLevel, parseSeconds } from "../../lib/cli/options.ts";
import { formatAge, formatBytes, formatTable } from "../../lib/cli/output.ts";
import { formatTokens } from "../../lib/cli/token.ts";
import { readToken } from "../../lib/cli/token_source.ts";
import { ConfigError } from "../../lib/config/errors.ts";

Deno.test("integerFrom() takes whole numbers of its range only", () => {
  const parse = integerFrom(0, 65535);
  for (const [text, value] of [["0", 0], ["65535", 65535], ["007", 7]] as const) {
    strictEqual(parse(text), value);
  }
  for (const text of ["", "-1", "65536", "1e3", "0x10", "1.5", " 1", "9999999999", "NaN"]) {
    throws(() => parse(text), /whole number from 0 to 65535/, text);
  }
});

Deno.test("parseSeconds() takes numbers of seconds only", () => {
  strictEqual(parseSeconds("0.2"), 0.2);
  strictEqual(parseSeconds(".5"), 0.5);
  for (const text of ["", "0", "-1", "1s", "1e2", "."]) throws(() => parseSeconds(text), text);
});

Deno.test("parseDuration() takes a number and a unit, from a second to a year", () => {
  const rows: [text: string, ms: number][] = [
    ["1s", 1_000],
    ["90s", 90_000],
    ["15m", 900_000],
    ["1h", 3_600_000],
    ["7d", 604_800_000],
    ["366d", 31_622_400_000],
  ];
  for (const [text, ms] of rows) strictEqual(parseDuration(text), ms, text);
  for (const text of ["", "0s", "1", "h", "-1h", "1.5h", "1 h", "1w", "367d", "999999999s", "1H"]) {
    throws(() => parseDuration(text), /such as 90s, 15m, 1h or 7d/, text);
  }
});

Deno.test("parseLogLevel() names the levels there are", () => {
  strictEqual(parseLogLevel("debug"), "debug");
  throws(() => parseLogLevel("loud"), /debug, info, warning, error/);
});

Deno.test("formatTable() aligns columns and leaves no blanks at the end of a line", () => {
  strictEqual(
    formatTable([["NAME", "RX", "S"], ["a", "10 B", ""], ["longer", "1 B", "x"]], [1]),
    "NAME      RX  S\na       10 B\nlonger   1 B  x",
  );
  strictEqual(formatTable([]), "");
});

Deno.test("formatTokens() says what became of each, and nothing that admits", () => {
  const createdAt = "2026-01-01T00:00:00.000Z";
  const expiresAt = "2026-01-01T01:00:00.000Z";
  const times = { createdAt, expiresAt };
  const askedBy = { nodeId: "cd".repeat(32), name: "phone" };
  const usedBy = { nodeId: "ab".repeat(32), name: "laptop" };
  strictEqual(
    formatTokens([
      { id: 9, kind: "mesh", state: "active", createdAt },
      { id: 10, kind: "invite", state: "spent", name: "desk", askedBy, ...times, usedBy },
    ], Date.parse(createdAt) + 60_000),
    "ID  KIND    STATE   NAME  ASKED BY  MADE      EXPIRES                   USED BY\n" +
      " 9  mesh    active  -     -         60 s ago  -                         -\n" +
      `10  invite  spent   desk  phone     60 s ago  ${expiresAt}  laptop`,
  );
});

Deno.test("formatBytes() and formatAge() read well", () => {
  const bytes: [number, string][] = [
    [0, "0 B"],
    [999, "999 B"],
    [1000, "1.0 kB"],
    [999_949, "999.9 kB"],
    [999_950, "1.0 MB"],
    [1.25e9, "1.3 GB"],
  ];
  for (const [count, text] of bytes) strictEqual(formatBytes(count), text);
  const ages: [number, string][] = [
    [-5, "now"],
    [0.9, "now"],
    [119.9, "119 s ago"],
    [120, "2 min ago"],
    [7200, "2 h ago"],
    [200_000, "2 d ago"],
  ];
  for (const [seconds, text] of ages) strictEqual(formatAge(seconds), text);
});

Deno.test("readToken() asks the flag, then the file, then the environment", async () => {
  const file = await Deno.makeTempFile();
  await Deno.writeTextFile(file, " from-file \n");
  const all = { token: "from-flag ", tokenFile: file, environment: "from-environment\n" };
  strictEqual(await readToken(all), "from-flag");
  strictEqual(await readToken({ ...all, token: undefined }), "from-file");
  strictEqual(await readToken({ environment: all.environment }), "from-environment");
  strictEqual(await readToken({ environment: "" }), undefined, "empty is none");
  strictEqual(await readToken({}), undefined);
  await Deno.writeTextFile(file, "\n");
  await readToken({ tokenFile: file }).then(
    () => throws(() => {}),
    (error) => strictEqual(exitCodeOf(error), EXIT.usage),
  );
  await Deno.remove(file);
  await readToken({ tokenFile: file }).then(
    () => throws(() => {}),
    (error) => {
      strictEqual(errorLine(error).includes("there is no such file"), true);
      strictEqual(exitCodeOf(error), EXIT.usage);
    },
  );
});

Deno.test("exitCodeOf() tells the kinds of failure apart", () => {
  const withFields = (fields: Record<string, unknown>) => Object.assign(new Error("x"), fields);
  const rows: [unknown, number, string][] = [
    [new Error("x"), 1, "nothing is known"],
    ["text", 1, "no error at all"],
    [new ConfigError("f", "x", 1, 1), 2, "a configuration file"],
    [withFields({ fault: "not-running" }), 3, "nobody listens"],
    [withFields({ fault: "refused" }), 4, "the coordinator said no"],
    [withFields({ errno: 1 }), 5, "EPERM"],
    [withFields({ errno: 98 }), 1, "EADDRINUSE is no privilege"],
    [new Deno.errors.PermissionDenied("x"), 5, "no right to a file"],
  ];
  for (const [error, code, why] of rows) strictEqual(exitCodeOf(error), code, why);
});

Deno.test("errorLine() is one line", () => {
  strictEqual(errorLine(new Error("a\n  b\r\nc\n")), "tunnelmesh: a b c");
  strictEqual(errorLine("x"), "tunnelmesh: x");
});
