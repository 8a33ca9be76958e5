"""The form for renting, up to the request that it sends. What the exchange makes of it is tested with the router."""

import json
import re
import time
from typing import Any

import msgspec
from playwright.sync_api import Page, Route, expect

from schemas.http import HandoversPreview, Problem
from schemas.rental import LaunchAnswer, RentalAnswer, RentalOption, RentalPreviewAnswer, RentalRequest
from tests.browser.conftest import Reader, rows

CLASS, OTHER = "H100.SXM.80.US", "H100.SXM.80.EU"
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGm0MfZ3TQxOB5N0Qx8Qw1ZQkq5nQ2v8q7yqGgH0bN6T ana"
PREVIEW = RentalPreviewAnswer(
    options=(
        RentalOption(
            class_id=CLASS,
            first_hour="6.68",
            window="33.40",
            hours_found=5,
            hours_wanted=6,
            cloud_price="3.29",
            cloud_provider="lambda",
            region="US",
            tier="DC",
            minutes_to_ssh=10,
        ),
    ),
    first_hour="6.68",
    window="33.40",
    per_day_most="172.80",
    stopping_now="1.125",
    starts_at="2026-11-27T16:00:00.000Z",
    ends_at="",
    handovers=HandoversPreview(least=0, most=4, likely=1, basis="the books"),
)
AWAY = Problem(
    type="/problems/not_ready",
    title="It is not ready",
    status=503,
    detail="the router does not answer",
    code="not_ready",
    request_id="1",
    retryable=True,
    outcome="rejected",
)


def rental(request: RentalRequest) -> RentalAnswer:
    return RentalAnswer(
        rental="7", state="waiting", made_at="2026-11-27T16:00:00.000Z", request=request, hours=(), cost="0.00",
        cost_per_day_most="172.80",
    )  # fmt: skip


def fill(page: Page) -> None:
    page.get_by_label("GPU", exact=True).select_option(CLASS)
    page.get_by_label("How many").fill("2")
    page.get_by_label("Most per GPU-hour").fill("3.60")


def test_what_it_would_cost_is_told_while_it_is_typed(reader: Reader) -> None:
    asked = reader.answer("/v1/rentals/preview", PREVIEW)
    page = reader.open()
    fill(page)

    expect(page.locator("#preview-said")).to_have_text("6.68 USD for the first hour of 2 GPUs, all in")
    expect(page.locator("#preview dt").first).to_have_text("The next 6 hours")
    assert rows(page.locator("#preview")) == {
        "The next 6 hours": "33.40 USD, 5 of them to be had",
        "Cheapest cloud beside": "6.58 USD an hour (3.29 USD per GPU-hour, lambda)",
        "Where": "US, tier DC",
        "To SSH": "at most 10 minutes",
        "A day at worst": "172.80 USD",
        "Changes of machine": "likely 1, at most 4",
        "Stopping at once would cost": "1.13 USD",
    }
    wanted = RentalRequest(classes=(CLASS,), gpus=2, max_price="3.60")
    deadline = time.monotonic() + 30
    while _asked(asked[-1]) != wanted and time.monotonic() < deadline:
        page.wait_for_timeout(50)  # what was typed last is asked a moment later
    assert _asked(asked[-1]) == wanted


def _asked(route: Route) -> RentalRequest:
    return msgspec.json.decode(route.request.post_data_buffer or b"", type=RentalRequest)


def test_a_router_that_is_away_is_told_and_nothing_typed_is_lost(reader: Reader) -> None:
    """Not by other views, by a reload, by a refusal."""
    for path in ("/v1/rentals/preview", "/v1/rentals"):
        reader.answer(path, AWAY, 503)
    page = reader.open()
    fill(page)
    page.get_by_text("Options").click()
    page.get_by_label("kept until they run out").check()
    page.get_by_label("Public SSH key").fill(KEY)
    expect(page.locator("#preview-said")).to_have_text("No preview. The router does not answer.")

    page.get_by_role("button", name="Rent", exact=True).click()
    expect(page.locator("#rent-said")).to_have_text("The router does not answer.")
    reader.look("machines")
    expect(page.locator("#rentals-said")).to_have_text("The router does not answer.")
    reader.look("rent")
    page.reload()

    expect(page.get_by_label("GPU", exact=True)).to_have_value(CLASS)
    expect(page.get_by_label("How many")).to_have_value("2")
    expect(page.get_by_label("Most per GPU-hour")).to_have_value("3.60")
    expect(page.get_by_label("kept until they run out")).to_be_checked()
    expect(page.get_by_label("Public SSH key")).to_have_value(KEY)


