// For whoever has machines: offer hours, see what is let, and what comes in.

import { ask, freshId, reason, Refused, settle } from "./api";
import type { AccountAnswer, CapacityAnswer, ClassAnswer, LegAnswer, MachineAnswer, RangeAnswer } from "./bodies";
import { byId, say, table } from "./dom";
import { fillChoices, forgetDraft, keepDraft } from "./drafts";
import { whole } from "./instruction";
import { formatUsd, parseUsd, showUsd } from "./money";
import { Poll } from "./poll";
import { beginOf, both, HOUR_MS, hourOf, inputOf, nowMs } from "./times";

const EVERY_MS = 5_000;
const HOURS_MOST = 168;

/** GET /v1/income: an exchange that does not reckon it yet answers 404. */
interface IncomeRow {
  contract: string;
  starts_at: string;
  class: string;
  gpus: number;
  expected: string;
  paid: string;
  state: string;
}

const form = byId<HTMLFormElement>("provider-form");
const said = byId("provider-said");
const poll = new Poll(EVERY_MS, async () => {
  await Promise.all([readMachines(), readCapacity(), readIncome()]);
});

export function startProvider(): { show: (account: AccountAnswer | null) => void; hide: () => void; forget: () => void; classes: (found: ClassAnswer[]) => void } {
  keepDraft(form);
  begin();
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    void offer();
  });
  return {
    show: (account) => {
      const may = account !== null && account.role !== "member" && account.scopes.includes("supply");
      byId("provider-own").hidden = !may;
      byId("provider-not").hidden = may || account === null;
      if (may) poll.start();
      else poll.stop();
    },
    hide: () => poll.stop(),
    forget: () => {
      forgetDraft(form);
      begin();
      say(said, "");
      say(byId("provider-use"), "");
      for (const id of ["provider-machines", "provider-capacity", "provider-income"]) byId(id).replaceChildren();
    },
    classes: (found) => fillChoices(byId<HTMLSelectElement>("provider-class"), found.map((each) => [each.class, each.title])),
  };
}

function begin(): void {
  const from = field("from");
  if (!from.value) from.value = inputOf((Math.floor(nowMs() / HOUR_MS) + 2) * HOUR_MS);
}

function field(name: string): HTMLInputElement {
  return form.elements.namedItem(name) as HTMLInputElement;
}

// --- Offering --------------------------------------------------------------------------------------------------------

/** Capacity first, as nobody may sell what he has not; then the same ask in every hour. */
async function offer(): Promise<void> {
  const begin = Date.parse(field("from").value);
  const hours = whole(field("hours").value, HOURS_MOST);
  const gpus = whole(field("gpus").value, 1_000_000);
  const price = parseUsd(field("price").value);
  const fault = Number.isNaN(begin) ? "Choose the first hour."
    : hours === null ? `How many hours: a whole number from 1 to ${HOURS_MOST}.`
    : gpus === null ? "How many GPUs: a whole number from 1 on."
    : !price ? "The least you take per GPU-hour, in USD, such as 2.40." : "";
  say(said, fault);
  if (fault || !price) return;
  const button = byId<HTMLButtonElement>("provider-button");
  if (button.getAttribute("aria-disabled") === "true") return;
  button.setAttribute("aria-disabled", "true");
  try {
    const id = freshId();
    const where = { class: field("class").value, from: hourOf(begin) };
    await settle("PUT", "/v1/capacity", { ...where, hours, ground: "declared", qty: gpus, version: Date.now() }, id);
    const asked = await ask<RangeAnswer>("POST", "/v1/ranges", {
      body: { ...where, count: hours, side: "sell", qty: gpus, price: formatUsd(price), client_order_id: id },
    });
    say(said, outcome(asked.legs));
    poll.now();
  } catch (error) {
    say(said, reason(error));
  } finally {
    button.removeAttribute("aria-disabled");
  }
}

/** What became of the hours, in a sentence or two; of what was refused, the first reason. */
export function outcome(legs: LegAnswer[]): string {
  const asked = legs.filter((leg) => leg.order).length;
  const sold = legs.reduce((sum, leg) => sum + (leg.order?.filled ?? 0), 0);
  const refused = legs.find((leg) => leg.refusal)?.refusal;
  const good = asked ? `${asked} of ${legs.length} hours are offered${sold ? `, ${sold} GPU-hours sold at once` : ""}.` : "Nothing is offered.";
  return refused ? `${good} Refused: ${refused.title}, ${refused.detail}.` : good;
}

// --- What is there ---------------------------------------------------------------------------------------------------

async function shown(id: string, read: () => Promise<HTMLElement | string>): Promise<void> {
  const where = byId(id);
  try {
    const made = await read();
    where.classList.remove("old");
    if (typeof made === "string") {
      where.replaceChildren();
      say(byId(`${id}-said`), made);
      return;
    }
    say(byId(`${id}-said`), "");
    if (where.firstElementChild?.outerHTML !== made.outerHTML) where.replaceChildren(made);
  } catch (error) {
    where.classList.add("old");
    say(byId(`${id}-said`), reason(error));
  }
}

async function readMachines(): Promise<void> {
  await shown("provider-machines", async () => {
    const machines = await ask<MachineAnswer[]>("GET", "/v1/machines");
    say(byId("provider-use"), utilisation(machines));
    if (!machines.length) return "No agent has told of a machine yet: `hourbook agent` on a machine does.";
    return table("Machines with agents", ["Machine", "Class", "Agent", "Let"], machines.map((each) => [
      each.source === "simulated" ? `${each.machine} (simulated)` : each.machine, each.class_id,
      each.retired ? "retired" : each.alive ? "heard" : each.heard_s_ago < 0 ? "never heard" : `silent for ${each.heard_s_ago} s`,
      `${each.seats.filter((seat) => seat.lease).length} of ${each.seats.length}`,
    ]));
  });
}

/** "3 of 8 GPUs are let (37 %)". */
export function utilisation(machines: MachineAnswer[]): string {
  const seats = machines.filter((each) => !each.retired).flatMap((each) => each.seats.filter((seat) => seat.usable || seat.lease));
  const busy = seats.filter((seat) => seat.lease).length;
  return seats.length ? `${busy} of ${seats.length} GPUs are let (${Math.floor((busy * 100) / seats.length)} %)` : "";
}

async function readCapacity(): Promise<void> {
  await shown("provider-capacity", async () => {
    const rows = (await ask<CapacityAnswer[]>("GET", "/v1/capacity")).filter((row) => row.qty || row.owed);
    if (!rows.length) return "Nothing is declared yet.";
    return table("Declared and sold", ["Hour", "Class", "Ground", "Declared", "Sold"], rows.map((row) => [
      both(beginOf(row.contract)), row.contract.slice(0, row.contract.lastIndexOf(".")), row.ground, String(row.qty), String(row.owed),
    ]));
  });
}

async function readIncome(): Promise<void> {
  await shown("provider-income", async () => {
    let rows: IncomeRow[];
    try {
      rows = await ask<IncomeRow[]>("GET", "/v1/income");
    } catch (error) {
      // Not built into this exchange: anything else that is wrong is told.
      if (error instanceof Refused && error.status === 404) return "This exchange does not reckon it by hour yet.";
      throw error;
    }
    if (!rows.length) return "Nothing is sold yet.";
    return table("Income by hour", ["Hour", "Class", "GPUs", "Expected", "Paid", "State"], rows.map((row) => [
      both(row.starts_at), row.class, String(row.gpus), showUsd(row.expected), row.paid ? showUsd(row.paid) : "–", row.state,
    ]));
  });
}
