// The form for renting: what it would cost now, while it is typed, and the button.

import { ask, freshId, reason, Refused } from "./api";
import type { ClassAnswer, RentalAnswer, RentalPreviewAnswer, RentalRequest } from "./bodies";
import { byId, say, terms } from "./dom";
import { fillBoxes, fillChoices, forgetDraft, keepDraft } from "./drafts";
import { type Fault, goToFault, once, type Places, showFault, tellRefusal } from "./forms";
import { endOf, instruction, isFault, keysIn, optionsSet, type Typed } from "./instruction";
import { fillKeys, forgetLaunches, keepKeys, named, readLaunches, showLaunch } from "./launches";
import { grid, onGrid, watch } from "./live";
import { marketPlot } from "./market";
import { formatUsd, readUsd, upToTick } from "./money";
import { Poll } from "./poll";
import { previewRows, summaryOf } from "./preview";
import { both, HOUR_MS, inputOf, nowMs, utcOf } from "./times";

const TYPING_MS = 300;
const EVERY_MS = 5_000;
/** What the exchange may find fault with. */
const PLACES: Places = {
  classes: "class", unknown_class: "class", gpus: "gpus", from: "from", hours: "hours", wrong_hours: "hours", max_price: "max_price",
  max_spend: "max_spend", look_ahead: "look_ahead", launch: "launch", unknown_launch: "launch", webhook: "webhook",
  ssh_keys: "ssh_keys", wrong_ssh_key: "ssh_keys",
};

const form = byId<HTMLFormElement>("rent-form");
const said = byId("rent-said");
const preview = byId("preview");
const summary = byId("preview-said");

let classes: ClassAnswer[] = [];
/** Of the request that is on its way, or whose outcome is unknown: the same again makes no second rental. */
let sending: { content: string; id: string } | null = null;
let asked = 0;
const poll = new Poll(EVERY_MS, () => foretell(false));

export function startRent(done: (rental: RentalAnswer) => void): { show: () => void; hide: () => void; forget: () => void; classes: (found: ClassAnswer[]) => void } {
  keepDraft(form);
  marketPlot(byId("rent-plot"), "the class", 48);
  begin();
  let typing: ReturnType<typeof setTimeout>;
  form.addEventListener("input", (event) => {
    const touched = event.target as HTMLInputElement;
    // A number that is typed beside a choice makes the choice.
    if (touched.name === "from") choose("start", "later");
    if (touched.name === "hours") choose("length", "hours");
    if (touched.name === "max_price") delete touched.dataset["suggested"];
    if (touched.name === "class") look();
    if (touched.name === "launch") showLaunch();
    showFault(form, null);
    describe();
    clearTimeout(typing);
    typing = setTimeout(() => void foretell(true), TYPING_MS);
  });
  form.addEventListener("focusout", (event) => {
    // Who goes on to another field is told. Not who presses the button: it would move away below the pointer.
    const next = event.relatedTarget;
    const made = typed();
    if (isFault(made) && next instanceof HTMLElement && next.matches("#rent-form [name]")) showFault(form, made);
  });
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    void rent(done);
  });
  onGrid(suggest);
  return {
    show: () => {
      look();
      poll.start();
      readLaunches().then(() => {
        fillKeys();
        describe();
      }, reason); // asked again before anything is rented, and what is wrong is said then
    },
    hide: () => poll.stop(),
    // Above all the keys: they would be written into the next account, and let this one into its machines.
    forget: () => {
      forgetDraft(form);
      delete field("max_price").dataset["suggested"];
      forgetLaunches();
      for (const id of ["rent-options-set", "rent-until"]) say(byId(id), "");
      begin();
      sending = null;
      asked++;
      preview.replaceChildren();
      tell("", false);
      say(said, "");
      showFault(form, null);
    },
    classes: (found) => {
      classes = found;
      fillChoices(byId<HTMLSelectElement>("rent-class"), found.map((each) => [each.class, each.title]));
      offerOthers();
      if (!byId("rent").hidden) look();
    },
  };
}

function begin(): void {
  const from = field("from");
  if (!from.value) from.value = inputOf((Math.floor(nowMs() / HOUR_MS) + 2) * HOUR_MS);
  describe();
}

function field(name: string): HTMLInputElement {
  return form.elements.namedItem(name) as HTMLInputElement;
}

function choose(name: string, value: string): void {
  (form.elements.namedItem(name) as RadioNodeList).value = value;
}

function typed(): RentalRequest | Fault {
  const filled = new FormData(form);
  return instruction({ ...Object.fromEntries(filled), also: filled.getAll("also") } as unknown as Typed, nowMs());
}

