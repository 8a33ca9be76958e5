"""Every view at every width, in light and in dark: nothing that axe-core finds, and nothing that is cut off."""

from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from playwright.sync_api import Page, expect

from schemas.rental import LaunchAnswer, MachineAnswer, MaintenanceWindow, SeatAnswer
from tests.browser.conftest import WIDTHS, Reader
from tests.browser.test_machines import RENTAL
from tests.browser.test_rent import KEY, PREVIEW

TOLD = msgspec.structs.replace(
    RENTAL, webhook_key="0123456789abcdef" * 4, request=msgspec.structs.replace(RENTAL.request, webhook="https://example.org/told")
)  # fmt: skip
LAUNCH = LaunchAnswer(name="batch", ssh_keys=(KEY,), image="ubuntu:24.04", start_script="date", ports=(8888,))
AWAY = MachineAnswer(
    machine="host-a", class_id="CPU.X86.LOCAL.UNV", source="declared", driver="open", host="127.0.0.1", alive=True, heard_s_ago=1,
    clock_off_ms=0, retired=False, seats=(SeatAnswer(uuid="1", usable=True, lease=""),),
    maintenance=(MaintenanceWindow(from_hour="2099-11-27T16:00Z", until="2099-11-27T20:00Z"),),
)  # fmt: skip
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
    reader.answer("/v1/rentals", [TOLD])
    reader.answer("/v1/launches", [LAUNCH])
    reader.answer("/v1/machines", [AWAY])
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
        for key in page.locator(f"#{view} button", has_text="Show its key").all():
            key.click()
        found[view] = (faults(page), is_cut_off(page))

    assert found == {view: ([], False) for view in ("sign-in", "rent", "machines", "market", "provider")}
