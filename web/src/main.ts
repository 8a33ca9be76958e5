// The page: who is signed in, which view is shown, and what all views have in common.

import { ask, reason, Refused } from "./api";
import type { AccountAnswer, BalanceAnswer, ClassAnswer, StatusAnswer, TimeAnswer } from "./bodies";
import { byId, say } from "./dom";
import { watch } from "./live";
import { startMachines } from "./machines";
import { startMarket } from "./market";
import { formatUsd, readUsd, showUsd } from "./money";
import { Poll } from "./poll";
import { startProvider } from "./provider";
import { startRent } from "./rent";
import { signIn, signOut, takeFromAddress, token, tokenIn } from "./session";
import { setClock } from "./times";

type View = "rent" | "machines" | "market" | "provider";
const VIEWS: View[] = ["rent", "machines", "market", "provider"];
/** Without a key. */
const OPEN: View[] = ["market"];

takeFromAddress();
let view: View = "rent";
let account: AccountAnswer | null = null;

const rent = startRent((rental) => {
  say(byId("machines-told"), `Rental ${rental.rental} is made. Its machine appears here when the hour is bought.`);
  location.hash = "#machines";
});
const machines = startMachines();
const market = startMarket();
const provider = startProvider();

function show(): void {
  const wanted = location.hash.slice(1) as View;
  if (VIEWS.includes(wanted)) view = wanted;
  const closed = !token() && !OPEN.includes(view);
  for (const each of VIEWS) {
    byId(each).hidden = each !== view || closed;
    const link = document.querySelector(`nav a[href="#${each}"]`);
    if (each === view) link?.setAttribute("aria-current", "page");
    else link?.removeAttribute("aria-current");
  }
  byId("sign-in").hidden = !closed;
  byId("who").hidden = !token();
  rent.hide();
  machines.hide();
  provider.hide();
  if (closed || (view !== "rent" && view !== "market")) watch("");
  if (closed) return;
  if (view === "rent") rent.show();
  if (view === "machines") machines.show();
  if (view === "market") market.show();
  if (view === "provider") provider.show(account);
}

// --- Who is signed in --------------------------------------------------------------------------------------------------

const key = byId<HTMLInputElement>("key");

byId("sign-in-form").addEventListener("submit", (event) => {
  event.preventDefault();
  const given = tokenIn(key.value);
  say(byId("sign-in-said"), given ? "" : "That is neither a bearer token nor a key's file.");
  if (!given) return key.focus();
  signIn(given);
  key.value = "";
  show();
  who.now();
});

byId("sign-out").addEventListener("click", () => leave(""));

/** Nothing of the account stays on the page. */
function forget(): void {
  account = null;
  for (const each of [rent, machines, provider]) each.forget();
  say(byId("account"), "");
  say(byId("money"), "");
}

function leave(why: string): void {
  signOut();
  forget();
  say(byId("sign-in-said"), why);
  show();
}

const who = new Poll(10_000, async () => {
  if (!token()) return;
  try {
    const found = await ask<AccountAnswer>("GET", "/v1/account");
    const isNew = account?.account !== found.account || account.role !== found.role;
    account = found;
    say(byId("account"), `Account ${found.account}${found.name ? `, ${found.name}` : ""}`);
    if (isNew && view === "provider") provider.show(account);
    const balance = await ask<BalanceAnswer>("GET", "/v1/balance");
    const free = balance.trading.reduce((sum, each) => sum + readUsd(each.available), readUsd(balance.wallet));
    say(byId("money"), `${showUsd(formatUsd(free))} USD free`);
  } catch (error) {
    if (error instanceof Refused && error.status === 401) return leave(`You are signed out. ${error.message}`);
    say(byId("money"), reason(error));
  }
});

// --- The exchange ------------------------------------------------------------------------------------------------------

const exchange = new Poll(30_000, async () => {
  const told = byId("exchange-told");
  try {
    const time = await ask<TimeAnswer>("GET", "/v1/time");
    setClock(time.market, time.rate);
    const [status, classes] = await Promise.all([ask<StatusAnswer>("GET", "/v1/status"), ask<ClassAnswer[]>("GET", "/v1/classes")]);
    byId("sandbox").hidden = !status.sandbox;
    say(told, status.accepting_orders ? "" : "The exchange takes no orders just now; what is bought goes on.");
    for (const each of [rent, market, provider]) each.classes(classes);
    if (view === "market" && !byId("market").hidden) market.show();
  } catch (error) {
    say(told, reason(error));
  }
});

window.addEventListener("hashchange", () => {
  if (takeFromAddress()) forget();
  show();
  who.now();
});
show();
exchange.start();
who.start();
