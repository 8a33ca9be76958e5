// Money and prices: whole µUSD in a BigInt, decimal strings at the edge, and nothing in between.

const MICROS = 1_000_000n;
const DECIMAL = /^(0|[1-9][0-9]{0,11})(?:\.([0-9]{1,6}))?$/;

/** µUSD of a decimal string such as "2.49", as the API takes it; null: it is none. */
export function parseUsd(text: string): bigint | null {
  const found = DECIMAL.exec(text.trim());
  if (!found) return null;
  return BigInt(found[1]!) * MICROS + BigInt((found[2] ?? "").padEnd(6, "0"));
}

/** The same of an answer, which may be below zero; 0 for an empty one. */
export function readUsd(text: string): bigint {
  const below = text.startsWith("-");
  const micros = parseUsd(below ? text.slice(1) : text) ?? 0n;
  return below ? -micros : micros;
}

/** A decimal string with at least two and at most six digits after the point. */
export function formatUsd(micros: bigint): string {
  const size = micros < 0n ? -micros : micros;
  const digits = (size % MICROS).toString().padStart(6, "0").replace(/0{1,4}$/, "");
  return `${micros < 0n ? "-" : ""}${size / MICROS}.${digits}`;
}

/** As people read an amount: to the cent, half a cent up, thousands apart. Below one USD to a tenth of a cent. */
export function showUsd(text: string): string {
  const micros = readUsd(text);
  const size = micros < 0n ? -micros : micros;
  const step = size !== 0n && size < MICROS ? 1_000n : 10_000n;
  const [whole, part] = formatUsd(((size + step / 2n) / step) * step).split(".");
  return `${micros < 0n ? "−" : ""}${whole!.replace(/\B(?=(\d{3})+$)/g, " ")}.${part}`;
}

/** The next multiple of `tick` that is not below. */
export function upToTick(micros: bigint, tick: bigint): bigint {
  return ((micros + tick - 1n) / tick) * tick;
}
