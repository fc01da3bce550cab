/**
 * Which proxy is on the way to a URL, as the environment says.
 *
 * @module
 */

import { deepStrictEqual, strictEqual, throws } from "node:assert/strict";
import { ProxyError, proxyOf } from "../../lib/transport/http_proxy.ts";

function proxyFor(url: string, variables: Record<string, string>) {
  const proxy = proxyOf(new URL(url), (name) => variables[name]);
  return proxy && `${proxy.isTls ? "https" : "http"} ${proxy.host} ${proxy.port}`;
}

Deno.test("proxyOf() takes the variable of the URL's scheme", () => {
  const both = { HTTPS_PROXY: "http://secure:3128", HTTP_PROXY: "http://plain:8080" };
  /** URL, variables, proxy. */
  const rows: [string, Record<string, string>, string | undefined][] = [
    ["wss://c.example:8443/relay", both, "http secure 3128"],
    ["https://c.example", both, "http secure 3128"],
    ["ws://c.example/relay", both, "http plain 8080"],
    ["wss://c.example", { https_proxy: "secure:1" }, "http secure 1"],
    [
      "wss://c.example",
      { https_proxy: "http://lower:1", HTTPS_PROXY: "http://upper:1" },
      "http lower 1",
    ],
    ["wss://c.example", { HTTPS_PROXY: "https://proxy" }, "https proxy 443"],
    ["wss://c.example", { HTTPS_PROXY: "http://proxy" }, "http proxy 80"],
    ["wss://c.example", { HTTPS_PROXY: "http://[2001:db8::1]:3128" }, "http 2001:db8::1 3128"],
    ["wss://c.example", { HTTP_PROXY: "http://plain:8080" }, undefined],
    ["wss://c.example", { HTTPS_PROXY: "" }, undefined],
    ["wss://c.example", {}, undefined],
  ];
  for (const [url, variables, proxy] of rows) {
    strictEqual(proxyFor(url, variables), proxy, `${url} ${JSON.stringify(variables)}`);
  }
});

Deno.test("proxyOf() decodes name and password", () => {
  const variables = { HTTPS_PROXY: "http://me:p%40ss%3A@proxy:1" };
  const proxy = proxyOf(new URL("wss://c.example"), (name) => variables[name as "HTTPS_PROXY"]);
  strictEqual(proxy?.credentials, "me:p@ss:");
});

Deno.test("proxyOf() reaches this machine and what NO_PROXY names directly", () => {
  /** Host and port, NO_PROXY, whether it is direct. */
  const rows: [string, string, boolean][] = [
    ["localhost:1", "", true],
    ["127.0.0.2:1", "", true],
    ["[::1]:1", "", true],
    ["c.example", "*", true],
    ["c.example", "c.example", true],
    ["C.Example", "c.EXAMPLE", true],
    ["a.c.example", "c.example", true],
    ["a.c.example", ".c.example", true],
    ["a.c.example", "*.c.example", true],
    ["abc.example", "c.example", false],
    ["c.example", "a.c.example", false],
    ["c.example:8443", "c.example:8443", true],
    ["c.example:8443", "c.example:443", false],
    ["c.example", "other, c.example", true],
    ["192.0.2.7", "192.0.2.7", true],
    ["192.0.2.7", "192.0.2.0/24", true],
    ["192.0.3.7", "192.0.2.0/24", false],
    ["192.0.2.7:5", "192.0.2.7:5", true],
    ["[2001:db8::7]", "2001:db8::/32", true],
    ["[2001:db8::7]", "nonsense/99", false],
    ["192.0.2.7", "2.7", false],
  ];
  for (const [host, noProxy, isDirect] of rows) {
    const variables = { HTTPS_PROXY: "http://proxy:1", NO_PROXY: noProxy };
    strictEqual(
      proxyFor(`wss://${host}/`, variables) === undefined,
      isDirect,
      `${host} ${noProxy}`,
    );
  }
});

Deno.test("proxyOf() says what it does not understand", () => {
  deepStrictEqual(
    ["socks5://proxy:1", "http://", "http://:x"].map((text) => {
      throws(() => proxyFor("wss://c.example", { HTTPS_PROXY: text }), ProxyError, text);
      return true;
    }),
    [true, true, true],
  );
});
