// What a rental would do now, in words. Pure.

import type { RentalOption, RentalPreviewAnswer, RentalRequest } from "./bodies";
import { formatUsd, readUsd, showUsd } from "./money";
import { both } from "./times";

/** The one sentence that matters most. */
export function summaryOf(answer: RentalPreviewAnswer, request: RentalRequest): string {
  if (answer.refusal) return answer.refusal;
  const gpus = request.gpus === 1 ? "1 GPU" : `${request.gpus} GPUs`;
  return answer.first_hour ? `${showUsd(answer.first_hour)} USD for the first hour of ${gpus}, all in` : `Nobody sells ${gpus} for the first hour at this price.`;
}

/** The rest, as terms and values. */
export function previewRows(answer: RentalPreviewAnswer, request: RentalRequest): [string, string][] {
  const [option, ...others] = answer.options;
  const rows: [string, string][] = [];
  if (option) {
    if (others.length) rows.push(["Taken first", option.class]);
    rows.push([option.hours_wanted === 1 ? "The hour" : `The next ${option.hours_wanted} hours`, found(option)]);
    for (const other of others) rows.push([`or ${other.class}`, found(other)]);
    rows.push(["Cheapest cloud beside", option.cloud_price ? cloud(option.cloud_price, option.cloud_provider, request.gpus) : "none is known"]);
    rows.push(["Where", [option.region, option.tier && `tier ${option.tier}`].filter(Boolean).join(", ") || "not said"]);
    if (option.minutes_to_ssh) rows.push(["To SSH", `at most ${option.minutes_to_ssh} minutes`]);
  }
  rows.push(["A day at worst", money(answer.per_day_most)]);
  const moves = answer.handovers;
  if (moves) rows.push(["Changes of machine", moves.most === 0 ? "none" : `likely ${moves.likely}, at most ${moves.most}`]);
  if (answer.ends_at) rows.push(["Until", both(answer.ends_at)]);
  if (answer.stopping_now) rows.push(["Stopping at once would cost", money(answer.stopping_now)]);
  return rows;
}

function found(option: RentalOption): string {
  const { hours_found: has, hours_wanted: wanted } = option;
  return `${money(option.window)}${has < wanted ? `, ${has} of them to be had` : ""}`;
}

function cloud(price: string, provider: string, gpus: number): string {
  const each = `${showUsd(price)} USD per GPU-hour, ${provider}`;
  return gpus === 1 ? each : `${money(formatUsd(readUsd(price) * BigInt(gpus)))} an hour (${each})`;
}

function money(text: string): string {
  return text ? `${showUsd(text)} USD` : "cannot be had";
}
