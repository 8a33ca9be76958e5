// What is typed into a form survives a reload of the page: it is kept in this tab's session storage, but for keys.

type Entries = [string, string][];

const nameOf = (form: HTMLFormElement): string => `hourbook.typed.${form.id}`;

/** What was typed into the field of this name before, and of boxes all that were ticked; nothing: it was not. */
function drafted(form: HTMLFormElement, name: string): string[] {
  const kept = JSON.parse(sessionStorage.getItem(nameOf(form)) ?? "[]") as Entries;
  return kept.filter(([field]) => field === name).map(([, value]) => value);
}

/** Fills a form with what was typed before, and keeps what is typed from now on. */
export function keepDraft(form: HTMLFormElement): void {
  for (const field of form.querySelectorAll<Field>("input[name], select[name], textarea[name]")) {
    const [value] = drafted(form, field.name);
    if (value === undefined) continue;
    if (field instanceof HTMLInputElement && field.type === "radio") field.checked = field.value === value;
    else if (field instanceof HTMLInputElement && field.type === "checkbox") field.checked = true;
    else field.value = value;
  }
  form.addEventListener("input", () => {
    const typed = [...new FormData(form)].filter(([, value]) => typeof value === "string");
    sessionStorage.setItem(nameOf(form), JSON.stringify(typed));
  });
}

/** Nothing that was typed or filled in stays: whoever comes next in this tab may be somebody else. */
export function forgetDraft(form: HTMLFormElement): void {
  form.reset();
  sessionStorage.removeItem(nameOf(form));
}

type Field = HTMLInputElement | HTMLSelectElement | HTMLTextAreaElement;

/** The choices of a list, with the one that was chosen before. */
export function fillChoices(list: HTMLSelectElement, choices: [string, string][]): void {
  const wanted = list.value || (list.form && drafted(list.form, list.name)[0]);
  const same = choices.length === list.options.length && choices.every(([value], i) => list.options[i]?.value === value);
  if (same) return;
  list.replaceChildren(...choices.map(([value, text]) => new Option(text, value, false, value === wanted)));
}

/** The boxes of a group, those ticked that were before. */
export function fillBoxes(form: HTMLFormElement, where: HTMLElement, name: string, choices: [string, string][]): void {
  const before = [...where.querySelectorAll("input")];
  if (before.length === choices.length && choices.every(([value], i) => before[i]?.value === value)) return;
  const ticked = new Set(before.length ? before.filter((box) => box.checked).map((box) => box.value) : drafted(form, name));
  where.replaceChildren(...choices.map(([value, text]) => {
    const box = Object.assign(document.createElement("input"), { type: "checkbox", name, value, checked: ticked.has(value) });
    const label = document.createElement("label");
    label.append(box, ` ${text}`);
    return label;
  }));
}
