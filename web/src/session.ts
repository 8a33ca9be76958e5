// The key that this page acts with. It lives in this tab's session storage only: nothing is kept when the tab is closed.

const KEY = "hourbook.key";

/** What is pasted is a bearer token, or a profile or key as the exchange hands it out (JSON), which has one. Empty: neither. */
export function tokenIn(pasted: string): string {
  const text = pasted.trim();
  if (/^[\w-]+\.[\w.~+/=-]+$/.test(text)) return text;
  try {
    const read = JSON.parse(text) as { bearer?: unknown; key?: { bearer?: unknown } } | null;
    const bearer = read?.bearer ?? read?.key?.bearer;
    return typeof bearer === "string" ? bearer : "";
  } catch {
    return "";
  }
}

/** Takes a key out of the address (`/#key=…`) at once, so that it is in no history and on no screen that is shared. Whether it is another. */
export function takeFromAddress(): boolean {
  const found = /^#key=(.+)$/.exec(location.hash);
  if (!found) return false;
  history.replaceState(null, "", location.pathname);
  const given = tokenIn(decodeURIComponent(found[1]!));
  if (!given || given === token()) return false;
  sessionStorage.setItem(KEY, given);
  return true;
}

export function token(): string {
  return sessionStorage.getItem(KEY) ?? "";
}

export function signIn(given: string): void {
  sessionStorage.setItem(KEY, given);
}

export function signOut(): void {
  sessionStorage.removeItem(KEY);
}
