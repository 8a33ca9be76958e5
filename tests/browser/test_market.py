"""The market live, and marked as old as soon as it is not."""

import os
import signal
import time

from playwright.sync_api import expect

from tests.browser.conftest import Reader

CLASS = "H100.SXM.80.US"
UNTIL_STALE = """() => new Promise(done => {
  const began = performance.now();
  new MutationObserver(() => done(performance.now() - began)).observe(document.documentElement, {attributes: true});
})"""
"""Timed in the page: what a busy machine takes to look at it from outside is not its fault."""


def test_every_hour_is_there_to_see_and_to_read(reader: Reader) -> None:
    """Drawn, with a cursor that keys move; and as a table."""
    page = reader.open("market")
    page.locator("#market-class").select_option(CLASS)
    expect(page.locator("#market-plot .curve.ask")).not_to_have_count(0)
    expect(page.locator("#market-plot .curve.bid")).not_to_have_count(0)
    read = page.locator("#market-plot output")
    expect(read).to_contain_text("UTC)")
    before = read.inner_text()
    page.get_by_label("Hour of the market").press("ArrowRight")
    expect(read).not_to_have_text(before)

    page.get_by_text("All hours").click()
    expect(page.get_by_role("columnheader", name="Ask × GPUs")).to_be_visible()
    assert page.locator("#market-hours tbody tr").count() > 100


def test_prices_are_marked_as_old_within_three_seconds_and_live_again(reader: Reader) -> None:
    """Stopping market data turns every figure of the market stale; what was there stays readable."""
    page = reader.open("market")
    root, state = page.locator("html"), page.locator("#live-state")
    expect(state).to_have_text("Live")
    pid = int(reader.sandbox.hourbook("pid", "market_data").out)

    os.kill(pid, signal.SIGSTOP)
    try:
        waited_ms = page.evaluate(UNTIL_STALE)
        expect(state).to_contain_text("s old.")
        expect(page.locator("#live-told")).to_contain_text("Prices are old.")
        expect(page.locator("#market-plot svg")).to_be_visible()
    finally:
        os.kill(pid, signal.SIGCONT)

    assert waited_ms < 3_000
    expect(root).not_to_have_attribute("data-stale", "")
    expect(state).to_have_text("Live")


def test_an_exchange_that_is_away_is_told(reader: Reader) -> None:
    """And what was read stays."""
    page = reader.open("machines")
    expect(page.locator("#leases")).not_to_have_attribute("aria-busy", "true")
    pid = int(reader.sandbox.hourbook("pid", "gateway").out)
    os.kill(pid, signal.SIGSTOP)
    try:
        expect(page.locator("#leases-said")).to_have_text("The exchange does not answer.")
        assert page.locator("#who").is_visible()
    finally:
        os.kill(pid, signal.SIGCONT)
    deadline = time.monotonic() + 60
    while "does not answer" in page.locator("#leases-said").inner_text():
        assert time.monotonic() < deadline
        time.sleep(0.2)
