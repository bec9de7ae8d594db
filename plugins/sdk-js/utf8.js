/**
 * UTF-8 for an engine without TextDecoder, out of what it does natively: a loop over the bytes in
 * JavaScript takes five times as long. A binary string has a character for each byte.
 */

/** The bytes as a binary string. */
export function toBinaryString(bytes) {
  return atob(bytes.toBase64());
}

/** The text of a binary string; throws where it is not UTF-8. */
export function decodeUtf8(binary) {
  return decodeURIComponent(escape(binary));
}

/** The bytes of a text; a lone surrogate becomes U+FFFD. */
export function encodeUtf8(text) {
  return Uint8Array.fromBase64(btoa(unescape(encodeURIComponent(text.toWellFormed()))));
}
