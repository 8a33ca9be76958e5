import assert from "node:assert/strict";
import { test } from "node:test";
import { formatUsd, parseUsd, readUsd, showUsd, upToTick } from "../src/money";

test("a decimal string is whole µUSD and comes back", () => {
  for (const [text, micros] of [["0.00", 0n], ["2.49", 2_490_000n], ["0.000001", 1n], ["999999999999.999999", 999_999_999_999_999_999n]] as const) {
    assert.equal(parseUsd(text), micros);
    assert.equal(formatUsd(micros), text);
  }
});

test("what the API would not take is no amount", () => {
  for (const text of ["", "1,5", "-1", "1e3", "01", ".5", "1.", "1.0000001", "0x10", "1 000", "1000000000000"]) assert.equal(parseUsd(text), null, text);
  assert.equal(parseUsd(" 3.6 "), 3_600_000n);
});

test("an answer may be below zero, or empty", () => {
  assert.equal(readUsd("-0.015"), -15_000n);
  assert.equal(formatUsd(-15_000n), "-0.015");
  assert.equal(readUsd(""), 0n);
});

test("amounts are shown to the cent, half a cent up, and small ones to a tenth of it", () => {
  const shown = { "2.494999": "2.49", "2.495": "2.50", "1234567.891": "1 234 567.89", "0.0506": "0.051", "0.2": "0.20", "-12.345": "−12.35", "0": "0.00", "9999.995": "10 000.00" };
  for (const [text, wanted] of Object.entries(shown)) assert.equal(showUsd(text), wanted, text);
});

test("a price is rounded up to the tick, and one on it stays", () => {
  assert.equal(upToTick(3_601_000n, 5_000n), 3_605_000n);
  assert.equal(upToTick(3_600_000n, 5_000n), 3_600_000n);
});
