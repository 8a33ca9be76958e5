// What a provider has machines for: offered by one form, withdrawn by another, and listed by hour.

import { ask, freshId, settle } from "./api";
import { classOf, declared, type Span, type Target, targets, withdrawals } from "./backing";
import type { CapacityAnswer, ClassAnswer, Grid, LegAnswer, RangeAnswer } from "./bodies";
import { byId, say, shown, table } from "./dom";
import { fillChoices, forgetDraft, keepDraft } from "./drafts";
import { type Fault, goToFault, once, type Places, showFault, tellRefusal, tellUtc } from "./forms";
import { isFault, whole } from "./instruction";
import { formatUsd, parseUsd } from "./money";
import { beginOf, both, HOUR_MS, hourOf, inputOf, nowMs } from "./times";

const HOURS_MOST = 1_024;
const GPUS_MOST = 1_000_000;
/** What the exchange may find fault with. */
const PLACES: Places = {
  wrong_qty: "gpus", insufficient_backing: "gpus", wrong_price: "price", outside_collar: "price", unknown_contract: "from", wrong_phase: "from",
};

const form = byId<HTMLFormElement>("provider-form");
const said = byId("provider-said");
const back = byId<HTMLFormElement>("withdraw-form");
const backClass = byId<HTMLSelectElement>("withdraw-class");
const tellFrom = tellUtc(field(form, "from"), byId("offer-utc"));
const tellBack = tellUtc(field(back, "from"), byId("withdraw-utc"));
let known: CapacityAnswer[] = [];
let ticks = new Map<string, string>();

export function startCapacity(): { forget: () => void; classes: (found: ClassAnswer[]) => void } {
  keepDraft(form);
  begin();
  on(form, offer);
  on(back, withdraw);
  byId("withdraw").addEventListener("toggle", fillBack);
  backClass.addEventListener("change", fillBack);
  return {
    forget: () => {
      forgetDraft(form);
      begin();
      known = [];
      for (const each of [form, back]) showFault(each, null);
      for (const id of ["provider-said", "withdraw-said", "withdraw-told"]) say(byId(id), "");
      byId("provider-capacity").replaceChildren();
      byId("withdraw").hidden = true;
    },
    classes: (found) => {
      ticks = new Map(found.map((each) => [each.class, each.tick]));
      fillChoices(byId<HTMLSelectElement>("provider-class"), found.map((each) => [each.class, each.title]));
    },
  };
}

function on(which: HTMLFormElement, act: () => Promise<void>): void {
  which.addEventListener("input", () => showFault(which, null));
  which.addEventListener("submit", (event) => {
    event.preventDefault();
    void act();
  });
}

function begin(): void {
  const from = field(form, "from");
  if (!from.value) from.value = inputOf((Math.floor(nowMs() / HOUR_MS) + 2) * HOUR_MS);
  tellFrom();
}

function field(of: HTMLFormElement, name: string): HTMLInputElement {
  return of.elements.namedItem(name) as HTMLInputElement;
}

/** Hours that are typed into a form. */
function spanIn(of: HTMLFormElement): Span | Fault {
  const begin = Date.parse(field(of, "from").value);
  if (Number.isNaN(begin)) return { field: "from", text: "Choose the first hour." };
  const hours = whole(field(of, "hours").value, HOURS_MOST);
  if (hours === null) return { field: "hours", text: `How many hours: a whole number from 1 to ${HOURS_MOST}.` };
  return { class: field(of, "class").value, firstMs: Date.parse(hourOf(begin)), hours };
}

// --- Offering --------------------------------------------------------------------------------------------------------

interface Offer extends Span {
  gpus: number;
  price: string;
  running: boolean;
}

function offered(): Offer | Fault {
  const gpus = whole(field(form, "gpus").value, GPUS_MOST);
  if (gpus === null) return { field: "gpus", text: "How many GPUs: a whole number from 1 on." };
  const span = spanIn(form);
  if (isFault(span)) return span;
  const price = parseUsd(field(form, "price").value);
  if (!price) return { field: "price", text: "The least you take per GPU-hour, in USD, such as 2.40." };
  // Said before anything is declared: the ask comes last.
  const tick = ticks.get(span.class);
  if (tick && parseUsd(tick) && price % parseUsd(tick)!) return { field: "price", text: `A multiple of ${tick} USD, the tick of this class.` };
  return { ...span, gpus, price: formatUsd(price), running: field(form, "running").checked };
}