function look(): void {
  offerOthers();
  watch(field("class").value);
  suggest();
}

/** Every other class, to be ticked. */
function offerOthers(): void {
  const others = classes.filter((each) => each.class !== field("class").value);
  fillBoxes(form, byId("rent-also"), "also", others.map((each) => [each.class, each.title]));
}

/** What was typed, in other words: UTC beside local time, when it ends, and what the closed options hold. */
function describe(): void {
  const request = typed();
  say(byId("rent-from-utc"), (new FormData(form).get("start") === "later" && utcOf(field("from").value)) || "");
  if (isFault(request)) return;
  const end = endOf(request, nowMs());
  say(byId("rent-until"), end === null ? "" : `Until ${both(new Date(end).toISOString())}.`);
  say(byId("rent-options-set"), optionsSet(request));
}

/** A price in the field that nobody has typed into: a tenth above what is asked in the next hours, else the list price. */
function suggest(): void {
  const price = field("max_price");
  const chosen = classes.find((each) => each.class === field("class").value);
  const { classId, rows } = grid();
  // Not under the hands of somebody who is about to type.
  if (!chosen || byId("rent").hidden || price === document.activeElement || (price.value && price.dataset["suggested"] === undefined)) return;
  const next = classId === chosen.class ? rows.slice(0, 6).map((row) => readUsd(row.ask)).filter((micros) => micros > 0n) : [];
  if (classId === chosen.class && price.dataset["suggested"] === `${classId} asked`) return;
  const base = next.length ? next.reduce((most, each) => (each > most ? each : most)) : readUsd(chosen.list_price);
  price.value = formatUsd(upToTick((base * 11n) / 10n, readUsd(chosen.tick)));
  price.dataset["suggested"] = `${chosen.class}${next.length ? " asked" : ""}`;
  void foretell(false);
}

// --- Preview ---------------------------------------------------------------------------------------------------------

/** What the instruction would do now; told aloud only where something was typed. */
async function foretell(aloud: boolean): Promise<void> {
  const request = typed();
  const mine = ++asked;
  describe();
  if (isFault(request)) {
    preview.replaceChildren();
    preview.removeAttribute("aria-busy");
    tell(request.text, false);
    return;
  }
  preview.setAttribute("aria-busy", "true");
  try {
    const answer = await ask<RentalPreviewAnswer>("POST", "/v1/rentals/preview", { body: request });
    if (mine !== asked) return;
    preview.replaceChildren(terms(previewRows(answer, request)));
    tell(summaryOf(answer, request), aloud);
    preview.classList.remove("old");
  } catch (error) {
    if (mine !== asked) return;
    tell(`No preview. ${reason(error)}`, aloud);
    preview.classList.add("old");
  } finally {
    if (mine === asked) preview.removeAttribute("aria-busy");
  }
}

/** Seen by all; heard only where somebody has just typed: prices move every few seconds. */
function tell(text: string, aloud: boolean): void {
  say(summary, text);
  say(byId("rent-now"), text);
  if (aloud) say(byId("preview-told"), text);
}

// --- The button --------------------------------------------------------------------------------------------------------

async function rent(done: (rental: RentalAnswer) => void): Promise<void> {
  const button = byId("rent-button");
  await once(button, async () => {
    say(said, "");
    say(button, "Renting …");
    try {
      await readLaunches(); // whether it takes its keys from this form
      const request = typed();
      const keys = keysIn(field("ssh_keys").value);
      if (isFault(request)) return goToFault(form, request);
      const locked = withoutKey(keys);
      if (locked) return goToFault(form, locked);
      done(await make(request, keys));
    } catch (error) {
      if (error instanceof Refused && error.unknown) say(said, `${error.message} It may have been made all the same: press again, it is made once only.`);
      else {
        sending = null;
        tellRefusal(form, said, error, PLACES);
      }
    } finally {
      say(button, "Rent");
    }
  });
}

/** Throws Refused. */
async function make(request: RentalRequest, keys: string[]): Promise<RentalAnswer> {
  if (!named()) await keepKeys(keys);
  const content = JSON.stringify(request);
  if (sending?.content !== content) sending = { content, id: freshId() };
  const rental = await ask<RentalAnswer>("POST", "/v1/rentals", { body: request, id: sending.id });
  sending = null;
  return rental;
}

/** Nobody could log in. */
function withoutKey(keys: string[]): Fault | null {
  const launch = named();
  if (launch) return launch.ssh_keys.length ? null : { field: "launch", text: `${launch.name} has no SSH key: without one nobody can log in.` };
  return keys.length ? null : { field: "ssh_keys", text: "Paste a public SSH key: without one nobody can log in." };
}
