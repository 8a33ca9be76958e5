// A rental as a card: what it has bought, what its owner must know, and how he changes or stops it.

import { ask, freshId, reason } from "./api";
import type { RentalAnswer, RentalHourAnswer } from "./bodies";
import { badge, byId, copyLine, el, say, table, terms, until } from "./dom";
import { goToFault, labelled, once, type Places, showFault, tellRefusal } from "./forms";
import { changeOf, isFault, type TypedChange } from "./instruction";
import { showUsd } from "./money";
import { both, HOUR_MS } from "./times";

const STATES = {
  waiting: "waiting for its first hour", running: "bought as wanted", short: "short of hours", stopping: "stopped, running out", over: "over",
} as const;
/** What the exchange may find fault with in a change. */
const PLACES: Places = {
  max_price: "max_price", wrong_price: "max_price", max_spend: "max_spend", look_ahead: "look_ahead", wrong_hours: "hours", webhook: "webhook",
};

/** `changed`: called when the exchange has another word on it. */
export function rentalCard(rental: RentalAnswer, old: HTMLElement | null, changed: () => void): HTMLElement {
  const { request } = rental;
  const spend = request.max_spend ? `, ${showUsd(request.max_spend)} USD a day` : "";
  const rows: [string, string | Node][] = [
    ["Bought until", rental.bought_until ? until(rental.bought_until) : "nothing is bought"],
    ["Cost so far", `${showUsd(rental.cost)} USD`],
    ["Limits", `${showUsd(request.max_price)} USD per GPU-hour${spend}`],
    ["A day at worst", `${showUsd(rental.cost_per_day_most)} USD`],
    ["Bought ahead", `${request.look_ahead} ${request.look_ahead === 1 ? "hour" : "hours"}`],
    ["How long", request.hours ? `${request.hours} hours, until ${both(endsAt(rental))}` : "until it is stopped"],
  ];
  if (request.launch !== "default") rows.push(["Launch specification", request.launch]);
  const ended = rental.state === "stopping" || rental.state === "over";
  // What somebody is doing with a form is left alone, whatever changes around it.
  const change = old?.querySelector<HTMLElement>(".change[open]") ?? changeForm(rental, changed);
  const stop = old?.querySelector<HTMLElement>(".stop[open]") ?? stopForm(rental, changed);
  change.hidden = stop.hidden = ended;
  return el("article", { class: `card ${rental.state}` },
    el("h3", {}, `Rental ${rental.rental}: ${request.gpus} × ${request.classes.join(" or ")} `, badge(STATES[rental.state], rental.state)),
    rental.notice ? el("p", { class: "note" }, rental.notice) : null,
    terms(rows), hours(rental.hours, old), webhook(rental, old), change, stop);
}

function endsAt(rental: RentalAnswer): string {
  const { from, hours } = rental.request;
  return new Date(Date.parse(from) + hours * HOUR_MS).toISOString();
}

// --- What it has -----------------------------------------------------------------------------------------------------

/** "6 hours: 5 bought, 1 missing", and each of them below. */
function hours(all: RentalHourAnswer[], old: HTMLElement | null): HTMLElement {
  const counts = new Map<string, number>();
  for (const hour of all) counts.set(hour.state, (counts.get(hour.state) ?? 0) + 1);
  const said = [...counts].map(([state, count]) => `${count} ${state}`).join(", ");
  const shown = table("Hours", ["Hour", "State", "GPUs", "Price", "Cost", "Brought back"], all.map((hour) => [
    both(hour.starts_at), state(hour), String(hour.gpus), hour.price ? showUsd(hour.price) : "–", showUsd(hour.cost), showUsd(hour.returned),
  ]));
  const details = el("details", { class: "hours" },
    el("summary", {}, `${all.length} ${all.length === 1 ? "hour" : "hours"}${said ? `: ${said}` : ""}`), shown);
  details.open = old?.querySelector<HTMLDetailsElement>(".hours")?.open ?? false;
  return details;
}

function state(hour: RentalHourAnswer): string {
  if (hour.why) return `${hour.state}: ${hour.why}`;
  return hour.minutes && hour.minutes < 60 ? `${hour.state}, ${hour.minutes} minutes` : hour.state;
}

