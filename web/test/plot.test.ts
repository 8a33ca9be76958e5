import assert from "node:assert/strict";
import { test } from "node:test";
import type { GridRow } from "../src/bodies";
import { marks, rowAt, runs } from "../src/plot";

const row = (hour: string, ask: string): GridRow => ({ contract: hour, hour, phase: "forward", bid: "", bid_qty: 0, ask, ask_qty: 1, last: "" });

test("price marks are round, and at most six", () => {
  assert.deepEqual(marks(2.31, 2.78).map((each) => each.toFixed(2)), ["2.40", "2.60"]);
  for (const [low, high] of [[0.03, 0.06], [1, 1.0001], [0, 900]] as const) {
    const found = marks(low, high);
    assert.ok(found.length >= 1 && found.length <= 6, `${low} ${high}: ${found}`);
    assert.ok(found.every((each) => each >= low - 1e-9 && each <= high + 1e-9));
  }
});

test("a line is broken where nobody asks, and where an hour is missing", () => {
  const rows = [row("2026-11-27T16:00Z", "1"), row("2026-11-27T17:00Z", ""), row("2026-11-27T18:00Z", "1"), row("2026-11-27T19:00Z", "2"), row("2026-11-27T21:00Z", "2")];
  assert.deepEqual(runs(rows, "ask").map((run) => run.length), [1, 2, 1]);
  assert.deepEqual(runs(rows, "bid"), []);
});

test("a place outside of the plot is its first or last hour", () => {
  assert.deepEqual([-10, 46, 591, 900].map((px) => rowAt(48, 600, px)), [0, 0, 47, 47]);
});