def test_a_slip_is_told_where_it_is(reader: Reader) -> None:
    reader.answer("/v1/rentals/preview", PREVIEW)
    page = reader.open()
    fill(page)
    page.get_by_label("How many").fill("1.5")
    page.get_by_role("button", name="Rent", exact=True).click()

    gpus = page.get_by_label("How many")
    expect(gpus).to_be_focused()
    expect(gpus).to_have_attribute("aria-invalid", "true")
    expect(gpus).to_have_accessible_description("How many GPUs: a whole number from 1 on.")

    gpus.fill("2")
    expect(gpus).not_to_have_attribute("aria-invalid", "true")
    page.get_by_label("Public SSH key").fill("")
    page.get_by_role("button", name="Rent", exact=True).click()
    expect(page.get_by_label("Public SSH key")).to_be_focused()
    expect(page.locator("#fault-ssh_keys")).to_contain_text("Paste a public SSH key")


def test_with_the_keyboard_alone_a_rental_is_made_once_whatever_the_network_does(reader: Reader) -> None:
    """An answer that is lost: the same again has the same id. The key is the account's before the rental is."""
    reader.answer("/v1/rentals/preview", PREVIEW)
    page = reader.open()
    sent: list[tuple[str | None, Any]] = []

    def lose_the_first(route: Any) -> None:
        if route.request.method != "POST":
            route.fulfill(json=[])
            return
        body = route.request.post_data_json
        sent.append((route.request.headers.get("idempotency-key"), body))
        if len(sent) == 1:
            route.abort()
            return
        made = rental(msgspec.convert(body, RentalRequest))
        route.fulfill(status=201, content_type="application/json", body=msgspec.json.encode(made))

    page.route(re.compile("/v1/rentals$"), lose_the_first)
    fill(page)
    page.get_by_label("Most per GPU-hour").press("Tab")
    expect(page.get_by_label("Public SSH key")).to_be_focused()
    page.keyboard.press("Control+A")
    page.keyboard.insert_text(KEY)
    page.keyboard.press("Tab")
    expect(page.get_by_text("Options")).to_be_focused()
    page.keyboard.press("Enter")
    while not page.get_by_label("sold again").evaluate("each => each === document.activeElement"):
        page.keyboard.press("Tab")
    page.keyboard.press("ArrowRight")
    while not page.get_by_role("button", name="Rent", exact=True).evaluate("each => each === document.activeElement"):
        page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(page.locator("#rent-said")).to_contain_text("press again, it is made once only")
    page.keyboard.press("Enter")

    expect(page.locator("#machines-told")).to_contain_text("Rental 7 is made.")
    assert page.url.endswith("/#machines")
    (first, body), (second, again) = sent
    assert first == second
    assert body == again
    assert body["on_stop"] == "keep"
    (launch,) = json.loads(reader.sandbox.hourbook("--json", "launch").out)
    assert (launch["name"], launch["ssh_keys"]) == ("default", [KEY])