/** Its address; the key only when somebody asks, as he may be watched. */
function webhook(rental: RentalAnswer, old: HTMLElement | null): HTMLElement | null {
  const address = rental.request.webhook;
  if (!address) return null;
  const before = old?.querySelector<HTMLElement>(".webhook");
  if (before?.dataset["address"] === address) return before;
  const place = el("div", { hidden: "" });
  const button = el("button", { type: "button", class: "quiet", "aria-expanded": "false" }, "Show its key");
  button.addEventListener("click", () => {
    place.hidden = !place.hidden;
    place.replaceChildren(...(place.hidden ? [] : [copyLine(rental.webhook_key, "Copy the webhook's key")]));
    button.setAttribute("aria-expanded", String(!place.hidden));
    say(button, place.hidden ? "Show its key" : "Hide its key");
  });
  return el("div", { class: "webhook", "data-address": address },
    el("p", {}, "Webhook ", el("code", {}, address), " ", button), place,
    el("p", { class: "hint" }, "What it is told has a header Hourbook-Signature: hex HMAC-SHA256 of the body, with this key."));
}

// --- What its owner does ---------------------------------------------------------------------------------------------

function changeForm(rental: RentalAnswer, changed: () => void): HTMLDetailsElement {
  const { request } = rental;
  const prefix = `rental-${rental.rental}`;
  const text = (name: string, value: string, kind: Record<string, string> = {}): HTMLInputElement =>
    el("input", { class: "short", name, value, autocomplete: "off", ...kind });
  const said = el("p", { role: "alert", class: "fault" });
  const button = el("button", { type: "submit" }, "Change it");
  const form = el("form", { novalidate: "" },
    labelled(prefix, "Most per GPU-hour, USD", text("max_price", request.max_price, { inputmode: "decimal" })),
    labelled(prefix, "Most per day, USD", text("max_spend", request.max_spend, { inputmode: "decimal" }), "Empty: the price per hour is the only limit."),
    labelled(prefix, "Hours bought ahead", text("look_ahead", String(request.look_ahead), { inputmode: "numeric" }), "1 to 24, the one that runs included."),
    labelled(prefix, "Hours in all", text("hours", request.hours ? String(request.hours) : "", { inputmode: "numeric" }), "Empty: until I stop."),
    labelled(prefix, "Webhook", text("webhook", request.webhook, { type: "url", class: "", spellcheck: "false" }), "Empty: nobody is told."),
    onStop(request.on_stop, "When I stop, later hours that are bought are", "sold again", "kept until they run out"),
    el("p", { class: "hint" }, "What is bought stays bought."), said, button);
  const details = el("details", { class: "change" }, el("summary", {}, "Change …"), form);
  form.addEventListener("input", () => showFault(form, null));
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    say(said, "");
    const change = changeOf(Object.fromEntries(new FormData(form)) as unknown as TypedChange, request);
    if (isFault(change)) return goToFault(form, change);
    const act = async (): Promise<string> => {
      if (!Object.keys(change).length) return "stays as it is";
      await ask("PATCH", `/v1/rentals/${encodeURIComponent(rental.rental)}`, { body: change });
      details.querySelector("summary")!.focus();
      details.open = false;
      return "is changed";
    };
    void press(rental, button, act, (error) => tellRefusal(form, said, error, PLACES), changed);
  });
  return details;
}

function stopForm(rental: RentalAnswer, changed: () => void): HTMLDetailsElement {
  const said = el("p", { role: "alert", class: "fault" });
  const button = el("button", { type: "submit" }, "Stop now");
  const form = el("form", {},
    onStop(rental.request.on_stop, "Later hours that are bought already", "Sell them again, at the bids there are", "Keep them until they run out"),
    button, said);
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    say(said, "");
    const body = { on_stop: new FormData(form).get("on_stop") };
    const act = async (): Promise<string> => {
      await ask("POST", `/v1/rentals/${encodeURIComponent(rental.rental)}/stop`, { body, id: freshId() });
      return "is stopped";
    };
    void press(rental, button, act, (error) => say(said, reason(error)), changed);
  });
  return el("details", { class: "stop" }, el("summary", {}, "Stop …"), form);
}

/** What it has done is told above all cards. */
async function press(
  rental: RentalAnswer, button: HTMLElement, act: () => Promise<string>, refused: (error: unknown) => void, changed: () => void,
): Promise<void> {
  await once(button, async () => {
    try {
      say(byId("machines-told"), `Rental ${rental.rental} ${await act()}.`);
      changed();
    } catch (error) {
      refused(error);
    }
  });
}

function onStop(chosen: string, legend: string, sell: string, keep: string): HTMLElement {
  const choice = (value: string, text: string): HTMLElement => {
    const radio = el("input", { type: "radio", name: "on_stop", value });
    radio.checked = chosen === value;
    return el("label", {}, radio, ` ${text}`);
  };
  return el("fieldset", {}, el("legend", {}, legend), choice("sell", sell), choice("keep", keep));
}
