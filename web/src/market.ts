// The market of a class, to look at: a plot with a cursor, and a table of all hours. Shown on its own and below the form.

import type { ClassAnswer, GridRow } from "./bodies";
import { fillChoices } from "./drafts";
import { byId, el, say, table } from "./dom";
import { grid, onGrid, watch } from "./live";
import { showUsd } from "./money";
import { plot, rowAt } from "./plot";
import { both } from "./times";

/** A plot in `where` of the class that is looked at, with a cursor that is moved by keys, mouse or finger. */
export function marketPlot(where: HTMLElement, name: string, hoursMost: number): void {
  const drawing = el("div", { class: "drawing live" });
  const slider = el("input", { type: "range", min: "0", max: "0", value: "0", "aria-label": `Hour of ${name}`, "aria-describedby": `${where.id}-read` });
  const read = el("output", { id: `${where.id}-read`, class: "live" });
  const legend = el("p", { class: "legend" }, el("span", { class: "key ask" }, "best ask"), el("span", { class: "key bid" }, "best bid"), " USD per GPU-hour, by hour of delivery, local time");
  where.append(legend, drawing, slider, read);

  const shown = (): GridRow[] => grid().rows.slice(0, hoursMost);
  const draw = (): void => {
    const width = drawing.clientWidth;
    const rows = shown();
    if (!width) return;
    slider.max = String(Math.max(0, rows.length - 1));
    slider.disabled = !rows.length;
    const chosen = rows[slider.valueAsNumber];
    drawing.replaceChildren(rows.length ? plot(rows, width, slider.valueAsNumber) : el("p", { class: "empty" }, "Waiting for the market …"));
    say(read, chosen ? describe(chosen) : "");
    if (chosen) slider.setAttribute("aria-valuetext", both(chosen.hour));
  };
  slider.addEventListener("input", draw);
  drawing.addEventListener("pointermove", (event) => {
    const rows = shown();
    if (!rows.length) return;
    slider.value = String(rowAt(rows.length, drawing.clientWidth, event.clientX - drawing.getBoundingClientRect().left));
    draw();
  });
  new ResizeObserver(draw).observe(drawing);
  onGrid(draw);
}

function describe(row: GridRow): string {
  const side = (price: string, qty: number): string => (price ? `${showUsd(price)} × ${qty}` : "nobody");
  return `${both(row.hour)}: asks ${side(row.ask, row.ask_qty)}, bids ${side(row.bid, row.bid_qty)}${row.last ? `, last ${showUsd(row.last)}` : ""}`;
}

/** The view of its own. */
export function startMarket(): { show: () => void; classes: (classes: ClassAnswer[]) => void } {
  const choice = byId<HTMLSelectElement>("market-class");
  const hours = byId<HTMLDetailsElement>("market-hours");
  marketPlot(byId("market-plot"), "the market", 168);

  const list = (): void => {
    if (!hours.open || byId("market").hidden) return;
    const price = (text: string, qty: number): string => (text ? `${showUsd(text)} × ${qty}` : "–");
    const rows = grid().rows.map((row) => [both(row.hour), row.phase, price(row.bid, row.bid_qty), price(row.ask, row.ask_qty), row.last ? showUsd(row.last) : "–"]);
    const body = hours.querySelector("tbody");
    // The same table with other rows: it stays where it was scrolled to.
    if (body) body.replaceChildren(...rows.map((cells) => el("tr", {}, ...cells.map((cell) => el("td", {}, cell)))));
    else hours.append(table("Hours of the class", ["Hour", "Phase", "Bid × GPUs", "Ask × GPUs", "Last"], rows));
  };
  hours.addEventListener("toggle", list);
  onGrid(list);
  const look = (): void => watch(choice.value);
  choice.addEventListener("change", look);
  return {
    show: look,
    classes: (classes) => fillChoices(choice, classes.map((each) => [each.class, each.title])),
  };
}
