// What is typed into a form survives a reload of the page: it is kept in this tab's session storage, but for keys.

/** Fills a form with what was typed before, and keeps what is typed from now on. */
export function keepDraft(form: HTMLFormElement): void {
  const name = `hourbook.draft.${form.id}`;
  const kept = JSON.parse(sessionStorage.getItem(name) ?? "{}") as Record<string, string>;
  for (const field of fields(form)) {
    const value = kept[field.name];
    if (value === undefined) continue;
    if (field instanceof HTMLInputElement && field.type === "radio") field.checked = field.value === value;
    else field.value = value;
    // A list that is filled later takes its value then.
    if (field instanceof HTMLSelectElement) field.dataset["wanted"] = value;
  }
  form.addEventListener("input", () => {
    const typed = Object.fromEntries([...new FormData(form)].filter(([, value]) => typeof value === "string"));
    sessionStorage.setItem(name, JSON.stringify(typed));
  });
}

/** Nothing that was typed or filled in stays: whoever comes next in this tab may be somebody else. */
export function forgetDraft(form: HTMLFormElement): void {
  form.reset();
  sessionStorage.removeItem(`hourbook.draft.${form.id}`);
}

type Field = HTMLInputElement | HTMLSelectElement | HTMLTextAreaElement;

function fields(form: HTMLFormElement): Field[] {
  return [...form.querySelectorAll<Field>("input[name], select[name], textarea[name]")];
}

/** The choices of a list, with the one that was chosen before. */
export function fillChoices(list: HTMLSelectElement, choices: [string, string][]): void {
  const wanted = list.value || list.dataset["wanted"];
  const same = choices.length === list.options.length && choices.every(([value], i) => list.options[i]?.value === value);
  if (same) return;
  list.replaceChildren(...choices.map(([value, text]) => new Option(text, value, false, value === wanted)));
}
