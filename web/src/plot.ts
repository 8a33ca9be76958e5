// Best bid and ask of every hour of a class, drawn. Coordinates are the one place where a price becomes a float.

import type { GridRow } from "./bodies";
import { svg } from "./dom";
import { readUsd } from "./money";
import { HOUR_MS, localClock, localDay } from "./times";

const HEIGHT = 190;
const MARGIN = { top: 8, right: 8, bottom: 34, left: 46 };

type Side = "bid" | "ask";

/** Price marks: at most five, at steps of 1, 2 or 5, that lie within. */
export function marks(low: number, high: number): number[] {
  const rough = (high - low) / 4;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = power * ([1, 2, 5, 10].find((each) => each * power >= rough) ?? 10);
  const first = Math.ceil(low / step - 1e-9);
  const count = Math.floor(high / step + 1e-9) - first + 1;
  return Array.from({ length: Math.max(0, count) }, (_, i) => (first + i) * step);
}

/** Runs of hours in which a side has a price: a line is broken where nobody bids or asks. */
export function runs(rows: GridRow[], side: Side): GridRow[][] {
  const found: GridRow[][] = [];
  let last = 0;
  for (const row of rows) {
    if (!row[side]) continue;
    const at = Date.parse(row.hour);
    if (found.length && at === last + HOUR_MS) found.at(-1)!.push(row);
    else found.push([row]);
    last = at;
  }
  return found;
}

const usd = (text: string): number => Number(readUsd(text)) / 1e6;

/** The plot, `width` px wide; `chosen`: the index of the row that the cursor is at. */
export function plot(rows: GridRow[], width: number, chosen: number): SVGElement {
  const prices = rows.flatMap((row) => [row.bid, row.ask]).filter(Boolean).map(usd);
  const [least, most] = prices.length ? [Math.min(...prices), Math.max(...prices)] : [0, 1];
  const room = (most - least) * 0.08 || most * 0.05;
  const [low, high] = [Math.max(0, least - room), most + room];
  const begin = Date.parse(rows[0]?.hour ?? "") || 0;
  const end = (Date.parse(rows.at(-1)?.hour ?? "") || 0) + HOUR_MS;
  const x = (ms: number): number => MARGIN.left + ((ms - begin) / (end - begin)) * (width - MARGIN.left - MARGIN.right);
  const y = (price: number): number => HEIGHT - MARGIN.bottom - ((price - low) / (high - low)) * (HEIGHT - MARGIN.top - MARGIN.bottom);

  const line = (side: Side): SVGElement[] => runs(rows, side).map((run) => {
    const points = run.flatMap((row) => {
      const at = Date.parse(row.hour);
      return [`${x(at).toFixed(1)},${y(usd(row[side])).toFixed(1)}`, `${x(at + HOUR_MS).toFixed(1)},${y(usd(row[side])).toFixed(1)}`];
    });
    return svg("polyline", { class: `curve ${side}`, points: points.join(" ") });
  });

  const cursor = rows[chosen];
  return svg("svg", { width, height: HEIGHT, viewBox: `0 0 ${width} ${HEIGHT}`, "aria-hidden": "true" },
    ...marks(low, high).flatMap((price) => [
      svg("line", { class: "rule", x1: MARGIN.left, x2: width - MARGIN.right, y1: y(price), y2: y(price) }),
      svg("text", { x: MARGIN.left - 6, y: y(price) + 4, "text-anchor": "end" }, price.toFixed(high - low < 0.1 ? 3 : 2)),
    ]),
    ...hourMarks(begin, end, width).flatMap(({ ms, text, day }) => [
      svg("line", { class: "tick", x1: x(ms), x2: x(ms), y1: HEIGHT - MARGIN.bottom, y2: HEIGHT - MARGIN.bottom + 4 }),
      svg("text", { x: x(ms), y: HEIGHT - MARGIN.bottom + 16, "text-anchor": "middle" }, text),
      svg("text", { x: x(ms), y: HEIGHT - MARGIN.bottom + 30, "text-anchor": "middle" }, day),
    ]),
    ...(cursor ? [svg("rect", {
      class: "cursor", x: x(Date.parse(cursor.hour)), width: Math.max(2, x(begin + HOUR_MS) - x(begin)), y: MARGIN.top,
      height: HEIGHT - MARGIN.top - MARGIN.bottom,
    })] : []),
    ...line("bid"), ...line("ask"));
}

/** Local times below the plot: as many as have room, and the day where it begins. */
function hourMarks(begin: number, end: number, width: number): { ms: number; text: string; day: string }[] {
  const room = Math.max(1, Math.floor((width - MARGIN.left) / 64));
  const step = [1, 2, 3, 6, 12, 24, 48].find((hours) => (end - begin) / HOUR_MS / hours <= room) ?? 48;
  const found = [];
  let day = "";
  for (let ms = begin; ms < end; ms += HOUR_MS) {
    const hour = new Date(ms).getHours();
    const dayNumber = Math.floor((ms - new Date(ms).getTimezoneOffset() * 60_000) / (24 * HOUR_MS));
    if (hour % Math.min(step, 24) || (step > 24 && dayNumber % 2)) continue;
    const here = localDay(ms);
    found.push({ ms, text: localClock(ms), day: here === day ? "" : here });
    day = here;
  }
  return found;
}

/** Which row is at this place of a plot that is `width` px wide. */
export function rowAt(count: number, width: number, px: number): number {
  const share = (px - MARGIN.left) / (width - MARGIN.left - MARGIN.right);
  return Math.min(count - 1, Math.max(0, Math.floor(share * count)));
}
