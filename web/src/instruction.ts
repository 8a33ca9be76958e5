// From what is typed into the form to the body of POST /v1/rentals, or to what is wrong with it. Pure.

import type { RentalRequest } from "./bodies";
import { formatUsd, parseUsd } from "./money";
import { hourOf } from "./times";

export interface Typed {
  class: string;
  gpus: string;
  start: string;
  /** Local, as `<input type="datetime-local">` has it. */
  from: string;
  length: string;
  hours: string;
  max_price: string;
  on_stop: string;
}

export interface Fault {
  field: "class" | "gpus" | "from" | "hours" | "max_price";
  text: string;
}

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
  const hours = typed.length === "hours" ? whole(typed.hours, 8_760) : 0;
  if (hours === null) return { field: "hours", text: "How many hours: a whole number from 1 to 8760." };
  const price = parseUsd(typed.max_price);
  if (!price) return { field: "max_price", text: "The most you pay per GPU-hour, in USD, such as 3.60." };
  const onStop = typed.on_stop === "keep" ? "keep" : "sell";
  return { classes: [typed.class], gpus, max_price: formatUsd(price), from, hours, on_stop: onStop, launch: "default" };
}

export function isFault(made: RentalRequest | Fault): made is Fault {
  return "field" in made;
}

/** A whole number from 1 to `most`; null: it is none. */
export function whole(text: string, most: number): number | null {
  return /^[1-9][0-9]{0,6}$/.test(text.trim()) && Number(text) <= most ? Number(text) : null;
}

/** Public keys out of a field, one a line. */
export function keysIn(text: string): string[] {
  return text.split("\n").map((line) => line.trim()).filter((line) => line && !line.startsWith("#"));
}
