// What the account has: machines to log in to, and the rentals that keep them bought.

import { ask, reason } from "./api";
import type { LeaseAnswer, RentalAnswer } from "./bodies";
import { badge, byId, copyLine, el, keyed, say, terms, until } from "./dom";
import { Poll } from "./poll";
import { rentalCard } from "./rentals";
import { both, left, nowMs } from "./times";

const EVERY_MS = 3_000;
/** Nothing else goes into a line that somebody pastes into a shell: host and user are a provider's words. */
const HOST = /^[A-Za-z0-9][A-Za-z0-9.:-]*$/;
const USER = /^[a-z_][a-z0-9_-]*$/;

const LEASE = {
  waiting: "not begun", opening: "being prepared", open: "open", unreachable: "cannot be reached", over: "over",
} as const;
const SCRIPT: Record<string, string> = { running: "running", done: "done", failed: "failed", cut_off: "cut off" };

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
    keyed(byId("rentals"), order, (rental) => rental.rental, (rental, old) => rentalCard(rental, old, () => void readRentals()));
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

// --- A machine -------------------------------------------------------------------------------------------------------

function leaseCard(lease: LeaseAnswer): HTMLElement {
  const rows: [string, string | Node][] = [];
  if (lease.state === "waiting") rows.push(["Begins", both(lease.starts_at)]);
  rows.push(["Bought", lease.state === "over" ? `until ${both(lease.ends_at)}` : until(lease.ends_at)]);
  if (lease.script) rows.push(["Start script", SCRIPT[lease.script] ?? lease.script]);
  if (lease.detail) rows.push(["Why", lease.detail]);
  rows.push(["Machine", lease.provider_machine], ["For", lease.rental ? `rental ${lease.rental}` : "hours bought by hand"]);
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
    copyLine(line, "Copy the SSH command"),
    lease.host_key ? el("details", {}, el("summary", {}, "Host key"), el("p", {}, "A line for known_hosts, by which your ssh knows the machine:"),
      copyLine(known, "Copy the host key")) : null);
}
