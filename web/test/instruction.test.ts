import assert from "node:assert/strict";
import { test } from "node:test";
import { instruction, isFault, keysIn, type Typed } from "../src/instruction";

const NOW = Date.parse("2026-11-27T15:20:00Z");
const TYPED: Typed = {
  class: "H100.SXM.80.US", gpus: "2", start: "now", from: "2026-11-28T09:00", length: "open", hours: "8", max_price: "3.6", on_stop: "sell",
};

test("a rental from now on until it is stopped", () => {
  assert.deepEqual(instruction(TYPED, NOW), {
    classes: ["H100.SXM.80.US"], gpus: 2, max_price: "3.60", from: "", hours: 0, on_stop: "sell", launch: "default",
  });
});

test("an hour to come is local in the form and UTC in the request", () => {
  const made = instruction({ ...TYPED, start: "later", length: "hours", on_stop: "keep" }, NOW);
  assert.ok(!isFault(made));
  assert.deepEqual([made.from, made.hours, made.on_stop], ["2026-11-28T08:00Z", 8, "keep"]);
});

test("what is wrong is said of the field it is in", () => {
  const wrong: [Partial<Typed>, string][] = [
    [{ class: "" }, "class"], [{ gpus: "0" }, "gpus"], [{ gpus: "1.5" }, "gpus"], [{ gpus: "1000001" }, "gpus"],
    [{ start: "later", from: "" }, "from"], [{ start: "later", from: "2026-11-27T10:00" }, "from"],
    [{ length: "hours", hours: "8761" }, "hours"], [{ max_price: "" }, "max_price"], [{ max_price: "0" }, "max_price"], [{ max_price: "3,60" }, "max_price"],
  ];
  for (const [slip, field] of wrong) {
    const made = instruction({ ...TYPED, ...slip }, NOW);
    assert.ok(isFault(made), JSON.stringify(slip));
    assert.equal(made.field, field);
  }
});

test("a field that is not chosen does no harm", () => {
  assert.ok(!isFault(instruction({ ...TYPED, from: "", hours: "many" }, NOW)));
});

test("keys are a line each", () => {
  assert.deepEqual(keysIn("\n ssh-ed25519 AAAA me \n# old\n\nssh-rsa BBBB"), ["ssh-ed25519 AAAA me", "ssh-rsa BBBB"]);
});
