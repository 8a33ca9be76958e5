// What the account has: machines to log in to, and the rentals that keep them bought.

import { ask, freshId, reason } from "./api";
import type { LeaseAnswer, RentalAnswer } from "./bodies";
import { byId, copier, el, keyed, say, table, terms } from "./dom";
import { showUsd } from "./money";
import { Poll } from "./poll";
import { both, left, nowMs } from "./times";

const EVERY_MS = 3_000;
/** Nothing else goes into a line that somebody pastes into a shell: host and user are a provider's words. */
const HOST = /^[A-Za-z0-9][A-Za-z0-9.:-]*$/;
const USER = /^[a-z_][a-z0-9_-]*$/;

const LEASE = {
  waiting: "not begun", opening: "being prepared", open: "open", unreachable: "cannot be reached", over: "over",
} as const;
const RENTAL = {
  waiting: "waiting for its first hour", running: "bought as wanted", short: "short of hours", stopping: "stopped, running out", over: "over",
} as const;

const poll = new Poll(EVERY_MS, async () => {
  await Promise.all([readLeases(), readRentals()]);
});

export function startMachines(): { show: () => void; hide: () => void; forget: () => void } {
  setInterval(countDown, 1_000);
  return {
    show: () => poll.start(),
    hide: () => poll.stop(),
    forget: () => ["leases", "rentals"].forEach((id) => byId(id).replaceChildren()),
  };
}

async function readLeases(): Promise<void> {
  await list("leases", async () => {
    const leases = await ask<LeaseAnswer[]>("GET", "/v1/leases");
    const order = [...leases].sort((a, b) => Number(a.state === "over") - Number(b.state === "over") || a.starts_at.localeCompare(b.starts_at));
    keyed(byId("leases"), order, (lease) => lease.lease, leaseCard);
    return leases.length ? "" : "No machine yet: one appears here as soon as an hour is bought.";
  });
}

async function readRentals(): Promise<void> {
  await list("rentals", async () => {
    const rentals = await ask<RentalAnswer[]>("GET", "/v1/rentals");
    const order = [...rentals].sort((a, b) => Number(a.state === "over") - Number(b.state === "over") || Number(b.rental) - Number(a.rental));
    keyed(byId("rentals"), order, (rental) => rental.rental, rentalCard);
    return rentals.length ? "" : "No rental yet.";
  });
}

/** Reads into a list; what is wrong stands above it, and what was there stays. */
async function list(id: string, read: () => Promise<string>): Promise<void> {
  const note = byId(`${id}-said`);
  try {
    say(note, await read());
    byId(id).classList.remove("old");
  } catch (error) {
    say(note, reason(error));
    byId(id).classList.add("old");
  }
  byId(id).removeAttribute("aria-busy");
  countDown();
}

/** Times that are left, every second; the cards themselves change only when what they say does. */
function countDown(): void {
  if (byId("machines").hidden) return;
  for (const each of document.querySelectorAll<HTMLElement>("#machines time[data-until]")) {
    say(each, left(Date.parse(each.dataset["until"]!) - nowMs()));
  }
}

function until(iso: string): HTMLElement {
  return el("span", {}, el("time", { datetime: iso, "data-until": iso }), ` left, until ${both(iso)}`);
}

function badge(text: string, state: string): HTMLElement {
  return el("span", { class: `badge ${state}` }, text);
}

// --- A machine -------------------------------------------------------------------------------------------------------

function leaseCard(lease: LeaseAnswer): HTMLElement {
  const rows: [string, string | Node][] = [];
  if (lease.state === "waiting") rows.push(["Begins", both(lease.starts_at)]);
  rows.push(["Bought", lease.state === "over" ? `until ${both(lease.ends_at)}` : until(lease.ends_at)]);
  if (lease.detail) rows.push(["Why", lease.detail]);
  rows.push(["Machine", lease.provider_machine]);
  const simulated = lease.source === "simulated" ? el("p", { class: "note" }, "Simulated: there is no machine behind it.") : null;
  return el("article", { class: `card ${lease.state}` },
    el("h3", {}, `${lease.gpus} × ${lease.class_id} `, badge(LEASE[lease.state], lease.state)),
    simulated, login(lease), terms(rows));
}

