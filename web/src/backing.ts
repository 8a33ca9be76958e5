// What must be declared so that hours may be sold, and what takes it back. Pure.
//
// A provider's machines stand behind hours to come as `declared`, and behind an hour that runs as `ready`. An ask that is to go on
// selling needs both before the hour begins; what it has sold by then is not in it any more, so no GPU is sold twice.

import type { CapacityAnswer, GridRow } from "./bodies";
import { beginOf, HOUR_MS, hourOf } from "./times";

type Ground = "declared" | "ready";

/** Body of PUT /v1/capacity, of one class. */
export interface Target {
  class: string;
  from: string;
  hours: number;
  ground: Ground;
  qty: number;
  version: number;
}

/** Hours of a class, in milliseconds since the epoch. */
export interface Span {
  class: string;
  firstMs: number;
  hours: number;
}

/** What to declare for `gpus` in each hour, the hours that run included where `running`. */
export function targets(span: Span, gpus: number, running: boolean, rows: GridRow[], known: CapacityAnswer[]): Target[] {
  const runs = new Set(rows.filter((row) => row.phase === "running").map((row) => Date.parse(row.hour)));
  const all = hoursOf(span);
  const ahead = all.filter((ms) => !runs.has(ms));
  const made = targetsOf(span.class, "declared", ahead, gpus, known);
  if (!running) return made;
  made.push(...targetsOf(span.class, "ready", ahead, gpus, known));
  for (const ms of all.filter((each) => runs.has(each))) {
    // A machine that is owed since before is not ready.
    const owed = row(known, span.class, ms, "declared")?.owed ?? 0;
    made.push(...targetsOf(span.class, "ready", [ms], Math.max(0, gpus - owed), known));
  }
  return made;
}

/** What to declare so that no more than `keep` stays in each hour, on either ground; nothing where that is so already. */
export function withdrawals(span: Span, keep: number, known: CapacityAnswer[]): Target[] {
  return (["declared", "ready"] as const).flatMap((ground) => {
    const above = hoursOf(span).filter((ms) => isMore(row(known, span.class, ms, ground), keep));
    return targetsOf(span.class, ground, above, keep, known);
  });
}

/** What is sold as ready is not bought back: of an hour in which all of it is, which may be closed as well, nothing is taken. */
function isMore(each: CapacityAnswer | undefined, keep: number): boolean {
  return each !== undefined && each.qty > (each.ground === "ready" ? Math.max(keep, each.owed) : keep);
}

/** From the first to the last hour in which something of the class is declared; null: nothing is. */
export function declared(classId: string, known: CapacityAnswer[]): Span | null {
  const hours = known
    .filter((each) => each.ground !== "promised" && isMore(each, 0) && classOf(each.contract) === classId)
    .map((each) => Date.parse(beginOf(each.contract)));
  if (!hours.length) return null;
  const firstMs = Math.min(...hours);
  return { class: classId, firstMs, hours: (Math.max(...hours) - firstMs) / HOUR_MS + 1 };
}

/** "H100.SXM.80.US.20261127T16-USD" is an hour of "H100.SXM.80.US". */
export function classOf(contract: string): string {
  return contract.slice(0, contract.lastIndexOf("."));
}

function hoursOf(span: Span): number[] {
  return Array.from({ length: span.hours }, (_, i) => span.firstMs + i * HOUR_MS);
}

/** One for each run of hours without a gap, with a version above all that are in force there. */
function targetsOf(classId: string, ground: Ground, hours: number[], qty: number, known: CapacityAnswer[]): Target[] {
  const runs: number[][] = [];
  for (const ms of hours) {
    const last = runs.at(-1);
    if (last && ms === last.at(-1)! + HOUR_MS) last.push(ms);
    else runs.push([ms]);
  }
  return runs.map((run) => {
    const versions = run.map((ms) => row(known, classId, ms, ground)?.version ?? 0);
    return { class: classId, from: hourOf(run[0]!), hours: run.length, ground, qty, version: 1 + Math.max(...versions) };
  });
}

function row(known: CapacityAnswer[], classId: string, ms: number, ground: Ground): CapacityAnswer | undefined {
  return known.find((each) => each.ground === ground && classOf(each.contract) === classId && Date.parse(beginOf(each.contract)) === ms);
}
