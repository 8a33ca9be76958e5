// Launch specifications, as far as the form for renting goes: keys for `default`, or another one by its name.

import { ask } from "./api";
import type { LaunchAnswer } from "./bodies";
import { byId, say } from "./dom";
import { fillChoices } from "./drafts";
import { LAUNCH } from "./instruction";

let launches: LaunchAnswer[] = [];

const choice = byId<HTMLSelectElement>("rent-launch");
const keys = byId<HTMLTextAreaElement>("rent-keys");

/** Those that the account has. Throws Refused. */
export async function readLaunches(): Promise<void> {
  launches = await ask<LaunchAnswer[]>("GET", "/v1/launches");
  const others = launches.map((each) => each.name).filter((name) => name !== LAUNCH);
  fillChoices(choice, [LAUNCH, ...others].map((name) => [name, name]));
  byId("rent-launches").hidden = !others.length;
  showLaunch();
}

/** The keys that the account has already, into the empty field. */
export function fillKeys(): void {
  const own = launches.find((each) => each.name === LAUNCH);
  if (own && !keys.value) keys.value = own.ssh_keys.join("\n");
}

/** Whoever comes next has others. */
export function forgetLaunches(): void {
  launches = [];
  fillChoices(choice, [[LAUNCH, LAUNCH]]);
  byId("rent-launches").hidden = true;
  showLaunch();
}

/** What the chosen specification brings; only `default` takes its keys from this form. */
export function showLaunch(): void {
  const chosen = named();
  byId("rent-keys-own").hidden = chosen !== undefined;
  say(byId("launch-hint"), chosen ? `${told(chosen)}. \`hourbook launch ${chosen.name}\` changes it.` : "Your keys of this form, and what else you have set for it.");
}

/** Another one than `default`. */
export function named(): LaunchAnswer | undefined {
  return launches.find((each) => each.name === choice.value && each.name !== LAUNCH);
}

/** "2 SSH keys, image ubuntu:24.04, a start script, ports 8888 and 6006". */
export function told(launch: LaunchAnswer): string {
  const { ssh_keys: has, image, start_script: script, ports } = launch;
  return [
    has.length === 1 ? "1 SSH key" : `${has.length || "no"} SSH keys`, image && `image ${image}`, script && "a start script",
    ports.length ? `${ports.length === 1 ? "port" : "ports"} ${ports.join(", ")}` : "",
  ].filter(Boolean).join(", ");
}

/** `default`, as it was read last, gets these keys; all else of it stays. Throws Refused. */
export async function keepKeys(wanted: string[]): Promise<void> {
  const own = launches.find((each) => each.name === LAUNCH);
  if (own && JSON.stringify(own.ssh_keys) === JSON.stringify(wanted)) return;
  const { image, start_script, ports } = own ?? { image: "", start_script: "", ports: [] };
  await ask("PUT", `/v1/launches/${LAUNCH}`, { body: { ssh_keys: wanted, image, start_script, ports } });
}
