"""The page for people who rent: the files that `make web` has built, served at `/` and below `/assets/`.

The page is a client like any other: it asks `/v1` of this address with the key that its reader gives it, and nothing else of
anybody. Where nobody has built it, `/` says so in a sentence and everything else goes on. Built anew, it is there at once.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Annotated, Any, Final, NamedTuple

from litestar import Request, Response, get
from litestar.di import NamedDependency
from litestar.params import PathParameter

from services.gateway.errors import ApiError

BUILT: Final = Path(__file__).parents[2] / "var" / "web"
INDEX: Final = "index.html"
ASSETS: Final = "assets"
NOT_BUILT: Final = (
    "The page is not built here: `make web`, in the project's folder, builds it. The API goes on without it, at /v1.\n"
)
_TYPES: Final = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
}
"""What is built; a file of another kind is not served."""
GUARDS: Final = {
    # Scripts and styles are files of ours: text that finds its way into the page stays text. Nobody else is asked for anything,
    # and no other page may show this one in a frame.
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
_ALWAYS_ASK: Final = "no-cache"
_FOR_EVER: Final = "public, max-age=31536000, immutable"
"""The name of an asset has a hash of what is in it."""


class File(NamedTuple):
    """One file of the page, and the headers it is sent with."""

    content: bytes
    headers: dict[str, str]


class Page:
    """The built files, kept in memory until others are built."""

    def __init__(self, folder: Path = BUILT) -> None:
        self._folder = folder
        self._built_ns = 0
        self._files: dict[str, File] = {}

    def file(self, name: str) -> File | None:
        """`index.html`, or the name of an asset; None: there is no such file, or no page."""
        try:
            built_ns = (self._folder / INDEX).stat().st_mtime_ns
        except OSError:
            return None
        if built_ns != self._built_ns:
            self._files = {each.name: _read(each) for each in _found(self._folder)}
            self._built_ns = built_ns
        return self._files.get(name)


def _found(folder: Path) -> list[Path]:
    built = [folder / INDEX, *(folder / ASSETS).iterdir()]
    return [each for each in built if each.suffix in _TYPES and each.is_file()]


def _read(path: Path) -> File:
    content = path.read_bytes()
    headers = GUARDS | {
        "Cache-Control": _ALWAYS_ASK if path.name == INDEX else _FOR_EVER,
        "Content-Type": _TYPES[path.suffix],
        "ETag": f'"{hashlib.sha256(content).hexdigest()[:32]}"',
    }
    return File(content, headers)


# --- Routes -------------------------------------------------------------------------------------------------

Served = NamedDependency[Page]


@get("/")
async def get_page(page: Served, request: Request[Any, Any, Any]) -> Response[bytes]:
    """The page."""
    file = page.file(INDEX)
    if file is None:
        return Response(NOT_BUILT.encode(), status_code=503, media_type="text/plain; charset=utf-8")
    return _sent(file, request)


@get("/assets/{name:str}")
async def get_asset(
    page: Served, request: Request[Any, Any, Any], name: Annotated[str, PathParameter()]
) -> Response[bytes]:
    """A script, style or picture of the page. Raises ApiError not_found."""
    file = page.file(name) if name != INDEX else None
    if file is None:
        raise ApiError("not_found", "the page has no such file: load it anew")
    return _sent(file, request)


def _sent(file: File, request: Request[Any, Any, Any]) -> Response[bytes]:
    if request.headers.get("if-none-match") == file.headers["ETag"]:
        return Response(b"", status_code=304, headers=file.headers)
    return Response(file.content, headers=file.headers, media_type=file.headers["Content-Type"])


ROUTES: Final = [get_page, get_asset]
