/**
 * QR codes, on the terminal and as PNG. Imported only where one is wanted.
 *
 * @module
 */

import QrCode from "qrcode";

/** What we use of the package, which comes without types. */
interface QrCodePackage {
  toString(
    text: string,
    options: { type: "terminal" | "utf8"; small: boolean; errorCorrectionLevel: "L" },
  ): Promise<string>;
  toBuffer(
    text: string,
    options: { type: "png"; errorCorrectionLevel: "M"; scale: number },
  ): Promise<Uint8Array>;
}

const qrCode = QrCode as QrCodePackage;

/**
 * A QR code in characters, two dots a character.
 *
 * @param text At most 2953 bytes.
 * @param isTerminal Whether colours may be set, so that it is dark on light whatever the terminal.
 */
export async function qrText(text: string, isTerminal: boolean): Promise<string> {
  const type = isTerminal ? "terminal" : "utf8";
  return (await qrCode.toString(text, { type, small: true, errorCorrectionLevel: "L" })).trimEnd();
}

/**
 * A QR code as a PNG file.
 *
 * @param text At most 2331 bytes.
 */
export async function qrPng(text: string): Promise<Uint8Array> {
  const png = await qrCode.toBuffer(text, { type: "png", errorCorrectionLevel: "M", scale: 8 });
  return Uint8Array.from(png);
}
