"""A provider's page, against the exchange itself."""

import json
import re
import time
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from playwright.sync_api import Page, expect

from tests.browser.conftest import Reader

CLASS, RUNS = "H100.SXM.80.EU", "A100.SXM.80.US"
BEFORE_CLOSE_S = 11 * 60
"""A running hour is sold until ten minutes before its end."""


def test_hours_are_declared_and_offered_by_one_button(reader: Reader) -> None:
    page = reader.open("provider", name="host-a")
    form = page.locator("#provider-form")
    form.get_by_label("Class").select_option(CLASS)
    form.get_by_label("GPUs in each hour").fill("2")
    form.get_by_label("Hours", exact=True).fill("3")
    form.get_by_label("Least per GPU-hour").fill("4.50")
    form.get_by_label("Least per GPU-hour").press("Enter")
    expect(page.locator("#provider-said")).to_have_text("3 of 3 hours are offered.")

    declared = page.locator("#provider-capacity tbody tr", has_text=CLASS)
    expect(declared).to_have_count(3)
    expect(declared.first).to_contain_text("declared202")
    asks = reader.sandbox.json("book", CLASS)
    assert len(asks) > 0


def test_machines_and_how_much_of_them_is_let(reader: Reader) -> None:
    page = reader.open("provider", name="host-a")
    machine = page.locator("#provider-machines tbody tr", has_text="host-a")

    expect(machine).to_contain_text("heard")
    expect(machine).to_contain_text("of 4")
    expect(page.locator("#provider-use")).to_contain_text("of 4 GPUs are let")


def test_what_is_wrong_is_a_sentence(reader: Reader) -> None:
    """Of the page where it can tell, else of the exchange."""
    page = reader.open("provider", name="host-a")
    form, said = page.locator("#provider-form"), page.locator("#provider-said")
    form.get_by_label("Class").select_option(CLASS)
    form.get_by_label("Least per GPU-hour").fill("a lot")
    page.get_by_role("button", name="Declare and offer").click()
    price = form.get_by_label("Least per GPU-hour")
    expect(price).to_be_focused()
    expect(price).to_have_accessible_description(re.compile("The least you take per GPU-hour, in USD"))

    price.fill("99")
    page.get_by_role("button", name="Declare and offer").click()
    expect(said).to_contain_text("Nothing is offered. Refused: The price is outside the collar")


def test_a_member_is_told_what_it_takes_to_be_a_provider(reader: Reader) -> None:
    page = reader.open("provider")

    expect(page.locator("#provider-not")).to_contain_text("an operator gives")
    expect(page.locator("#provider-form")).to_be_hidden()


def local_hour(hours_ahead: int) -> str:
    """As somebody in Berlin types it."""
    moment = datetime.now(UTC).replace(minute=0) + timedelta(hours=hours_ahead)
    return f"{moment.astimezone(ZoneInfo('Europe/Berlin')):%Y-%m-%dT%H:%M}"


def offer(page: Page, first: int, hours: int, gpus: int, *, running: bool) -> None:
    form = page.locator("#provider-form")
    form.get_by_label("Class").select_option(RUNS)
    form.get_by_label("GPUs in each hour").fill(str(gpus))
    form.get_by_label("First hour").fill(local_hour(first))
    form.get_by_label("Hours", exact=True).fill(str(hours))
    form.get_by_label("Least per GPU-hour").fill("2.90")
    form.get_by_label("Go on selling while the hour runs").set_checked(running)
    page.get_by_role("button", name="Declare and offer").click()
    expect(page.locator("#provider-said")).to_have_text(f"{hours} of {hours} hours are offered.")


def backed(reader: Reader, ground: str) -> list[tuple[int, int]]:
    """(declared, asked) by hour, of one class."""
    rows: list[dict[str, Any]] = as_host(reader, "capacity")
    return [(row["qty"], row["asked"]) for row in rows if row["contract"].startswith(RUNS) and row["ground"] == ground]


def as_host(reader: Reader, *words: str) -> Any:
    done = reader.sandbox.hourbook("--json", *words, HOURBOOK_PROFILE="var/sandbox/host-b.json")
    assert done.code == 0, done
    return json.loads(done.out)


