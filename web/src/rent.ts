// The form for renting: what it would cost now, while it is typed, and the button.

import { ask, freshId, reason, Refused } from "./api";
import type { ClassAnswer, LaunchAnswer, RentalAnswer, RentalPreviewAnswer, RentalRequest } from "./bodies";
import { byId, say, terms } from "./dom";
import { fillChoices, forgetDraft, keepDraft } from "./drafts";
import { type Fault, instruction, isFault, keysIn, type Typed } from "./instruction";
import { grid, onGrid, watch } from "./live";
import { marketPlot } from "./market";
import { formatUsd, readUsd, showUsd, upToTick } from "./money";
import { Poll } from "./poll";
import { HOUR_MS, inputOf, nowMs } from "./times";

const TYPING_MS = 300;
const EVERY_MS = 5_000;
const DEFAULT = "default";
const FIELDS: Fault["field"][] = ["class", "gpus", "from", "hours", "max_price"];

const form = byId<HTMLFormElement>("rent-form");
const said = byId("rent-said");
const preview = byId("preview");
const summary = byId("preview-said");

let classes: ClassAnswer[] = [];
let launch: LaunchAnswer | null = null;
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
    showFault(null);
    clearTimeout(typing);
    typing = setTimeout(() => void foretell(true), TYPING_MS);
  });
  form.addEventListener("focusout", (event) => {
    // Who goes on to another field is told. Not who presses the button: it would move away below the pointer.
    const next = event.relatedTarget;
    const made = typed();
    if (isFault(made) && next instanceof HTMLElement && next.matches("#rent-form [name]")) showFault(made);
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
      readLaunch().catch(reason); // asked again before it is written, and what is wrong is said then
    },
    hide: () => poll.stop(),
    // Above all the keys: they would be written into the next account, and let this one into its machines.
    forget: () => {
      forgetDraft(form);
      delete field("max_price").dataset["suggested"];
      begin();
      launch = null;
      sending = null;
      asked++;
      preview.replaceChildren();
      tell("", false);
      say(said, "");
      showFault(null);
    },
    classes: (found) => {
      classes = found;
      fillChoices(byId<HTMLSelectElement>("rent-class"), found.map((each) => [each.class, each.title]));
      if (!byId("rent").hidden) look();
    },
  };
}

function begin(): void {
  const from = field("from");
  if (!from.value) from.value = inputOf((Math.floor(nowMs() / HOUR_MS) + 2) * HOUR_MS);
}

function field(name: string): HTMLInputElement {
  return form.elements.namedItem(name) as HTMLInputElement;
}

function choose(name: string, value: string): void {
  (form.elements.namedItem(name) as RadioNodeList).value = value;
}

function typed(): RentalRequest | Fault {
  return instruction(Object.fromEntries(new FormData(form)) as unknown as Typed, nowMs());
}

function look(): void {
  watch(field("class").value);
  suggest();
}

/** A price in the field that nobody has typed into: a tenth above what is asked in the next hours, else the list price. */
function suggest(): void {
  const price = field("max_price");
  const chosen = classes.find((each) => each.class === field("class").value);
  const { classId, rows } = grid();
  if (!chosen || byId("rent").hidden || (price.value && price.dataset["suggested"] === undefined)) return;
  const next = classId === chosen.class ? rows.slice(0, 6).map((row) => readUsd(row.ask)).filter((micros) => micros > 0n) : [];
  if (classId === chosen.class && price.dataset["suggested"] === `${classId} asked`) return;
  const base = next.length ? next.reduce((most, each) => (each > most ? each : most)) : readUsd(chosen.list_price);
  price.value = formatUsd(upToTick((base * 11n) / 10n, readUsd(chosen.tick)));
  price.dataset["suggested"] = `${chosen.class}${next.length ? " asked" : ""}`;
  void foretell(false);
}

function showFault(fault: Fault | null): void {
  for (const name of FIELDS) {
    const here = fault?.field === name;
    say(byId(`fault-${name}`), here ? fault.text : "");
    if (here) field(name).setAttribute("aria-invalid", "true");
    else field(name).removeAttribute("aria-invalid");
  }
}

// --- Preview ---------------------------------------------------------------------------------------------------------

