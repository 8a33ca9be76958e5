import assert from "node:assert/strict";
import { test } from "node:test";
import { beginOf, both, hourOf, inputOf, left, utcOf } from "../src/times";

test("local time comes first, UTC beside", () => {
  assert.match(both("2026-11-27T16:00:00.000Z"), /^Fri,? 27 Nov,? 17:00 \(16:00 UTC\)$/);
  assert.equal(both(""), "");
});

test("what is left is told in two units at most", () => {
  assert.deepEqual([7_500_000, 3_600_000, 250_000, 8_900, 0, -5].map(left), ["2 h 05 min", "1 h 00 min", "4 min 10 s", "8 s", "nothing", "nothing"]);
});

test("a moment is in an hour of UTC, whatever the local clock", () => {
  assert.equal(hourOf(Date.parse("2026-11-27T16:59:59Z")), "2026-11-27T16:00Z");
  assert.equal(inputOf(Date.parse("2026-11-27T23:30:00Z")), "2026-11-28T00:30");
  // The hour that the clocks are set back in: there and back again is the same moment, or the hour before it.
  const back = Date.parse("2026-10-25T01:00:00Z");
  assert.ok([0, 3_600_000].includes(back - Date.parse(inputOf(back))));
});

test("a contract names its hour", () => {
  assert.equal(beginOf("H100.SXM.80.X8.US.20261122T14-USD"), "2026-11-22T14:00Z");
  assert.equal(beginOf("H100"), "");
});

test("UTC stands beside an hour that is typed, with its day where that is another", () => {
  assert.equal(utcOf("2026-11-28T09:00"), "08:00 UTC");
  assert.equal(utcOf("2026-11-28T00:00"), "27 Nov, 23:00 UTC");
  assert.equal(utcOf(""), "");
});
