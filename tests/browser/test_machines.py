"""Machines and rentals of the account. The machine is real: an agent of the sandbox's lets it."""

import re
import time

import msgspec
import pytest
from playwright.sync_api import expect

from schemas.http import Problem
from schemas.rental import RentalAnswer, RentalHourAnswer, RentalRequest
from tests.browser.conftest import Reader, rows
from tests.browser.test_rent import KEY
from tests.cli.conftest import Sandbox

CPU = "CPU.X86.LOCAL.UNV"
BEFORE_CLOSE_S = 90
RENTAL = RentalAnswer(
    rental="3",
    state="short",
    made_at="2026-11-27T16:00:00.000Z",
    request=RentalRequest(classes=("H100.SXM.80.US",), gpus=2, max_price="3.60"),
    hours=(
        RentalHourAnswer(
            contract="H100.SXM.80.US.20991127T16-USD", starts_at="2099-11-27T16:00:00.000Z", state="bought", gpus=2,
            minutes=60, price="3.295", cost="6.59", returned="0.00",
        ),
        RentalHourAnswer(
            contract="H100.SXM.80.US.20991127T17-USD", starts_at="2099-11-27T17:00:00.000Z", state="missing", gpus=0,
            minutes=0, price="", cost="0.00", returned="0.00", why="nobody asks 3.60 or less",
        ),
    ),
    bought_until="2099-11-27T17:00:00.000Z",
    cost="6.59",
    cost_per_day_most="172.80",
    notice="The hour from 17:00 could not be bought.",
)  # fmt: skip


@pytest.fixture
def sold_now(sandbox: Sandbox) -> Sandbox:
    """An hour with some minutes left in it, and somebody who asks."""
    left_s = 3600 - time.time() % 3600
    if left_s < BEFORE_CLOSE_S:
        time.sleep(left_s + 1)
    deadline = time.monotonic() + 90
    while not any(row["ask"] for row in sandbox.json("book", CPU)[:2]):
        assert time.monotonic() < deadline, "nobody asks"
        time.sleep(0.5)
    return sandbox


def test_a_stranger_rents_and_has_a_line_for_ssh(sold_now: Sandbox, reader: Reader) -> None:
    """By the page alone, with the router, the market and a machine behind it; then he changes it, and stops.

    Until when it is bought is told in local time, UTC beside, and what is left of it goes down.
    """
    page = reader.open("rent")
    page.get_by_label("GPU", exact=True).select_option(CPU)
    expect(page.locator("#preview-said")).to_contain_text("USD for the first hour of 1 GPU, all in")
    page.get_by_label("Public SSH key").fill(KEY)
    page.get_by_role("button", name="Rent", exact=True).click()
    expect(page.locator("#machines-told")).to_contain_text("is made")
    card = page.locator("#leases article", has_text="open").first
    expect(card.locator("h3")).to_contain_text(CPU)
    lease = next(each for each in sold_now.json("leases") if each["state"] == "open")

    line = f"ssh -p {lease['port']} {lease['user']}@{lease['host']}"
    expect(card.locator("code").first).to_have_text(line)
    card.get_by_role("button", name="Copy the SSH command").click()
    expect(card.get_by_role("button", name="Copy the SSH command")).to_have_text("Copied")
    assert page.evaluate("navigator.clipboard.readText()") == line
    clock = card.locator("time").first
    expect(card).to_contain_text(re.compile(r"left, until \w{3},? \d+ \w{3},? \d\d:00 \(\d\d:00 UTC\)"))
    before = clock.inner_text()
    expect(clock).not_to_have_text(before)

    rental = page.locator("#rentals article").first
    expect(rental.locator("h3")).to_contain_text(CPU)
    rental.get_by_text("Change …").click()
    rental.get_by_label("Hours bought ahead").fill("2")
    rental.get_by_label("Webhook").fill("gopher://example.org")
    rental.get_by_role("button", name="Change it").click()
    expect(rental.get_by_label("Webhook")).to_have_accessible_description(re.compile("Use an address with https"))
    rental.get_by_label("Webhook").fill("https://example.org/told")
    rental.get_by_role("button", name="Change it").click()
    expect(page.locator("#machines-told")).to_contain_text("is changed")
    expect(rental.get_by_role("button", name="Show its key")).to_be_visible()
    assert rows(rental)["Bought ahead"] == "2 hours"
    rental.get_by_text("Stop …").click()
    rental.get_by_label("Keep them until they run out").check()
    rental.get_by_role("button", name="Stop now").click()
    expect(page.locator("#machines-told")).to_contain_text("is stopped")
    expect(rental.locator("h3")).to_contain_text("stopped, running out")


def test_a_rental_says_what_is_bought_what_it_costs_and_what_its_owner_must_know(reader: Reader) -> None:
    reader.answer("/v1/rentals", [RENTAL])
    page = reader.open("machines")
    card = page.locator("#rentals article")
    expect(card.locator("h3")).to_contain_text("Rental 3: 2 × H100.SXM.80.US short of hours")
    expect(card.locator(".note")).to_have_text(RENTAL.notice)
    expect(card.locator("time")).to_contain_text("min")

    said = rows(card)
    assert said["Cost so far"] == "6.59 USD"
    assert said["Limits"] == "3.60 USD per GPU-hour"
    assert said["A day at worst"] == "172.80 USD"
    assert said["Bought ahead"] == "6 hours"
    assert said["How long"] == "until it is stopped"
    assert said["Bought until"].endswith("18:00 (17:00 UTC)")
    card.get_by_text("2 hours: 1 bought, 1 missing").click()
    expect(card.get_by_role("row", name="missing: nobody asks 3.60 or less")).to_be_visible()


