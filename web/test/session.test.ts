import assert from "node:assert/strict";
import { test } from "node:test";
import { tokenIn } from "../src/session";

test("a token, a profile or a key is taken for the bearer token that it is or has", () => {
  assert.equal(tokenIn(" abc.def-_123 \n"), "abc.def-_123");
  assert.equal(tokenIn('{"url":"x","key":{"secret":"s","bearer":"abc.def"}}'), "abc.def");
  assert.equal(tokenIn('{"key":{"key_id":"k"},"secret":"s","bearer":"abc.def"}'), "abc.def");
});

test("anything else is no key", () => {
  for (const text of ["", "two words", "{", "null", "[]", '{"bearer":5}', "schlüssel"]) assert.equal(tokenIn(text), "", text);
});