def test_hours_go_on_selling_while_they_run_and_are_withdrawn(reader: Reader) -> None:
    """Declared and ready, with asks that outlive the gate; then both grounds are taken back, and the asks with them."""
    page = reader.open("provider", name="host-b")
    offer(page, 60, 3, 2, running=True)
    assert backed(reader, "declared") == backed(reader, "ready") == [(2, 2)] * 3
    expect(page.locator("#provider-capacity tbody tr", has_text=RUNS)).to_have_count(6)

    page.get_by_text("Withdraw …").click()
    form = page.locator("#withdraw-form")
    form.get_by_label("Class").select_option(RUNS)
    expect(form.get_by_label("First hour")).to_have_value(local_hour(60))
    expect(form.get_by_label("Hours", exact=True)).to_have_value("3")
    form.get_by_label("GPUs that stay declared").fill("some")
    form.get_by_role("button", name="Withdraw").click()
    expect(form.get_by_label("GPUs that stay declared")).to_have_accessible_description(re.compile("0 for none"))
    form.get_by_label("GPUs that stay declared").fill("0")
    form.get_by_label("Hours", exact=True).fill("2")
    form.get_by_role("button", name="Withdraw").click()
    expect(page.locator("#withdraw-told")).to_have_text(f"{RUNS} is withdrawn.")
    assert backed(reader, "declared") == backed(reader, "ready") == [(0, 0), (0, 0), (2, 2)]

    form.get_by_label("First hour").fill(local_hour(60))
    form.get_by_role("button", name="Withdraw").click()
    expect(form.get_by_label("First hour")).to_have_accessible_description(re.compile("No more than 0 is declared"))


def test_the_hour_that_runs_is_offered_by_the_minute(reader: Reader) -> None:
    """It is ready and not declared; hours to come are both."""
    left_s = 3600 - time.time() % 3600
    if left_s < BEFORE_CLOSE_S:
        time.sleep(left_s + 1)
    page = reader.open("provider", name="host-b")
    page.locator("#provider-form").get_by_label("Class").select_option(CLASS)
    offer_now = page.locator("#provider-form")
    offer_now.get_by_label("First hour").fill(local_hour(0))
    offer_now.get_by_label("Hours", exact=True).fill("1")
    offer_now.get_by_label("Least per GPU-hour").fill("4.50")
    offer_now.get_by_label("Go on selling while the hour runs").check()
    page.get_by_role("button", name="Declare and offer").click()
    expect(page.locator("#provider-said")).to_have_text("1 of 1 hours are offered.")

    (row,) = [row for row in as_host(reader, "capacity") if row["contract"].startswith(CLASS)]
    assert (row["ground"], row["qty"], row["asked"]) == ("ready", 1, 1)


def test_a_machine_is_taken_away_for_hours_to_come_and_brought_back(reader: Reader) -> None:
    page = reader.open("provider", name="host-b")
    expect(page.locator("#provider-machines tbody tr", has_text="host-b")).to_have_count(1)
    page.get_by_text("Planned maintenance …").click()
    form = page.locator("#maintenance-form")
    form.get_by_label("Machine").select_option("host-b")
    form.get_by_label("Away from").fill(local_hour(30))
    form.get_by_label("For so many hours").fill("4")
    form.get_by_role("button", name="Take it away").click()
    expect(page.locator("#maintenance-told")).to_contain_text("host-b is away from ")
    ((window,),) = [machine["maintenance"] for machine in as_host(reader, "machines")]
    begin, end = (datetime.fromisoformat(window[name]) for name in ("from", "until"))
    assert end - begin == timedelta(hours=4)
    away = page.locator("#provider-away p")
    expect(away).to_contain_text(re.compile(r"host-b is away from \w{3}, .* UTC\) until \w{3}, .* UTC\)"))

    form.get_by_label("Away from").fill(local_hour(31))
    form.get_by_role("button", name="Take it away").click()
    expect(form.get_by_label("Away from")).to_have_accessible_description(re.compile("overlap: make one of them"))
    expect(form.get_by_label("Away from")).to_be_focused()

    away.get_by_role("button", name="Take back").click()
    expect(page.locator("#maintenance-told")).to_have_text("host-b is there in these hours.")
    expect(away).to_have_count(0)
    assert [machine["maintenance"] for machine in as_host(reader, "machines")] == [[]]