def test_limits_are_changed_while_it_runs(reader: Reader) -> None:
    """Only what is another is sent; what is typed stays while the rental changes around it."""
    reader.answer("/v1/rentals", [RENTAL])
    page = reader.open("machines")
    card = page.locator("#rentals article")
    card.get_by_text("Change …").click()
    price, spend = card.get_by_label("Most per GPU-hour, USD"), card.get_by_label("Most per day, USD")
    expect(price).to_have_value("3.60")
    card.get_by_label("Hours bought ahead").fill("25")
    card.get_by_label("Hours bought ahead").press("Enter")
    expect(card.get_by_label("Hours bought ahead")).to_have_accessible_description(
        re.compile("a whole number from 1 to 24")
    )
    card.get_by_label("Hours bought ahead").fill("3")
    price.fill("4")
    spend.fill("0.000001")
    reader.answer("/v1/rentals", [msgspec.structs.replace(RENTAL, cost="7.00")])
    expect(card).to_contain_text("7.00 USD")
    expect(spend).to_be_focused()
    expect(price).to_have_value("4")

    refused = Problem(
        type="/problems/wrong_amount", title="The amount is not usable", status=422, code="wrong_amount", request_id="1",
        detail="max_spend: use a positive amount, or leave it out for no such limit", retryable=False, outcome="rejected",
    )  # fmt: skip
    reader.answer("/v1/rentals/3", refused, 422)
    spend.press("Enter")
    expect(spend).to_have_accessible_description(re.compile("Use a positive amount"))
    expect(spend).to_be_focused()

    spend.fill("")
    card.get_by_label("kept until they run out").check()
    request = msgspec.structs.replace(RENTAL.request, max_price="4.00", look_ahead=3, on_stop="keep")
    changed = msgspec.structs.replace(RENTAL, request=request)
    asked = reader.answer("/v1/rentals/3", changed)
    reader.answer("/v1/rentals", [changed])
    card.get_by_role("button", name="Change it").click()
    expect(page.locator("#machines-told")).to_have_text("Rental 3 is changed.")
    expect(card).to_contain_text("4.00 USD per GPU-hour")
    expect(card.get_by_text("Change …")).to_be_focused()
    assert [route.request.post_data_json for route in asked] == [
        {"max_price": "4.00", "look_ahead": 3, "on_stop": "keep"}
    ]
    card.get_by_text("Stop …").click()
    expect(card.get_by_label("Keep them until they run out")).to_be_checked()


def test_a_webhook_and_its_key_are_there_and_the_key_is_shown_only_to_who_asks(reader: Reader) -> None:
    request = msgspec.structs.replace(
        RENTAL.request, webhook="https://example.org/told", max_spend="40.00", launch="batch"
    )
    reader.answer("/v1/rentals", [msgspec.structs.replace(RENTAL, request=request, webhook_key="5ec2e7")])
    page = reader.open("machines")
    card = page.locator("#rentals article")
    expect(card).to_contain_text("https://example.org/told")
    said = rows(card)
    assert said["Limits"] == "3.60 USD per GPU-hour, 40.00 USD a day"
    assert said["Launch specification"] == "batch"
    assert "5ec2e7" not in page.content()

    card.get_by_role("button", name="Show its key").click()
    expect(card.get_by_text("5ec2e7")).to_be_visible()
    card.get_by_role("button", name="Copy the webhook's key").click()
    assert page.evaluate("navigator.clipboard.readText()") == "5ec2e7"
    card.get_by_role("button", name="Hide its key").click()
    expect(card.get_by_text("5ec2e7")).to_have_count(0)


def test_stopping_says_what_becomes_of_later_hours(reader: Reader) -> None:
    """What somebody chooses stays chosen while the rental changes around it."""
    reader.answer("/v1/rentals", [RENTAL])
    page = reader.open("machines")
    card = page.locator("#rentals article")
    card.get_by_text("Stop …").click()
    expect(card.get_by_label("Sell them again")).to_be_checked()
    card.get_by_label("Keep them until they run out").check()
    reader.answer("/v1/rentals", [msgspec.structs.replace(RENTAL, cost="7.00")])
    expect(card).to_contain_text("7.00 USD")
    expect(card.get_by_label("Keep them until they run out")).to_be_checked()

    asked = reader.answer("/v1/rentals/3/stop", msgspec.structs.replace(RENTAL, state="stopping"))
    reader.answer("/v1/rentals", [msgspec.structs.replace(RENTAL, state="stopping", notice="")])
    card.get_by_role("button", name="Stop now").click()

    expect(page.locator("#machines-told")).to_have_text("Rental 3 is stopped.")
    expect(card.locator("h3")).to_contain_text("stopped, running out")
    expect(card.get_by_text("Stop …")).to_be_hidden()
    assert [route.request.post_data_json for route in asked] == [{"on_stop": "keep"}]


def test_a_host_that_is_more_than_a_host_is_in_no_command(reader: Reader) -> None:
    """Host and user are a provider's words, and the line is for somebody's shell."""
    lease = {
        "lease": "9", "class_id": CPU, "state": "open", "gpus": 1, "starts_at": "2099-11-27T16:00:00.000Z",
        "ends_at": "2099-11-27T17:00:00.000Z", "contracts": [], "provider_machine": "<b>m</b>", "source": "simulated",
        "driver": "open", "host": "h; rm -rf ~", "port": 22, "user": "u", "host_key": "", "script": "", "detail": "",
    }  # fmt: skip
    reader.answer("/v1/leases", [lease])
    page = reader.open("machines")
    card = page.locator("#leases article")

    expect(card).to_contain_text("does not belong into a command")
    expect(card).to_contain_text("Simulated: there is no machine behind it.")
    expect(card).to_contain_text("<b>m</b>")
    expect(card.locator("code")).to_have_count(0)
