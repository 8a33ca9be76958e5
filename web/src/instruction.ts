// From what is typed into a form to the body of POST /v1/rentals or of a change, or to what is wrong with it. Pure.

import type { RentalChange, RentalRequest } from "./bodies";
import type { Fault } from "./forms";
import { formatUsd, parseUsd, showUsd } from "./money";
import { HOUR_MS, hourOf } from "./times";

export const AHEAD = 6;
export const LAUNCH = "default";
const AHEAD_MOST = 24;
const CLASSES_MOST = 8;
const HOURS_MOST = 8_760;
const NO_HOURS: Fault = { field: "hours", text: `How many hours: a whole number from 1 to ${HOURS_MOST}.` };

/** Limits, which may be changed while a rental runs. */
export interface TypedLimits {
  max_price: string;
  max_spend: string;
  look_ahead: string;
  on_stop: string;
  webhook: string;
}

export interface TypedChange extends TypedLimits {
  /** In all; empty: until it is stopped. */
  hours: string;
}

export interface Typed extends TypedLimits {
  class: string;
  /** Classes that will do as well. */
  also: string[];
  gpus: string;
  start: string;
  /** Local, as `<input type="datetime-local">` has it. */
  from: string;
  length: string;
  hours: string;
  launch: string;
}

type Limits = Required<Omit<RentalChange, "hours">>;

/** The request, or the first thing that keeps it from being one. */
export function instruction(typed: Typed, nowMs: number): RentalRequest | Fault {
  if (!typed.class) return { field: "class", text: "Choose a GPU." };
  const gpus = whole(typed.gpus, 1_000_000);
  if (gpus === null) return { field: "gpus", text: "How many GPUs: a whole number from 1 on." };
  let from = "";
  if (typed.start === "later") {
    const ms = Date.parse(typed.from);
    if (Number.isNaN(ms)) return { field: "from", text: "Choose the day and hour it begins." };
    if (ms < nowMs) return { field: "from", text: "That hour is over: choose a later one, or now." };
    from = hourOf(ms);
  }
  const hours = typed.length === "hours" ? whole(typed.hours, HOURS_MOST) : 0;
  if (hours === null) return NO_HOURS;
  const limits = limitsOf(typed);
  if (isFault(limits)) return limits;
  const classes = [...new Set([typed.class, ...typed.also])];
  if (classes.length > CLASSES_MOST) return { field: "also", text: `At most ${CLASSES_MOST} classes in all.` };
  return { classes, gpus, from, hours, ...limits, launch: typed.launch || LAUNCH };
}

function limitsOf(typed: TypedLimits): Limits | Fault {
  const price = parseUsd(typed.max_price);
  if (!price) return { field: "max_price", text: "The most you pay per GPU-hour, in USD, such as 3.60." };
  const spend = typed.max_spend.trim() ? parseUsd(typed.max_spend) : 0n;
  if (spend === null || (typed.max_spend.trim() && !spend)) {
    return { field: "max_spend", text: "The most you pay for a day, in USD, such as 40; or nothing." };
  }
  const ahead = whole(typed.look_ahead, AHEAD_MOST);
  if (ahead === null) return { field: "look_ahead", text: `Hours bought ahead: a whole number from 1 to ${AHEAD_MOST}.` };
  return {
    max_price: formatUsd(price), max_spend: spend ? formatUsd(spend) : "", look_ahead: ahead,
    on_stop: typed.on_stop === "keep" ? "keep" : "sell", webhook: typed.webhook.trim(),
  };
}

/** What of a rental is to be another; empty: nothing. Or the first thing that is wrong with it. */
export function changeOf(typed: TypedChange, request: RentalRequest): RentalChange | Fault {
  const limits = limitsOf(typed);
  if (isFault(limits)) return limits;
  const hours = typed.hours.trim() ? whole(typed.hours, HOURS_MOST) : 0;
  if (hours === null) return NO_HOURS;
  const other = Object.entries({ ...limits, hours }).filter(([name, value]) => request[name as keyof RentalChange] !== value);
  return Object.fromEntries(other);
}

export function isFault<T extends object>(made: T | Fault): made is Fault {
  return "field" in made;
}

/** When it ends by itself, in milliseconds since the epoch; null: when it is stopped. The hour that runs counts as one. */
export function endOf(request: RentalRequest, nowMs: number): number | null {
  if (!request.hours) return null;
  const first = request.from ? Date.parse(request.from) : Math.floor(nowMs / HOUR_MS) * HOUR_MS;
  return first + request.hours * HOUR_MS;
}

/** Options that are not as they are at first, in a few words: "at most 40.00 USD a day, 12 hours ahead". */
export function optionsSet(request: RentalRequest): string {
  const also = request.classes.length - 1;
  return [
    request.max_spend && `at most ${showUsd(request.max_spend)} USD a day`,
    request.look_ahead !== AHEAD && `${request.look_ahead} ${request.look_ahead === 1 ? "hour" : "hours"} ahead`,
    also && `${also} more ${also === 1 ? "class" : "classes"}`,
    request.on_stop === "keep" && "kept when stopped",
    request.launch !== LAUNCH && request.launch,
    request.webhook && "a webhook",
  ].filter(Boolean).join(", ");
}

/** A whole number from 1 to `most`; null: it is none. */
export function whole(text: string, most: number): number | null {
  return /^[1-9][0-9]{0,6}$/.test(text.trim()) && Number(text) <= most ? Number(text) : null;
}

/** Public keys out of a field, one a line. */
export function keysIn(text: string): string[] {
  return text.split("\n").map((line) => line.trim()).filter((line) => line && !line.startsWith("#"));
}
