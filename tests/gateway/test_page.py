"""The page's files: of the right kind, kept as long as they may be, and nothing but them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import cast

import httpx
import pytest

from services.gateway.app import build
from services.gateway.page import NOT_BUILT, Page
from services.gateway.wiring import Gateway
from tests.gateway.test_openapi import Bare


@pytest.fixture
def built(tmp_path: Path) -> Path:
    (tmp_path / "assets").mkdir()
    (tmp_path / "index.html").write_text("<!doctype html>first")
    (tmp_path / "assets" / "main-ABC.js").write_text("1")
    (tmp_path / "assets" / "style-ABC.css").write_text("a{}")
    (tmp_path / "assets" / "notes.txt").write_text("nothing for readers")
    return tmp_path


def reader(folder: Path) -> httpx.AsyncClient:
    transport = httpx.ASGITransport(build(cast("Gateway", Bare()), Page(folder)))  # type: ignore[arg-type]  # Litestar's own names
    return httpx.AsyncClient(transport=transport, base_url="http://exchange")


async def test_the_page_asks_anew_and_its_parts_are_kept(built: Path) -> None:
    async with reader(built) as http:
        page, script, style = [await http.get(path) for path in ("/", "/assets/main-ABC.js", "/assets/style-ABC.css")]

    assert (page.status_code, page.text) == (200, "<!doctype html>first")
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert page.headers["cache-control"] == "no-cache"
    assert script.headers["content-type"] == "text/javascript; charset=utf-8"
    assert style.headers["content-type"] == "text/css; charset=utf-8"
    assert script.headers["cache-control"] == "public, max-age=31536000, immutable"


async def test_nobody_else_has_a_say_in_it(built: Path) -> None:
    """No script but ours, no address but ours, in no frame, and nothing is guessed."""
    async with reader(built) as http:
        headers = (await http.get("/")).headers

    policy = dict(each.strip().split(" ", 1) for each in headers["content-security-policy"].split(";"))
    assert policy["default-src"] == policy["frame-ancestors"] == policy["base-uri"] == policy["form-action"] == "'none'"
    assert {policy[name] for name in ("script-src", "style-src", "connect-src", "img-src")} == {"'self'"}
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"


async def test_what_a_browser_has_already_is_not_sent_again(built: Path) -> None:
    async with reader(built) as http:
        tag = (await http.get("/")).headers["etag"]
        again = await http.get("/", headers={"If-None-Match": tag})
        (built / "index.html").write_text("<!doctype html>second")
        os.utime(built / "index.html", ns=(1, 1))  # whatever the clock's steps are, it is another moment
        other = await http.get("/", headers={"If-None-Match": tag})

    assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", tag)
    assert (other.status_code, other.text) == (200, "<!doctype html>second")


@pytest.mark.parametrize(
    "path",
    [
        "/assets/notes.txt",
        "/assets/index.html",
        "/assets/main-OLD.js",
        "/assets/..%2Findex.html",
        "/assets/../index.html",
    ],
)
async def test_nothing_but_what_was_built_is_there(built: Path, path: str) -> None:
    async with reader(built) as http:
        answer = await http.get(path)

    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")


async def test_a_page_that_nobody_has_built_is_a_sentence(tmp_path: Path) -> None:
    async with reader(tmp_path / "web") as http:
        page, script = await http.get("/"), await http.get("/assets/main.js")

    assert (page.status_code, page.text) == (503, NOT_BUILT)
    assert page.headers["content-type"].startswith("text/plain")
    assert script.status_code == 404
