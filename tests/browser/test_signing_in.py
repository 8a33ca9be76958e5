"""Whose page it is: the key comes by the address or is pasted, stays in the tab, and goes with it."""

import json
from collections.abc import Callable

from playwright.sync_api import expect

from tests.browser.conftest import Reader


def test_the_address_that_the_sandbox_prints_signs_in_and_keeps_no_key(reader: Reader) -> None:
    """One line of the sandbox's, one click: the form is there, and the key is in no address and in no history."""
    said = reader.sandbox.said()
    (line,) = [line for line in said.splitlines() if line.startswith("in a browser: ")]
    bearer = reader.profile()["key"]["bearer"]
    assert line == f"in a browser: {reader.url}/#key={bearer}"

    reader.page.goto(line.removeprefix("in a browser: "))

    expect(reader.page.locator("#rent-form")).to_be_visible()
    expect(reader.page.locator("#account")).to_contain_text("member")
    expect(reader.page.locator("#money")).to_contain_text("USD free")
    assert reader.page.url == f"{reader.url}/"
    assert reader.page.evaluate("Object.values(sessionStorage)") == [bearer]
    assert reader.page.evaluate("[localStorage.length, document.cookie]") == [0, ""]


def test_a_pasted_file_signs_in_and_signing_out_leaves_nothing(reader: Reader) -> None:
    reader.page.goto(reader.url)
    key = reader.page.get_by_label("Key", exact=True)
    expect(key).to_be_visible()
    key.fill(json.dumps(reader.profile(), indent=2))
    key.press("Enter")
    expect(reader.page.locator("#account")).to_contain_text("member")

    reader.page.get_by_role("button", name="Sign out").click()

    expect(key).to_be_visible()
    expect(reader.page.locator("#account")).to_be_empty()
    assert reader.page.evaluate("Object.keys(sessionStorage)") == []


def test_who_signs_in_next_does_not_find_the_keys_of_who_was_there_before(reader: Reader) -> None:
    """They would be written into his launch specification, and let the other one into his machines."""
    theirs, mine = "ssh-ed25519 AAAA of-who-was-here-before", reader.page.locator("#rent-keys")
    reader.open("rent")
    mine.fill(theirs)
    reader.page.get_by_role("button", name="Sign out").click()
    expect(reader.page.get_by_label("Key", exact=True)).to_be_visible()
    reader.open("rent", name="host-a")
    expect(mine).not_to_have_value(theirs)

    mine.fill(theirs)
    reader.open("rent")
    expect(mine).not_to_have_value(theirs)


def test_who_signs_in_next_does_not_find_the_options_of_who_was_there_before(reader: Reader) -> None:
    """Closed, they would be rented by without a look."""
    page = reader.open("rent")
    page.get_by_label("GPU", exact=True).select_option("H100.SXM.80.US")
    page.get_by_text("Options").click()
    page.get_by_label("Webhook").fill("https://example.org/theirs")
    page.locator("#rent-also input[value='H100.SXM.80.EU']").check()
    page.locator("#rent-form").get_by_label("Hours", exact=True).fill("8")
    expect(page.locator("#rent-options-set")).to_have_text("1 more class, a webhook")
    expect(page.locator("#rent-until")).not_to_be_empty()
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_label("Key", exact=True)).to_be_visible()

    assert "theirs" not in page.content()
    for told in ("#rent-options-set", "#rent-until", "#rent-webhook"):
        expect(page.locator(told)).to_be_empty()
    expect(page.get_by_label("Webhook")).to_have_value("")
    expect(page.locator("#rent-also input:checked")).to_have_count(0)


def test_what_is_no_key_of_this_exchange_is_told(reader: Reader) -> None:
    reader.page.goto(reader.url)
    key, said = reader.page.get_by_label("Key", exact=True), reader.page.locator("#sign-in-said")
    key.fill("what?")
    key.press("Enter")
    expect(said).to_have_text("That is neither a bearer token nor a key's file.")
    expect(key).to_be_focused()

    key.fill("nobody.knows-me")
    key.press("Enter")
    expect(said).to_contain_text("You are signed out.")
    expect(key).to_be_visible()


def test_the_page_asks_nobody_but_its_own_exchange(open_reader: Callable[..., Reader]) -> None:
    reader = open_reader()
    reader.open("market")
    expect(reader.page.locator("#market-plot svg")).to_be_visible()

    strangers = [url for url in reader.asked if not url.startswith(f"{reader.url}/")]
    paths = {url.removeprefix(reader.url).partition("?")[0] for url in reader.asked}

    assert strangers == []
    assert {path for path in paths if not path.startswith(("/v1/", "/assets/"))} == {"/"}