/** Capacity first, as nobody may sell what he has not; then the same ask in every hour. */
async function offer(): Promise<void> {
  const wanted = offered();
  say(said, "");
  if (isFault(wanted)) return goToFault(form, wanted);
  await once(byId("provider-button"), async () => {
    try {
      const grid = await ask<Grid>("GET", `/v1/classes/${encodeURIComponent(wanted.class)}/grid`);
      await declare(targets(wanted, wanted.gpus, wanted.running, grid.rows, await read()));
      const asked = await ask<RangeAnswer>("POST", "/v1/ranges", {
        body: {
          class: wanted.class, from: hourOf(wanted.firstMs), count: wanted.hours, side: "sell", qty: wanted.gpus, price: wanted.price,
          running: wanted.running, client_order_id: freshId(),
        },
      });
      say(said, outcome(asked.legs));
      await readCapacity();
    } catch (error) {
      tellRefusal(form, said, error, PLACES);
    }
  });
}

/** One after the other. Throws Refused. */
async function declare(all: Target[]): Promise<void> {
  for (const target of all) await settle("PUT", "/v1/capacity", target, freshId());
}

/** What became of the hours, in a sentence or two; of what was refused, the first reason. */
export function outcome(legs: LegAnswer[]): string {
  const asked = legs.filter((leg) => leg.order).length;
  const sold = legs.reduce((sum, leg) => sum + (leg.order?.filled ?? 0), 0);
  const refused = legs.find((leg) => leg.refusal)?.refusal;
  const good = asked ? `${asked} of ${legs.length} hours are offered${sold ? `, ${sold} GPU-hours sold at once` : ""}.` : "Nothing is offered.";
  return refused ? `${good} Refused: ${refused.title}, ${refused.detail}.` : good;
}

// --- Withdrawing -----------------------------------------------------------------------------------------------------

/** All hours in which something of the class is declared. */
function fillBack(): void {
  const span = declared(backClass.value, known);
  if (!span) return;
  field(back, "from").value = inputOf(span.firstMs);
  field(back, "hours").value = String(span.hours);
  tellBack();
}

async function withdraw(): Promise<void> {
  const span = spanIn(back);
  const text = field(back, "keep").value.trim();
  const keep = text === "0" ? 0 : whole(text, GPUS_MOST);
  say(byId("withdraw-said"), "");
  if (isFault(span)) return goToFault(back, span);
  if (keep === null) return goToFault(back, { field: "keep", text: "How many stay declared: a whole number, 0 for none." });
  await once(byId("withdraw-button"), async () => {
    try {
      const less = withdrawals(span, keep, await read());
      if (!less.length) return goToFault(back, { field: "from", text: `No more than ${keep} is declared in these hours.` });
      await declare(less);
      await readCapacity();
      say(byId("withdraw-told"), withdrawn(span, keep));
      // The next press would be for what is left.
      const details = byId<HTMLDetailsElement>("withdraw");
      details.querySelector("summary")!.focus();
      details.open = false;
    } catch (error) {
      tellRefusal(back, byId("withdraw-said"), error, { ...PLACES, wrong_qty: "keep" });
    }
  });
}

function withdrawn(span: Span, keep: number): string {
  const owed = known.filter((each) => classOf(each.contract) === span.class && each.owed > each.qty).length;
  const what = keep ? `No more than ${keep} of ${span.class} stay declared.` : `${span.class} is withdrawn.`;
  return owed ? `${what} In ${owed} of its hours more is sold: that stays owed.` : what;
}

// --- What is declared ------------------------------------------------------------------------------------------------

async function read(): Promise<CapacityAnswer[]> {
  known = await ask<CapacityAnswer[]>("GET", "/v1/capacity");
  return known;
}

export async function readCapacity(): Promise<void> {
  await shown("provider-capacity", async () => {
    const rows = (await read()).filter((row) => row.qty || row.owed);
    const classes = [...new Set(rows.map((row) => classOf(row.contract)))].filter((each) => declared(each, rows));
    const before = backClass.value;
    byId("withdraw").hidden = !classes.length;
    fillChoices(backClass, classes.map((each) => [each, each]));
    if (backClass.value !== before) fillBack();
    if (!rows.length) return "Nothing is declared yet.";
    return table("Declared and sold", ["Hour", "Class", "Ground", "Declared", "Sold", "Asked"], rows.map((row) => [
      both(beginOf(row.contract)), classOf(row.contract), row.ground, String(row.qty), String(row.owed), String(row.asked),
    ]));
  });
}
