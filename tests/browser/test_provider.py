"""A provider's page, against the exchange itself."""

import json
import re
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
from playwright.sync_api import Page, expect

from schemas import feeds, http
from tests.browser.conftest import Reader

CLASS, RUNS = "H100.SXM.80.EU", "A100.SXM.80.US"


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


def hour_in(hours: int) -> datetime:
    """A whole one."""
    return datetime.now(UTC).replace(minute=0, second=0, microsecond=0) + timedelta(hours=hours)


def local(hour: datetime) -> str:
    """As somebody in Berlin types it."""
    return f"{hour.astimezone(ZoneInfo('Europe/Berlin')):%Y-%m-%dT%H:%M}"


def offer(page: Page, first: datetime, hours: int, gpus: int, *, running: bool) -> None:
    form = page.locator("#provider-form")
    form.get_by_label("Class").select_option(RUNS)
    form.get_by_label("GPUs in each hour").fill(str(gpus))
    form.get_by_label("First hour").fill(local(first))
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
    first = hour_in(60)
    offer(page, first, 3, 2, running=True)
    assert backed(reader, "declared") == backed(reader, "ready") == [(2, 2)] * 3
    expect(page.locator("#provider-capacity tbody tr", has_text=RUNS)).to_have_count(6)

    page.get_by_text("Withdraw …").click()
    form = page.locator("#withdraw-form")
    form.get_by_label("Class").select_option(RUNS)
    expect(form.get_by_label("First hour")).to_have_value(local(first))
    expect(form.get_by_label("Hours", exact=True)).to_have_value("3")
    form.get_by_label("GPUs that stay declared").fill("some")
    form.get_by_role("button", name="Withdraw").click()
    expect(form.get_by_label("GPUs that stay declared")).to_have_accessible_description(re.compile("0 for none"))
    form.get_by_label("GPUs that stay declared").fill("0")
    form.get_by_label("Hours", exact=True).fill("2")
    form.get_by_role("button", name="Withdraw").click()
    expect(page.locator("#withdraw-told")).to_have_text(f"{RUNS} is withdrawn.")
    assert backed(reader, "declared") == backed(reader, "ready") == [(0, 0), (0, 0), (2, 2)]

    page.get_by_text("Withdraw …").click()
    form.get_by_label("Class").select_option(RUNS)
    expect(form.get_by_label("Hours", exact=True)).to_have_value("1")
    form.get_by_label("First hour").fill(local(first))
    form.get_by_role("button", name="Withdraw").click()
    expect(form.get_by_label("First hour")).to_have_accessible_description(re.compile("No more than 0 is declared"))


def test_of_an_hour_that_runs_what_is_not_owed_since_before_is_ready(reader: Reader) -> None:
    """And nothing is declared in it, as its gate is closed. What the page says; a sandbox's hosts show what comes of it."""
    now = hour_in(0)
    contracts = [f"{CLASS}.{now + timedelta(hours=each):%Y%m%dT%H}-USD" for each in range(2)]
    rows = [
        feeds.GridRow(
            contract=contract, hour=f"{now + timedelta(hours=each):%Y-%m-%dT%H:%MZ}", phase=phase, state="open"
        )
        for each, (contract, phase) in enumerate(zip(contracts, ("running", "forward"), strict=True))
    ]
    owed = http.CapacityAnswer(
        contract=contracts[0], ground="declared", qty=0, owed=3, collateral_price="0.00", version=4
    )
    page = reader.open("provider", name="host-a")
    reader.answer(f"/v1/classes/{CLASS}/grid", {"class": CLASS, "rows": rows})
    done = http.RequestAnswer(request_id="1", state="done", outcome={})
    asked = reader.answer_by_method("/v1/capacity", {"GET": [owed], "PUT": done})
    sold = reader.answer("/v1/ranges", http.RangeAnswer(client_order_id="1", class_id=CLASS, legs=()))
    form = page.locator("#provider-form")
    form.get_by_label("Class").select_option(CLASS)
    form.get_by_label("GPUs in each hour").fill("4")
    form.get_by_label("First hour").fill(local(now))
    form.get_by_label("Hours", exact=True).fill("2")
    form.get_by_label("Least per GPU-hour").fill("4.50")
    form.get_by_label("Go on selling while the hour runs").check()
    page.get_by_role("button", name="Declare and offer").click()
    expect(page.locator("#provider-said")).not_to_be_empty()

    put = [
        msgspec.json.decode(each.request.post_data_buffer or b"", type=http.CapacityRequest)
        for each in asked
        if each.request.method == "PUT"
    ]
    assert [(each.ground, each.from_hour, each.hours, each.qty) for each in put] == [
        ("declared", rows[1].hour, 1, 4), ("ready", rows[1].hour, 1, 4), ("ready", rows[0].hour, 1, 1),
    ]  # fmt: skip
    (body,) = [msgspec.json.decode(each.request.post_data_buffer or b"", type=http.RangeRequest) for each in sold]
    assert (body.from_hour, body.count, body.running) == (rows[0].hour, 2, True)


def test_a_machine_is_taken_away_for_hours_to_come_and_brought_back(reader: Reader) -> None:
    page = reader.open("provider", name="host-b")
    expect(page.locator("#provider-machines tbody tr", has_text="host-b")).to_have_count(1)
    first = hour_in(30)
    page.get_by_text("Planned maintenance …").click()
    form = page.locator("#maintenance-form")
    form.get_by_label("Machine").select_option("host-b")
    form.get_by_label("Away from").fill(local(first))
    form.get_by_label("For so many hours").fill("4")
    form.get_by_role("button", name="Take it away").click()
    expect(page.locator("#maintenance-told")).to_contain_text("host-b is away from ")
    ((window,),) = [machine["maintenance"] for machine in as_host(reader, "machines")]
    begin, end = (datetime.fromisoformat(window[name]) for name in ("from", "until"))
    assert end - begin == timedelta(hours=4)
    away = page.locator("#provider-away p")
    expect(away).to_contain_text(re.compile(r"host-b is away from \w{3},? .* UTC\) until \w{3},? .* UTC\)"))

    form.get_by_label("Away from").fill(local(first + timedelta(hours=1)))
    form.get_by_role("button", name="Take it away").click()
    expect(form.get_by_label("Away from")).to_have_accessible_description(re.compile("overlap: make one of them"))
    expect(form.get_by_label("Away from")).to_be_focused()

    away.get_by_role("button", name="Take back").click()
    expect(page.locator("#maintenance-told")).to_have_text("host-b is there in these hours.")
    expect(away).to_have_count(0)
    assert [machine["maintenance"] for machine in as_host(reader, "machines")] == [[]]
