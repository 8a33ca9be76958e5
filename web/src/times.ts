// Instants as people read them: local time first, UTC beside. Hours of delivery are whole hours of UTC.

export const HOUR_MS = 3_600_000;
const LOCAL = new Intl.DateTimeFormat("en-GB", {
  weekday: "short", day: "numeric", month: "short", hour: "2-digit", minute: "2-digit", hourCycle: "h23",
});
const CLOCK = { hour: "2-digit", minute: "2-digit", hourCycle: "h23" } as const;
const LOCAL_CLOCK = new Intl.DateTimeFormat("en-GB", CLOCK);
const UTC_CLOCK = new Intl.DateTimeFormat("en-GB", { ...CLOCK, timeZone: "UTC" });
const UTC_DAY = new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "short", timeZone: "UTC" });
const LOCAL_DAY = new Intl.DateTimeFormat("en-GB", { weekday: "short", day: "numeric" });

/** "Fri, 27 Nov, 17:00 (16:00 UTC)"; empty for an empty text. */
export function both(iso: string): string {
  if (!iso) return "";
  const at = new Date(iso);
  return `${LOCAL.format(at)} (${UTC_CLOCK.format(at)} UTC)`;
}

/** What is in an `<input type="datetime-local">`, beside it: "16:00 UTC", with the day where that is another; empty for none. */
export function utcOf(local: string): string {
  const at = Date.parse(local);
  if (Number.isNaN(at)) return "";
  const iso = new Date(at).toISOString();
  return `${iso.startsWith(local.slice(0, 10)) ? "" : `${UTC_DAY.format(at)}, `}${UTC_CLOCK.format(at)} UTC`;
}

/** When the hour of a contract begins: "H100.SXM.80.US.20261127T16-USD" is "2026-11-27T16:00Z"; empty for what is no contract. */
export function beginOf(contract: string): string {
  const found = /\.(\d{4})(\d\d)(\d\d)T(\d\d)-USD$/.exec(contract);
  return found ? `${found[1]}-${found[2]}-${found[3]}T${found[4]}:00Z` : "";
}

/** "17:00". */
export function localClock(ms: number): string {
  return LOCAL_CLOCK.format(ms);
}

/** "Fri 27". */
export function localDay(ms: number): string {
  return LOCAL_DAY.format(ms);
}

/** "2 h 05 min", "4 min 10 s", "8 s": what is left until then; "nothing" when it is over. */
export function left(ms: number): string {
  if (ms <= 0) return "nothing";
  const seconds = Math.floor(ms / 1000);
  const minutes = Math.floor(seconds / 60);
  if (minutes >= 60) return `${Math.floor(minutes / 60)} h ${String(minutes % 60).padStart(2, "0")} min`;
  return minutes ? `${minutes} min ${String(seconds % 60).padStart(2, "0")} s` : `${seconds} s`;
}

/** The hour of delivery that a moment is in, as the API names it: "2026-11-27T16:00Z". */
export function hourOf(ms: number): string {
  return `${new Date(Math.floor(ms / HOUR_MS) * HOUR_MS).toISOString().slice(0, 16)}Z`;
}

/** What an `<input type="datetime-local">` is to show for a moment, to the minute. */
export function inputOf(ms: number): string {
  const at = new Date(ms);
  return new Date(ms - at.getTimezoneOffset() * 60_000).toISOString().slice(0, 16);
}

// --- The market's clock: ours outside a sandbox, in which time may run faster ----------------------------------------

let marketMs = Date.now();
let heardMs = performance.now();
let rate = 1;

/** What `GET /v1/time` has just said. */
export function setClock(market: string, marketRate: number): void {
  marketMs = Date.parse(market);
  heardMs = performance.now();
  rate = marketRate;
}

/** The market's time, in milliseconds since the epoch. */
export function nowMs(): number {
  return marketMs + (performance.now() - heardMs) * rate;
}