def test_options_are_closed_at_first_and_say_everything_that_a_request_can(reader: Reader) -> None:
    """What they hold stays to be seen when they are closed, also after a reload: a limit that nobody sees surprises."""
    asked = reader.answer("/v1/rentals/preview", PREVIEW)
    launches = [
        LaunchAnswer(name="batch", ssh_keys=(KEY,), image="ubuntu:24.04", start_script="date", ports=(8888,)),
        LaunchAnswer(name="default", ssh_keys=(KEY,), image="", start_script="", ports=()),
    ]
    reader.answer("/v1/launches", launches)
    page = reader.open()
    fill(page)
    expect(page.get_by_label("Most per day")).to_be_hidden()
    expect(page.locator("#rent-options-set")).to_be_empty()

    page.get_by_text("Options").click()
    page.get_by_label("Most per day").fill("40")
    page.get_by_label("Hours bought ahead").fill("12")
    page.get_by_role("group", name="Any of these will do as well").locator(f"input[value='{OTHER}']").check()
    page.get_by_label("kept until they run out").check()
    page.get_by_label("Launch specification").select_option("batch")
    page.get_by_label("Webhook").fill("https://example.org/told")
    expect(page.locator("#launch-hint")).to_contain_text("1 SSH key, image ubuntu:24.04, a start script, port 8888.")
    expect(page.get_by_label("Public SSH key")).to_be_hidden()

    wanted = RentalRequest(
        classes=(CLASS, OTHER), gpus=2, max_price="3.60", max_spend="40.00", look_ahead=12, on_stop="keep", launch="batch",
        webhook="https://example.org/told",
    )  # fmt: skip
    deadline = time.monotonic() + 30
    while _asked(asked[-1]) != wanted and time.monotonic() < deadline:
        page.wait_for_timeout(50)
    assert _asked(asked[-1]) == wanted

    page.reload()
    expect(page.get_by_label("Most per day")).to_be_hidden()
    expect(page.locator("#rent-options-set")).to_have_text(
        "at most 40.00 USD a day, 12 hours ahead, 1 more class, kept when stopped, batch, a webhook"
    )
    made = reader.answer_by_method("/v1/rentals", {"POST": rental(wanted), "GET": []}, 201)
    page.get_by_role("button", name="Rent", exact=True).click()
    expect(page.locator("#machines-told")).to_contain_text("Rental 7 is made.")
    assert [_asked(route) for route in made if route.request.method == "POST"] == [wanted]


def test_a_price_is_suggested_but_not_to_who_is_about_to_type_one(reader: Reader) -> None:
    page = reader.open()
    price, gpu = page.get_by_label("Most per GPU-hour"), page.locator("#rent-class")
    expect(price).not_to_have_value("")
    price.fill("")
    gpu.dispatch_event("input")
    expect(price).to_have_value("")

    page.get_by_label("How many").focus()
    gpu.dispatch_event("input")
    expect(price).not_to_have_value("")


def test_of_several_classes_the_one_that_is_taken_first_is_named_and_the_others_stand_beside(reader: Reader) -> None:
    (best,) = PREVIEW.options
    other = msgspec.structs.replace(best, class_id=OTHER, window="40.00", hours_found=6)
    reader.answer("/v1/rentals/preview", msgspec.structs.replace(PREVIEW, options=(best, other)))
    page = reader.open()
    fill(page)
    page.get_by_text("Options").click()
    page.locator(f"#rent-also input[value='{OTHER}']").check()

    expect(page.locator("#preview")).to_contain_text("Taken first")
    said = rows(page.locator("#preview"))
    assert said["Taken first"] == CLASS
    assert said[f"or {OTHER}"] == "40.00 USD"


def test_when_it_begins_and_ends_is_told_in_local_time_with_utc_beside(reader: Reader) -> None:
    reader.answer("/v1/rentals/preview", PREVIEW)
    page = reader.open()
    fill(page)
    page.locator("#rent-form").get_by_label("First hour, local time").fill("2099-06-01T01:00")
    page.locator("#rent-form").get_by_label("Hours", exact=True).fill("8")

    expect(page.get_by_label("an hour to come")).to_be_checked()
    expect(page.locator("#rent-from-utc")).to_have_text("31 May, 23:00 UTC")
    expect(page.locator("#rent-until")).to_have_text(re.compile(r"^Until Mon,? 1 Jun, 09:00 \(07:00 UTC\)\.$"))


def test_what_the_exchange_refuses_is_told_beside_the_field_that_it_speaks_of(reader: Reader) -> None:
    """By the exchange's own words, in options that are closed as well."""
    page = reader.open()
    fill(page)
    page.get_by_label("Public SSH key").fill(KEY)
    page.get_by_text("Options").click()
    webhook = page.get_by_label("Webhook")
    webhook.fill("gopher://example.org")
    page.get_by_text("Options").click()
    expect(webhook).to_be_hidden()
    page.get_by_role("button", name="Rent", exact=True).click()

    expect(webhook).to_be_focused()
    expect(webhook).to_have_attribute("aria-invalid", "true")
    expect(page.locator("#fault-webhook")).to_have_text("Use an address with https or http, without a password in it.")
    expect(page.locator("#rent-said")).to_be_empty()
    webhook.fill("")
    expect(page.locator("#fault-webhook")).to_be_empty()

    page.get_by_label("Public SSH key").fill("not a key")
    page.get_by_role("button", name="Rent", exact=True).click()
    expect(page.get_by_label("Public SSH key")).to_be_focused()
    expect(page.locator("#fault-ssh_keys")).to_contain_text("is not a public SSH key")
