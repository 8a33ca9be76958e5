import assert from "node:assert/strict";
import { test } from "node:test";
import { declared, type Span, targets, withdrawals } from "../src/backing";
import type { CapacityAnswer, GridRow } from "../src/bodies";

const CLASS = "H100.SXM.80.EU";
const SPAN: Span = { class: CLASS, firstMs: Date.parse("2026-11-27T16:00Z"), hours: 3 };

function grid(...phases: string[]): GridRow[] {
  return phases.map((phase, i) => ({
    contract: "", hour: `2026-11-27T${16 + i}:00:00.000Z`, phase, bid: "", bid_qty: 0, ask: "", ask_qty: 0, last: "",
  }));
}

function backed(hour: number, ground: string, qty: number, owed = 0, version = 1): CapacityAnswer {
  return { contract: `${CLASS}.20261127T${hour}-USD`, ground, qty, owed, asked: 0, version };
}

const short = (made: { ground: string; from: string; hours: number; qty: number; version: number }[]): string[] =>
  made.map((each) => `${each.ground} ${each.from.slice(11, 13)}+${each.hours} ${each.qty} v${each.version}`);

test("hours to come are declared, above whatever is in force", () => {
  assert.deepEqual(short(targets(SPAN, 4, false, grid("forward", "forward", "forward"), [])), ["declared 16+3 4 v1"]);
  assert.deepEqual(short(targets(SPAN, 4, false, grid("running", "forward", "forward"), [backed(17, "declared", 2, 0, 7)])), ["declared 17+2 4 v8"]);
});

test("to go on selling they are ready as well; of an hour that runs, what is not owed since before", () => {
  assert.deepEqual(
    short(targets(SPAN, 4, true, grid("running", "forward", "forward"), [backed(16, "declared", 0, 3), backed(16, "ready", 1, 0, 2)])),
    ["declared 17+2 4 v1", "ready 17+2 4 v1", "ready 16+1 1 v3"],
  );
});

test("what is withdrawn is no more than is declared, on both grounds, and what is less already stays", () => {
  const known = [backed(16, "declared", 4, 1, 2), backed(18, "declared", 1), backed(16, "ready", 4), backed(17, "ready", 4, 0, 5)];
  assert.deepEqual(short(withdrawals(SPAN, 0, known)), ["declared 16+1 0 v3", "declared 18+1 0 v2", "ready 16+2 0 v6"]);
  assert.deepEqual(short(withdrawals(SPAN, 2, known)), ["declared 16+1 2 v3", "ready 16+2 2 v6"]);
  assert.deepEqual(withdrawals(SPAN, 0, []), []);
});

test("an hour in which all that is ready is sold is left alone: it may be closed", () => {
  const known = [backed(16, "ready", 2, 2), backed(17, "ready", 2, 1)];
  assert.deepEqual(short(withdrawals(SPAN, 0, known)), ["ready 17+1 0 v2"]);
  assert.deepEqual(declared(CLASS, known), { ...SPAN, firstMs: Date.parse("2026-11-27T17:00Z"), hours: 1 });
});

test("from the first hour to the last in which something is declared", () => {
  assert.equal(declared(CLASS, [backed(16, "declared", 0, 2)]), null);
  assert.deepEqual(declared(CLASS, [backed(18, "ready", 2), backed(16, "declared", 2)]), SPAN);
});
