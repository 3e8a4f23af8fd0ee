// Figures for people: three digits are enough, and units are decimal, as on the wire.

/** 1234567 → "1.23 MB" */
export function bytes(n) {
  const units = ["B", "kB", "MB", "GB", "TB"];
  let unit = 0;

  while (n >= 999.5 && unit < units.length - 1) {
    n /= 1000;
    unit++;
  }

  return `${unit === 0 ? n : digits(n)} ${units[unit]}`;
}

/** Bytes a second as a bare number of MB/s, for where the unit stands beside it. */
export const megabytes = (perSecond) => (perSecond === 0 ? "0" : digits(perSecond / 1e6));

/** Bits a second: "142 kbit/s", "2.5 Mbit/s" */
export const bits = (perSecond) => (perSecond >= 999_500 ? `${digits(perSecond / 1e6)} Mbit/s` : `${digits(perSecond / 1e3)} kbit/s`);

/** Two decimals at most: 1.50 → "1.5" */
export const trim = (n) => n.toFixed(2).replace(/\.?0+$/, "");

/** Milliseconds: "0.42 ms", "84 ms", "2.1 s" */
export function duration(ms) {
  if (ms >= 9_950) return `${Math.round(ms / 1000)} s`;
  if (ms >= 1_000) return `${(ms / 1000).toFixed(1)} s`;
  return `${digits(ms)} ms`;
}

function digits(n) {
  if (n >= 99.5) return Math.round(n).toString();
  if (n >= 9.95) return n.toFixed(1).replace(/\.0$/, "");
  return n.toFixed(2).replace(/\.?0+$/, "") || "0";
}

/** What a `candidate:` line says, RFC 8839 §5.1; null for the empty line that ends a generation. */
export function candidate(line) {
  const [, , protocol, , address, port, , type, ...rest] = (line ?? "").replace(/^a=/, "").split(" ");

  if (!type) return null;

  const tcp = rest.indexOf("tcptype");
  return { protocol: protocol.toLowerCase(), address, port: Number(port), type, tcpType: tcp < 0 ? "" : rest[tcp + 1] };
}

export const endpoint = ({ address, port }) => (address.includes(":") ? `[${address}]:${port}` : `${address}:${port}`);

/** The W3C's four candidate types in words. */
export const candidateType = {
  host: "host",
  srflx: "server-reflexive",
  prflx: "peer-reflexive",
  relay: "relayed",
};
