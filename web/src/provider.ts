// For whoever has machines: what is let of them, and what comes in. Offering hours is in capacity.ts.

import { ask } from "./api";
import type { AccountAnswer, ClassAnswer, IncomeAnswer, MachineAnswer } from "./bodies";
import { readCapacity, startCapacity } from "./capacity";
import { byId, say, shown, table } from "./dom";
import { showMaintenance, startMaintenance } from "./maintenance";
import { showUsd } from "./money";
import { Poll } from "./poll";
import { both } from "./times";

const EVERY_MS = 5_000;
const poll = new Poll(EVERY_MS, async () => {
  await Promise.all([readMachines(), readCapacity(), readIncome()]);
});

export function startProvider(): { show: (account: AccountAnswer | null) => void; hide: () => void; forget: () => void; classes: (found: ClassAnswer[]) => void } {
  const capacity = startCapacity();
  const maintenance = startMaintenance();
  return {
    show: (account) => {
      const may = account !== null && account.role !== "member" && account.scopes.includes("supply");
      byId("provider-own").hidden = !may;
      byId("provider-not").hidden = may || account === null;
      if (may) poll.start();
      else poll.stop();
    },
    hide: () => poll.stop(),
    forget: () => {
      capacity.forget();
      maintenance.forget();
      say(byId("provider-use"), "");
      for (const id of ["provider-machines", "provider-income"]) byId(id).replaceChildren();
    },
    classes: capacity.classes,
  };
}

async function readMachines(): Promise<void> {
  await shown("provider-machines", async () => {
    const machines = await ask<MachineAnswer[]>("GET", "/v1/machines");
    say(byId("provider-use"), utilisation(machines));
    showMaintenance(machines);
    if (!machines.length) return "No agent has told of a machine yet: `hourbook agent` on a machine does.";
    return table("Machines with agents", ["Machine", "Class", "Agent", "Let"], machines.map((each) => [
      each.source === "simulated" ? `${each.machine} (simulated)` : each.machine, each.class_id,
      each.retired ? "retired" : each.alive ? "heard" : each.heard_s_ago < 0 ? "never heard" : `silent for ${each.heard_s_ago} s`,
      `${each.seats.filter((seat) => seat.lease).length} of ${each.seats.length}`,
    ]));
  });
}

/** "3 of 8 GPUs are let (37 %)". */
export function utilisation(machines: MachineAnswer[]): string {
  const seats = machines.filter((each) => !each.retired).flatMap((each) => each.seats.filter((seat) => seat.usable || seat.lease));
  const busy = seats.filter((seat) => seat.lease).length;
  return seats.length ? `${busy} of ${seats.length} GPUs are let (${Math.floor((busy * 100) / seats.length)} %)` : "";
}

async function readIncome(): Promise<void> {
  await shown("provider-income", async () => {
    const rows = await ask<IncomeAnswer[]>("GET", "/v1/income");
    if (!rows.length) return "Nothing is sold yet.";
    return table("Income by hour", ["Hour", "Class", "GPUs", "Expected", "Paid", "State"], rows.map((row) => [
      both(row.starts_at), row.class, String(row.gpus), showUsd(row.expected), row.paid ? showUsd(row.paid) : "–", row.state,
    ]));
  });
}
