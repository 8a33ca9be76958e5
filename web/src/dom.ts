// The little that this page needs to make elements. Text is set as text: nothing that the exchange says becomes markup.

import { reason } from "./api";
import { both } from "./times";

type Child = Node | string | null;

/** An element with attributes and children; null children are left out. */
export function el<K extends keyof HTMLElementTagNameMap>(
  name: K, attributes: Record<string, string> = {}, ...children: Child[]
): HTMLElementTagNameMap[K] {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children.filter((child) => child !== null));
  return made;
}

/** The same in SVG. */
export function svg(name: string, attributes: Record<string, string | number>, ...children: Child[]): SVGElement {
  const made = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, String(value));
  made.append(...children.filter((child) => child !== null));
  return made;
}

/** The element with this id; it is in index.html. */
export function byId<T extends HTMLElement = HTMLElement>(id: string): T {
  const found = document.getElementById(id);
  if (!found) throw new Error(`index.html has no #${id}`);
  return found as T;
}

/** Other text, and only where it is another: who listens to the page hears each text once. */
export function say(where: HTMLElement, text: string): void {
  if (where.textContent !== text) where.textContent = text;
}

/** A list of terms and values. */
export function terms(rows: [string, string | Node][], attributes: Record<string, string> = {}): HTMLElement {
  return el("dl", attributes, ...rows.map(([term, value]) => el("div", {}, el("dt", {}, term), el("dd", {}, value))));
}

/** A state, in a word or two. */
export function badge(text: string, state: string): HTMLElement {
  return el("span", { class: `badge ${state}` }, text);
}

/** "2 h 05 min left, until Fri, 27 Nov, 17:00 (16:00 UTC)"; what is left is counted down by whoever shows it. */
export function until(iso: string): HTMLElement {
  return el("span", {}, el("time", { datetime: iso, "data-until": iso }), ` left, until ${both(iso)}`);
}

/** A table that scrolls by itself where the window is too narrow for it. */
export function table(caption: string, heads: string[], rows: (string | Node)[][]): HTMLElement {
  const head = el("tr", {}, ...heads.map((text) => el("th", { scope: "col" }, text)));
  const body = rows.map((cells) => el("tr", {}, ...cells.map((cell) => el("td", {}, cell))));
  return el("div", { class: "scrolls", tabindex: "0", role: "region", "aria-label": caption },
    el("table", {}, el("caption", {}, caption), el("thead", {}, head), el("tbody", {}, ...body)));
}

/** Reads into a place: an element, or the sentence above it that there is none, or why. What was there stays until it is another. */
export async function shown(id: string, read: () => Promise<HTMLElement | string>): Promise<void> {
  const where = byId(id);
  try {
    const made = await read();
    where.classList.remove("old");
    say(byId(`${id}-said`), typeof made === "string" ? made : "");
    if (typeof made === "string") where.replaceChildren();
    else if (where.firstElementChild?.outerHTML !== made.outerHTML) where.replaceChildren(made);
  } catch (error) {
    where.classList.add("old");
    say(byId(`${id}-said`), reason(error));
  }
}

/** What elements of lists are made from: not in the page, as some of it is shown only when it is asked for. */
const contents = new WeakMap<HTMLElement, string>();

/** The children of `where` are one element per item, in order; one whose item is the same as before stays as it is. */
export function keyed<T>(where: HTMLElement, items: T[], key: (item: T) => string, make: (item: T, old: HTMLElement | null) => HTMLElement): void {
  const before = new Map([...where.children].map((child) => [(child as HTMLElement).dataset["key"], child as HTMLElement]));
  const back = focusIn(where);
  const after = items.map((item) => {
    const old = before.get(key(item)) ?? null;
    const content = JSON.stringify(item);
    if (old && contents.get(old) === content) return old;
    const made = make(item, old);
    made.dataset["key"] = key(item);
    contents.set(made, content);
    return made;
  });
  if (after.length === where.children.length && after.every((each, i) => where.children[i] === each)) return;
  where.replaceChildren(...after);
  back();
}

/** Gives the focus back to where it is now, or to what has taken that place: browsers drop it with whatever is moved. */
function focusIn(where: HTMLElement): () => void {
  const active = document.activeElement;
  const card = [...where.children].find((child) => child.contains(active));
  if (!card || !(active instanceof HTMLElement)) return () => {};
  const place = [...card.querySelectorAll(active.tagName)].indexOf(active);
  return () => {
    const same = [...where.children].find((child) => (child as HTMLElement).dataset["key"] === (card as HTMLElement).dataset["key"]);
    const heir = active.isConnected ? active : same?.querySelectorAll<HTMLElement>(active.tagName)[place];
    heir?.focus({ preventScroll: true });
  };
}

/** A line to copy as it is; one that is too long scrolls, by keys as well. */
export function copyLine(text: string, label: string): HTMLElement {
  return el("p", { class: "line" }, el("code", { tabindex: "0" }, text), copier(text, label));
}

/** A button that copies a text, and says so. */
function copier(text: string, label: string): HTMLElement {
  const button = el("button", { type: "button", class: "quiet", "aria-label": label }, "Copy");
  button.addEventListener("click", () => {
    // Browsers give pages the clipboard over https and on this machine only.
    const done = navigator.clipboard ? navigator.clipboard.writeText(text) : Promise.reject(new Error("no clipboard"));
    done.then(() => say(button, "Copied"), () => say(button, "Select the line and copy it"));
    setTimeout(() => say(button, "Copy"), 2_000);
  });
  return button;
}
