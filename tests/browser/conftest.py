"""The page in a real browser, against a real exchange: every room, and two agents that let this machine.

chromium  Browser   Debian's Chromium, for the tests of this folder
sandbox   Sandbox   one exchange for all of them, without demo members
reader    Reader    somebody with a window of his own, signed in as the sandbox's member; ends with nothing wrong on the console
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import msgspec
import pytest
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Locator, Page, Route, expect, sync_playwright

from services.gateway.page import BUILT
from services.runtime.infra import open_folder
from tests.cli.conftest import Sandbox
from tests.conftest import Skip

PATIENCE_MS = 45_000
"""Two cores, and several people on them."""
WIDTHS = (360, 768, 1280)


@pytest.fixture(scope="package")
def chromium() -> Iterator[Browser]:
    program = shutil.which("chromium")
    if program is None:
        pytest.skip(Skip.NO_BROWSER)
    if not (BUILT / "index.html").exists():
        pytest.skip(Skip.NO_PAGE)
    expect.set_options(timeout=PATIENCE_MS)
    with sync_playwright() as playwright:
        # Root has no sandbox of Chromium's own; what it is shown here is ours.
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(scope="package")
def sandbox(chromium: Browser) -> Iterator[Sandbox]:  # noqa: ARG001 # without a browser nobody needs one
    with open_folder() as folder:
        running = Sandbox(folder, patience_s=200)
        try:
            yield running
        finally:
            running.stop()


class Reader:
    """A window, and whose it is."""

    def __init__(self, context: BrowserContext, sandbox: Sandbox) -> None:
        self.context = context
        self.sandbox = sandbox
        self.page: Page = context.new_page()
        self.page.set_default_timeout(PATIENCE_MS)
        self.faults: list[str] = []
        self.asked: list[str] = []
        self.page.on("console", self._hear)
        self.page.on("pageerror", lambda error: self.faults.append(str(error)))
        self.page.on("request", lambda request: self.asked.append(request.url))

    def _hear(self, message: ConsoleMessage) -> None:
        # That the exchange has refused something is Chromium's to remark and the page's to tell.
        if message.type in ("error", "warning") and "Failed to load resource" not in message.text:
            self.faults.append(message.text)

    def profile(self, name: str = "member") -> dict[str, Any]:
        profile: dict[str, Any] = json.loads((self.sandbox.folder / f"var/sandbox/{name}.json").read_bytes())
        return profile

    @property
    def url(self) -> str:
        url: str = self.profile()["url"]
        return url

    def open(self, view: str = "rent", *, name: str = "member") -> Page:
        """Signed in by the address that the sandbox prints, then at a view."""
        self.page.goto(f"{self.url}/#key={self.profile(name)['key']['bearer']}")
        expect(self.page.locator("#account")).not_to_be_empty()
        self.look(view)
        return self.page

    def look(self, view: str) -> None:
        self.page.evaluate("view => { location.hash = `#${view}` }", view)
        expect(self.page.locator(f"#{view}")).to_be_visible()

    def answer(self, path: str, body: object, status: int = 200) -> list[Route]:
        """From now on the exchange answers so at this path; what was asked."""
        return self.answer_by_method(path, dict.fromkeys(("GET", "POST", "PUT", "PATCH"), body), status)

    def answer_by_method(self, path: str, bodies: Mapping[str, object], status: int = 200) -> list[Route]:
        """Likewise, each method with a body of its own."""
        asked: list[Route] = []

        def fulfil(route: Route) -> None:
            asked.append(route)
            kind = "application/json" if status < 400 else "application/problem+json"
            route.fulfill(status=status, content_type=kind, body=msgspec.json.encode(bodies[route.request.method]))

        self.page.route(re.compile(re.escape(self.url + path) + "$"), fulfil)
        return asked


@pytest.fixture
def open_reader(chromium: Browser, sandbox: Sandbox) -> Iterator[Callable[..., Reader]]:
    readers: list[Reader] = []

    def make(width: int = 1280, scheme: str = "light") -> Reader:
        context = chromium.new_context(
            viewport={"width": width, "height": 900},
            color_scheme=scheme,  # type: ignore[arg-type]  # light or dark
            timezone_id="Europe/Berlin",
            locale="en-GB",
            permissions=["clipboard-read", "clipboard-write"],
        )
        readers.append(Reader(context, sandbox))
        return readers[-1]

    yield make
    for each in readers:
        each.context.close()
    assert [fault for each in readers for fault in each.faults] == []


@pytest.fixture
def reader(open_reader: Callable[..., Reader]) -> Reader:
    return open_reader()


def rows(where: Locator) -> dict[str, str]:
    """A list of terms and values as it is read."""
    terms, values = where.locator("dt").all_inner_texts(), where.locator("dd").all_inner_texts()
    return dict(zip(terms, values, strict=True))
