"""Every view at every width, in light and in dark: nothing that axe-core finds, and nothing that is cut off."""

from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import WIDTHS, Reader
from tests.browser.test_machines import RENTAL
from tests.browser.test_rent import PREVIEW

AXE = (Path(__file__).parents[2] / "web/node_modules/axe-core/axe.min.js").read_text
FOUND = """async () => (await axe.run(document, {resultTypes: ["violations"]}))
  .violations.map(each => `${each.id}: ${each.nodes.map(node => node.html).join(" | ").slice(0, 400)}`)"""


def faults(page: Page) -> list[str]:
    page.evaluate(AXE())
    found: list[str] = page.evaluate(FOUND)
    return found


def is_cut_off(page: Page) -> bool:
    wide: bool = page.evaluate("document.documentElement.scrollWidth > innerWidth")
    return wide


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", WIDTHS)
def test_every_view_is_for_everybody(open_reader: Callable[..., Reader], width: int, scheme: str) -> None:
    reader = open_reader(width, scheme)
    reader.answer("/v1/rentals/preview", PREVIEW)
    reader.answer("/v1/rentals", [RENTAL])
    page = reader.page
    page.goto(reader.url)
    expect(page.get_by_label("Key", exact=True)).to_be_visible()
    found = {"sign-in": (faults(page), is_cut_off(page))}
    reader.open(name="host-a")
    for view, shown in (
        ("rent", "#preview dd"),
        ("machines", "#rentals article"),
        ("market", "#market-plot svg"),
        ("provider", "#provider-machines td"),
    ):
        reader.look(view)
        expect(page.locator(shown).first).to_be_visible()
        closed = page.locator(f"#{view} details:not([open]) > summary")
        while closed.count():
            closed.first.click()
        found[view] = (faults(page), is_cut_off(page))

    assert found == {view: ([], False) for view in ("sign-in", "rent", "machines", "market", "provider")}