function login(lease: LeaseAnswer): HTMLElement | null {
  if (lease.state !== "open" && lease.state !== "unreachable") return null;
  if (!HOST.test(lease.host) || !USER.test(lease.user)) {
    return el("p", { class: "note" }, "Its provider names a host or user that does not belong into a command.");
  }
  const line = `ssh -p ${lease.port} ${lease.user}@${lease.host}`;
  const known = `[${lease.host}]:${lease.port} ${lease.host_key}`;
  return el("div", {},
    el("p", { class: "line" }, el("code", {}, line), copier(line, "Copy the SSH command")),
    lease.host_key ? el("details", {}, el("summary", {}, "Host key"), el("p", {}, "A line for known_hosts, by which your ssh knows the machine:"),
      el("p", { class: "line" }, el("code", {}, known), copier(known, "Copy the host key"))) : null);
}

// --- A rental --------------------------------------------------------------------------------------------------------

function rentalCard(rental: RentalAnswer, old: HTMLElement | null): HTMLElement {
  const { request } = rental;
  const rows: [string, string | Node][] = [
    ["Bought until", rental.bought_until ? until(rental.bought_until) : "nothing is bought"],
    ["Cost so far", `${showUsd(rental.cost)} USD`],
    ["At most", `${showUsd(request.max_price)} USD per GPU-hour, ${showUsd(rental.cost_per_day_most)} USD a day`],
    ["How long", request.hours ? `${request.hours} hours` : "until it is stopped"],
  ];
  const hours = table("Hours", ["Hour", "State", "GPUs", "Price", "Cost", "Brought back"], rental.hours.map((hour) => [
    both(hour.starts_at), hour.why ? `${hour.state}: ${hour.why}` : hour.state, String(hour.gpus),
    hour.price ? showUsd(hour.price) : "–", showUsd(hour.cost), showUsd(hour.returned),
  ]));
  const details = el("details", {}, el("summary", {}, `${rental.hours.length} hours`), hours);
  details.open = old?.querySelector("details")?.open ?? false;
  // What somebody is doing with the form is left alone, whatever changes around it.
  const stop = old?.querySelector<HTMLElement>(".stop") ?? stopForm(rental);
  stop.hidden = rental.state === "stopping" || rental.state === "over";
  return el("article", { class: `card ${rental.state}` },
    el("h3", {}, `Rental ${rental.rental}: ${request.gpus} × ${request.classes.join(" or ")} `, badge(RENTAL[rental.state], rental.state)),
    rental.notice ? el("p", { class: "note" }, rental.notice) : null,
    terms(rows), details, stop);
}

function stopForm(rental: RentalAnswer): HTMLElement {
  const choice = (value: string, text: string): HTMLElement => {
    const radio = el("input", { type: "radio", name: "on_stop", value });
    radio.checked = rental.request.on_stop === value;
    return el("label", {}, radio, ` ${text}`);
  };
  const said = el("p", { role: "alert", class: "fault" });
  const button = el("button", { type: "submit" }, "Stop now");
  const form = el("form", {},
    el("fieldset", {}, el("legend", {}, "Later hours that are bought already"),
      choice("sell", "Sell them again, at the bids there are"), choice("keep", "Keep them until they run out")),
    button, said);
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    void stop(rental.rental, new FormData(form).get("on_stop") as string, button, said);
  });
  return el("details", { class: "stop" }, el("summary", {}, "Stop …"), form);
}

async function stop(rental: string, onStop: string, button: HTMLButtonElement, said: HTMLElement): Promise<void> {
  button.disabled = true;
  say(said, "");
  try {
    await ask("POST", `/v1/rentals/${encodeURIComponent(rental)}/stop`, { body: { on_stop: onStop }, id: freshId() });
    say(byId("machines-told"), `Rental ${rental} is stopped.`);
    await readRentals();
  } catch (error) {
    say(said, reason(error));
  } finally {
    button.disabled = false;
  }
}
