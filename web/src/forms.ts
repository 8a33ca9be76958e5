// What forms have in common: a press at a time, and what is wrong beside the field that it is wrong in, by this page's word
// before it asks and by the exchange's after.

import { reason, Refused } from "./api";
import { el, say } from "./dom";
import { utcOf } from "./times";

/** `field`: the name of the field, as the form has it. */
export interface Fault {
  field: string;
  text: string;
}

/** Words and codes of the API, and the fields of a form that they speak of. */
export type Places = Record<string, string>;

/** The fault that a refusal names: by the path in the body, by the first word of its sentence, else by its code. */
export function faultIn(refused: Refused, places: Places): Fault | null {
  const path = /`\$\.(\w+)/.exec(refused.message)?.[1];
  const first = /^(\w+)(: | is )/.exec(refused.message);
  const field = places[path ?? ""] ?? places[first?.[1]?.toLowerCase() ?? ""] ?? places[refused.code];
  if (!field) return null;
  // The name of the field stands above it.
  const known = first && places[first[1]!.toLowerCase()];
  const text = known ? refused.message.replace(first[0], first[2] === ": " ? "" : "It is ") : refused.message;
  return { field, text: text.charAt(0).toUpperCase() + text.slice(1) };
}

/** Says it beside its field, and beside no other any more; null: all is well. */
export function showFault(form: HTMLFormElement, fault: Fault | null): void {
  for (const place of form.querySelectorAll<HTMLElement>('[id*="fault-"]')) {
    const name = place.id.slice(place.id.lastIndexOf("fault-") + "fault-".length);
    const here = fault?.field === name;
    say(place, here ? fault.text : "");
    for (const field of form.querySelectorAll(`[name="${name}"]`)) {
      if (here) field.setAttribute("aria-invalid", "true");
      else field.removeAttribute("aria-invalid");
    }
  }
}

/** The same, and goes there: into what is closed as well. */
export function goToFault(form: HTMLFormElement, fault: Fault): void {
  showFault(form, fault);
  const field = form.querySelector<HTMLElement>(`[name="${fault.field}"]`);
  const closed = field?.closest("details");
  if (closed) closed.open = true;
  field?.focus();
}

/** Tells why the exchange refuses: beside a field where it speaks of one, else in `said`. */
export function tellRefusal(form: HTMLFormElement, said: HTMLElement, error: unknown, places: Places): void {
  const fault = error instanceof Refused ? faultIn(error, places) : null;
  if (fault) goToFault(form, fault);
  else say(said, reason(error));
}

/** Does what a button is for, once for however many presses while it is being done. */
export async function once(button: HTMLElement, act: () => Promise<void>): Promise<void> {
  if (button.getAttribute("aria-disabled") === "true") return;
  button.setAttribute("aria-disabled", "true");
  try {
    await act();
  } finally {
    button.removeAttribute("aria-disabled");
  }
}

/** UTC beside an hour that is typed in local time, in `where`. Returns what tells it again after the page has filled it in. */
export function tellUtc(field: HTMLInputElement, where: HTMLElement): () => void {
  const tell = (): void => say(where, utcOf(field.value));
  field.addEventListener("input", tell);
  tell();
  return tell;
}

/** A field with its label above it, what helps below, and a place for its fault. `prefix` is unlike any other form's. */
export function labelled(prefix: string, label: string, field: HTMLInputElement | HTMLSelectElement, help = ""): HTMLElement {
  const id = `${prefix}-${field.name}`;
  const [hint, fault] = [`${prefix}-hint-${field.name}`, `${prefix}-fault-${field.name}`];
  field.id = id;
  field.setAttribute("aria-describedby", `${hint} ${fault}`);
  return el("p", {}, el("label", { for: id }, label), field,
    el("span", { id: hint, class: "hint" }, help), el("span", { id: fault, class: "fault" }));
}
