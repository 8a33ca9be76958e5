import assert from "node:assert/strict";
import { test } from "node:test";
import type { RentalRequest } from "../src/bodies";
import { changeOf, endOf, instruction, isFault, keysIn, optionsSet, type Typed } from "../src/instruction";

const NOW = Date.parse("2026-11-27T15:20:00Z");
const TYPED: Typed = {
  class: "H100.SXM.80.US", also: [], gpus: "2", start: "now", from: "2026-11-28T09:00", length: "open", hours: "8", max_price: "3.6", max_spend: "",
  look_ahead: "6", on_stop: "sell", launch: "", webhook: "",
};

function made(other: Partial<Typed> = {}): RentalRequest {
  const found = instruction({ ...TYPED, ...other }, NOW);
  assert.ok(!isFault(found), JSON.stringify(found));
  return found;
}

test("a rental from now on until it is stopped", () => {
  assert.deepEqual(instruction(TYPED, NOW), {
    classes: ["H100.SXM.80.US"], gpus: 2, max_price: "3.60", max_spend: "", from: "", hours: 0, look_ahead: 6, on_stop: "sell",
    launch: "default", webhook: "",
  });
});

test("an hour to come is local in the form and UTC in the request", () => {
  const { from, hours, on_stop } = made({ start: "later", length: "hours", on_stop: "keep" });
  assert.deepEqual([from, hours, on_stop], ["2026-11-28T08:00Z", 8, "keep"]);
});

test("options are in the request, each class once", () => {
  const { classes, max_spend, look_ahead, launch, webhook } = made({
    also: ["H100.SXM.80.EU", "H100.SXM.80.US"], max_spend: " 40 ", look_ahead: "12", launch: "batch", webhook: " https://example.org/x ",
  });
  assert.deepEqual(
    [classes, max_spend, look_ahead, launch, webhook],
    [["H100.SXM.80.US", "H100.SXM.80.EU"], "40.00", 12, "batch", "https://example.org/x"],
  );
});

test("options that are closed are told in a few words, and nothing while they are as they were", () => {
  assert.equal(optionsSet(made()), "");
  const all = made({ also: ["H100.SXM.80.EU"], max_spend: "40", look_ahead: "1", on_stop: "keep", launch: "batch", webhook: "https://x" });
  assert.equal(optionsSet(all), "at most 40.00 USD a day, 1 hour ahead, 1 more class, kept when stopped, batch, a webhook");
});

test("the hour that runs is the first of so many", () => {
  assert.equal(endOf(made(), NOW), null);
  assert.equal(new Date(endOf(made({ length: "hours", hours: "2" }), NOW)!).toISOString(), "2026-11-27T17:00:00.000Z");
  assert.equal(new Date(endOf(made({ length: "hours", hours: "2", start: "later" }), NOW)!).toISOString(), "2026-11-28T10:00:00.000Z");
});

test("a change names what is another, and no more", () => {
  const request = made({ max_spend: "40" });
  const open = { ...TYPED, hours: "" };
  assert.deepEqual(changeOf({ ...open, max_spend: "40" }, request), {});
  assert.deepEqual(changeOf({ ...open, max_price: "4", max_spend: "", look_ahead: "3" }, request), { max_price: "4.00", max_spend: "", look_ahead: 3 });
  assert.deepEqual(changeOf({ ...open, max_spend: "40", hours: "12" }, request), { hours: 12 });
  assert.deepEqual(changeOf(open, made({ length: "hours" })), { hours: 0 });
  assert.deepEqual(changeOf({ ...open, hours: "9000" }, request), { field: "hours", text: "How many hours: a whole number from 1 to 8760." });
  assert.deepEqual(changeOf({ ...open, look_ahead: "25" }, request), { field: "look_ahead", text: "Hours bought ahead: a whole number from 1 to 24." });
});

test("what is wrong is said of the field it is in", () => {
  const wrong: [Partial<Typed>, string][] = [
    [{ class: "" }, "class"], [{ gpus: "0" }, "gpus"], [{ gpus: "1.5" }, "gpus"], [{ gpus: "1000001" }, "gpus"],
    [{ start: "later", from: "" }, "from"], [{ start: "later", from: "2026-11-27T10:00" }, "from"],
    [{ length: "hours", hours: "8761" }, "hours"], [{ max_price: "" }, "max_price"], [{ max_price: "0" }, "max_price"], [{ max_price: "3,60" }, "max_price"],
    [{ max_spend: "0" }, "max_spend"], [{ max_spend: "much" }, "max_spend"], [{ look_ahead: "0" }, "look_ahead"], [{ look_ahead: "25" }, "look_ahead"],
    [{ also: ["a", "b", "c", "d", "e", "f", "g", "h"] }, "also"],
  ];
  for (const [slip, field] of wrong) {
    const found = instruction({ ...TYPED, ...slip }, NOW);
    assert.ok(isFault(found), JSON.stringify(slip));
    assert.equal(found.field, field);
  }
});

test("a field that is not chosen does no harm", () => {
  assert.ok(!isFault(instruction({ ...TYPED, from: "", hours: "many" }, NOW)));
});

test("keys are a line each", () => {
  assert.deepEqual(keysIn("\n ssh-ed25519 AAAA me \n# old\n\nssh-rsa BBBB"), ["ssh-ed25519 AAAA me", "ssh-rsa BBBB"]);
});