/** What the instruction would do now; told aloud only where something was typed. */
async function foretell(aloud: boolean): Promise<void> {
  const request = typed();
  const mine = ++asked;
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

function summaryOf(answer: RentalPreviewAnswer, request: RentalRequest): string {
  if (answer.refusal) return answer.refusal;
  const gpus = request.gpus === 1 ? "1 GPU" : `${request.gpus} GPUs`;
  return answer.first_hour ? `${showUsd(answer.first_hour)} USD for the first hour of ${gpus}, all in` : `Nobody sells ${gpus} for the first hour at this price.`;
}

function previewRows(answer: RentalPreviewAnswer, request: RentalRequest): [string, string][] {
  const [option] = answer.options;
  const rows: [string, string][] = [];
  if (option) {
    const { hours_found: found, hours_wanted: wanted } = option;
    const hours = wanted === 1 ? "The hour" : `The next ${wanted} hours`;
    rows.push([hours, `${money(answer.window)}${found < wanted ? `, ${found} of them to be had` : ""}`]);
    rows.push(["Cheapest cloud beside", option.cloud_price ? cloud(option.cloud_price, option.cloud_provider, request.gpus) : "none is known"]);
    rows.push(["Where", [option.region, option.tier && `tier ${option.tier}`].filter(Boolean).join(", ") || "not said"]);
    if (option.minutes_to_ssh) rows.push(["To SSH", `at most ${option.minutes_to_ssh} minutes`]);
  }
  rows.push(["A day at worst", money(answer.per_day_most)]);
  const moves = answer.handovers;
  if (moves) rows.push(["Changes of machine", moves.most === 0 ? "none" : `likely ${moves.likely}, at most ${moves.most}`]);
  if (answer.stopping_now) rows.push(["Stopping at once would cost", money(answer.stopping_now)]);
  return rows;
}

function cloud(price: string, provider: string, gpus: number): string {
  const each = `${showUsd(price)} USD per GPU-hour, ${provider}`;
  return gpus === 1 ? each : `${money(formatUsd(readUsd(price) * BigInt(gpus)))} an hour (${each})`;
}

function money(text: string): string {
  return text ? `${showUsd(text)} USD` : "cannot be had";
}

// --- The button --------------------------------------------------------------------------------------------------------

async function rent(done: (rental: RentalAnswer) => void): Promise<void> {
  const request = typed();
  if (isFault(request)) {
    showFault(request);
    field(request.field).focus();
    return;
  }
  const keys = keysIn(field("ssh_keys").value);
  say(byId("fault-ssh_keys"), keys.length ? "" : "Paste a public SSH key: without one nobody can log in.");
  if (!keys.length) return field("ssh_keys").focus();
  const button = byId<HTMLButtonElement>("rent-button");
  if (button.getAttribute("aria-disabled") === "true") return;
  button.setAttribute("aria-disabled", "true");
  say(said, "");
  say(button, "Renting …");
  try {
    await keepKeys(keys);
    const content = JSON.stringify(request);
    if (sending?.content !== content) sending = { content, id: freshId() };
    const rental = await ask<RentalAnswer>("POST", "/v1/rentals", { body: request, id: sending.id });
    sending = null;
    done(rental);
  } catch (error) {
    const again = error instanceof Refused && error.unknown;
    if (!again) sending = null;
    say(said, `${reason(error)}${again ? " It may have been made all the same: press again, it is made once only." : ""}`);
  } finally {
    button.removeAttribute("aria-disabled");
    say(button, "Rent");
  }
}

/** The keys that the account has already, into the empty field. Throws Refused. */
async function readLaunch(): Promise<void> {
  const launches = await ask<LaunchAnswer[]>("GET", "/v1/launches");
  launch = launches.find((each) => each.name === DEFAULT) ?? null;
  const keys = field("ssh_keys");
  if (launch && !keys.value) keys.value = launch.ssh_keys.join("\n");
}

/** The account's launch specification `default` gets these keys; all else of it stays. Throws Refused. */
async function keepKeys(keys: string[]): Promise<void> {
  await readLaunch();
  if (launch && JSON.stringify(launch.ssh_keys) === JSON.stringify(keys)) return;
  const { image, start_script, ports } = launch ?? { image: "", start_script: "", ports: [] };
  await ask("PUT", `/v1/launches/${DEFAULT}`, { body: { ssh_keys: keys, image, start_script, ports } });
}
