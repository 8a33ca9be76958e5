// Hours in which a provider takes a machine away, planned before they begin.

import { ask, reason } from "./api";
import type { MachineAnswer, MaintenanceWindow } from "./bodies";
import { byId, el, keyed, say } from "./dom";
import { fillChoices } from "./drafts";
import { goToFault, once, type Places, showFault, tellRefusal, tellUtc } from "./forms";
import { whole } from "./instruction";
import { both, HOUR_MS, hourOf, inputOf, nowMs } from "./times";

const HOURS_MOST = 744;
/** What the exchange may find fault with. */
const PLACES: Places = { wrong_window: "from", unknown_machine: "machine" };

const form = byId<HTMLFormElement>("maintenance-form");
const machine = byId<HTMLSelectElement>("maintenance-machine");
const from = byId<HTMLInputElement>("maintenance-from");
const hours = byId<HTMLInputElement>("maintenance-hours");
const told = byId("maintenance-told");
const tell = tellUtc(from, byId("away-utc"));

export function startMaintenance(): { forget: () => void } {
  byId("maintenance").addEventListener("toggle", () => {
    if (!from.value) from.value = inputOf((Math.floor(nowMs() / HOUR_MS) + 2) * HOUR_MS);
    tell();
  });
  form.addEventListener("input", () => showFault(form, null));
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    void takeAway();
  });
  return {
    forget: () => {
      form.reset();
      showFault(form, null);
      machine.replaceChildren();
      byId("provider-away").replaceChildren();
      byId("maintenance").hidden = true;
      for (const id of ["maintenance-said", "maintenance-told"]) say(byId(id), "");
    },
  };
}

/** What is planned, with a button for each to take it back. */
export function showMaintenance(machines: MachineAnswer[]): void {
  const there = machines.filter((each) => !each.retired);
  byId("maintenance").hidden = !there.length;
  fillChoices(machine, there.map((each) => [each.machine, each.machine]));
  const windows = there.flatMap((each) => each.maintenance.map((window) => ({
    machine: each.machine, ...window, begun: Date.parse(window.from) <= nowMs(),
  })));
  keyed(byId("provider-away"), windows, (each) => `${each.machine} ${each.from}`, (each) => {
    const button = el("button", { type: "button", class: "quiet" }, each.begun ? "Back from the next hour" : "Take back");
    button.setAttribute("aria-label", `${button.textContent}: ${each.machine}, ${both(each.from)}`);
    button.addEventListener("click", () => void once(button, () => bringBack(each.machine, each)));
    return el("p", {}, `${each.machine} is away from ${both(each.from)} until ${both(each.until)} `, button);
  });
}

async function takeAway(): Promise<void> {
  say(byId("maintenance-said"), "");
  const begin = Date.parse(from.value);
  if (Number.isNaN(begin)) return goToFault(form, { field: "from", text: "Choose the first hour." });
  const count = whole(hours.value, HOURS_MOST);
  if (count === null) return goToFault(form, { field: "hours", text: `How many hours: a whole number from 1 to ${HOURS_MOST}.` });
  await once(byId("maintenance-button"), async () => {
    try {
      const first = Date.parse(hourOf(begin));
      const window = { from: hourOf(first), until: hourOf(first + count * HOUR_MS) };
      await plan(machine.value, (windows) => [...windows, window]);
      say(told, `${machine.value} is away from ${both(window.from)} until ${both(window.until)}.`);
    } catch (error) {
      tellRefusal(form, byId("maintenance-said"), error, PLACES);
    }
  });
}

/** One that has begun ends with the hour that runs; of one that has not, nothing stays. */
async function bringBack(name: string, gone: MaintenanceWindow): Promise<void> {
  const next = hourOf(nowMs() + HOUR_MS);
  try {
    await plan(name, (windows) => windows.flatMap((each) => {
      if (each.from !== gone.from) return [each];
      return each.from < next ? [{ from: each.from, until: next }] : [];
    }));
    say(told, Date.parse(gone.from) < Date.parse(next) ? `${name} is back from ${both(next)} on.` : `${name} is there in these hours.`);
  } catch (error) {
    say(told, reason(error));
  }
}

/** Other windows in place of those that there are now. Throws Refused. */
async function plan(name: string, change: (windows: MaintenanceWindow[]) => MaintenanceWindow[]): Promise<void> {
  const machines = await ask<MachineAnswer[]>("GET", "/v1/machines");
  const windows = machines.find((each) => each.machine === name)?.maintenance ?? [];
  const path = `/v1/machines/${encodeURIComponent(name)}/maintenance`;
  const changed = await ask<MachineAnswer>("PUT", path, { body: { windows: change(windows) } });
  showMaintenance(machines.map((each) => (each.machine === name ? changed : each)));
}
