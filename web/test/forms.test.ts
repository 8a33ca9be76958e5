import assert from "node:assert/strict";
import { test } from "node:test";
import { Refused } from "../src/api";
import { faultIn, type Places } from "../src/forms";

const PLACES: Places = { classes: "class", unknown_class: "class", gpus: "gpus", max_price: "max_price", max_spend: "max_spend", unknown_launch: "launch" };

const refused = (code: string, detail: string): Refused => new Refused(code, 422, detail, false);

test("what the exchange refuses is said of the field that it speaks of", () => {
  const told: [string, string, string, string][] = [
    ["wrong_amount", "Max_spend: use a positive amount.", "max_spend", "Use a positive amount."],
    ["wrong_price", "Max_price is 0.001, use 0.01 (the tick) to 1000.00 USD.", "max_price", "It is 0.001, use 0.01 (the tick) to 1000.00 USD."],
    ["unknown_launch", "Make batch first: PUT /v1/launches/batch.", "launch", "Make batch first: PUT /v1/launches/batch."],
    ["malformed", "The body does not decode: Expected `array` of length >= 1 - at `$.classes`.", "class", "The body does not decode: Expected `array` of length >= 1 - at `$.classes`."],
  ];
  for (const [code, detail, field, text] of told) assert.deepEqual(faultIn(refused(code, detail), PLACES), { field, text }, detail);
});

test("a refusal that speaks of no field of the form is told by itself", () => {
  assert.equal(faultIn(refused("insufficient_funds", "Needs 5.00 USD, 1.00 USD there: deposit, or ask for less."), PLACES), null);
  assert.equal(faultIn(refused("wrong_webhook", "Webhook: use an address with https."), PLACES), null);
});
