// The market of one class as it is now: its grid, asked for every second, and whether it still is now.
//
// A price that is old and looks new is worse than none: within three seconds of the last word of market data, whatever
// comes from it is marked (`data-stale` on the root element), and it says so.

import { ask, Refused } from "./api";
import type { Grid, GridRow } from "./bodies";
import { byId, say } from "./dom";
import { Poll } from "./poll";

const EVERY_MS = 1_000;
const PATIENCE_MS = 1_500;
const SILENT_MS = 2_500;
/** Market data answers, and has not looked at the log for so long. */
const IDLE_MS = 10_000;

let classId = "";
let rows: GridRow[] = [];
let heardMs = -Infinity;
let readAt = "";
let readMs = -Infinity;
let why = "";
const listeners: (() => void)[] = [];
const poll = new Poll(EVERY_MS, hear);

/** Looks at this class from now on. */
export function watch(wanted: string): void {
  if (wanted === classId) return;
  classId = wanted;
  rows = [];
  heardMs = -Infinity;
  tell();
  if (wanted) poll.start();
  else poll.stop();
}

/** Hours of the class that is looked at, rising; none until they are known. */
export function grid(): { classId: string; rows: GridRow[] } {
  return { classId, rows };
}

/** Calls back whenever the grid is another, or has become old. */
export function onGrid(listener: () => void): void {
  listeners.push(listener);
}

async function hear(): Promise<void> {
  const asked = classId;
  try {
    const answer = await ask<Grid>("GET", `/v1/classes/${encodeURIComponent(asked)}/grid`, { patience: PATIENCE_MS });
    if (asked !== classId) return poll.now();
    rows = answer.rows;
    heardMs = performance.now();
    if (answer.as_of.read_at !== readAt) readMs = heardMs;
    readAt = answer.as_of.read_at;
    why = "";
  } catch (error) {
    if (!(error instanceof Refused)) throw error;
    why = error.message;
  }
  tell();
}

function isStale(): boolean {
  const now = performance.now();
  return now - heardMs > SILENT_MS || now - readMs > IDLE_MS;
}

function tell(): void {
  mark();
  for (const listener of listeners) listener();
}

function mark(): void {
  const stale = classId !== "" && isStale();
  document.documentElement.toggleAttribute("data-stale", stale);
  const age = rows.length ? `Prices are ${Math.round((performance.now() - heardMs) / 1000)} s old.` : "No prices yet.";
  // What is told aloud has no count in it: it would be told again every second.
  say(byId("live-told"), stale && why ? `Prices are old. ${why}` : "");
  say(byId("live-state"), !classId ? "not shown here" : stale ? `${age} ${why}` : "Live");
}

setInterval(() => {
  if (classId && !document.hidden) mark();
}, 250);
