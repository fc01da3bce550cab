/**
 * The self-signed certificate of a coordinator's first start. TLS is only the envelope here
 * (protocol.md §2): agents recognise the coordinator by its Noise key, not by this.
 *
 * @module
 */

import { parseIpAddress } from "../net/ip_address.ts";

/** A certificate with its key. */
export interface TlsPair {
  /** PEM. */
  readonly certificate: string;
  /** PEM, PKCS #8. */
  readonly key: string;
}

/** Kinds of names in a certificate, in the words of the x509 package. */
const IP = "ip" as const;
const DNS = "dns" as const;
const YEARS = 10;
const DAY_MS = 86_400_000;

/**
 * Makes a certificate: ECDSA P-256, valid for ten years from the day before.
 *
 * @param names Host names and addresses that it shall be good for; `localhost` and both loopback
 * addresses are added.
 * @param unixMs Now.
 */
export async function makeCertificate(names: readonly string[], unixMs: number): Promise<TlsPair> {
  // Loaded here and not at the top: half a megabyte of ASN.1 that only a first start needs.
  await import("reflect-metadata");
  const x509 = await import("@peculiar/x509");
  const algorithm = { name: "ECDSA", namedCurve: "P-256", hash: "SHA-256" };
  const keys = await crypto.subtle.generateKey(algorithm, true, ["sign", "verify"]);
  const wanted = new Set([...names, "localhost", "127.0.0.1", "::1"]);
  const certificate = await x509.X509CertificateGenerator.createSelfSigned({
    name: "CN=tunnelmesh coordinator",
    keys,
    signingAlgorithm: algorithm,
    // A day of slack for agents whose clock is behind.
    notBefore: new Date(unixMs - DAY_MS),
    notAfter: new Date(unixMs + YEARS * 365.25 * DAY_MS),
    extensions: [
      new x509.BasicConstraintsExtension(false, undefined, true),
      new x509.ExtendedKeyUsageExtension([x509.ExtendedKeyUsage.serverAuth]),
      new x509.SubjectAlternativeNameExtension(
        [...wanted].map((value) => ({ type: isAddress(value) ? IP : DNS, value })),
      ),
    ],
  });
  const exported = new Uint8Array(await crypto.subtle.exportKey("pkcs8", keys.privateKey));
  return {
    certificate: certificate.toString("pem") + "\n",
    key: x509.PemConverter.encode(exported, "PRIVATE KEY") + "\n",
  };
}

function isAddress(text: string): boolean {
  try {
    parseIpAddress(text);
    return true;
  } catch {
    return false;
  }
}
