"""A source at an HTTP address.

What it is promised: one request a look, conditional (ETag, Last-Modified) once it has been read; an end to it after
`timeout_ms`, however slowly it trickles; no more bytes than a catalogue may have, unpacked; no redirect to another host; the
token only from the environment, and only to that host. What is not a good answer withdraws nothing.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import Final

import httpx

from schemas.units import Millis
from services.supply.places import BYTES_MAX, Away, Document, Finding, Same
from services.supply.sources import SourceSettings

REDIRECTS_MAX: Final = 3
_BUSY: Final = frozenset({429, 503})
_MOVED: Final = frozenset({301, 302, 303, 307, 308})
_FAILURES = (httpx.HTTPError, httpx.InvalidURL, OSError, TimeoutError, ValueError)
"""`OSError`: certificates, addresses. `ValueError`: a header that httpx cannot send or read."""


class UrlPlace:
    """One address."""

    def __init__(self, settings: SourceSettings, environment: Mapping[str, str], bytes_max: int = BYTES_MAX) -> None:
        self._settings = settings
        self._url = httpx.URL(settings.url)
        self._token = environment.get(settings.token_env, "").strip() if settings.token_env else ""
        self._bytes_max = bytes_max
        self._tls = ssl.create_default_context() if self._url.scheme == "https" else False
        self._known: dict[str, str] = {}
        """Headers by which the server tells whether there are news."""

    async def look(self, now_ms: Millis) -> list[Finding]:
        """See `Place`."""
        try:
            async with asyncio.timeout(self._settings.timeout_ms / 1000):
                return [await self._fetch(now_ms)]
        except TimeoutError as error:
            raise Away(f"no whole answer within {self._settings.timeout_ms} ms") from error
        except _FAILURES as error:
            raise Away(f"{type(error).__name__}, asking {self._url.host}{_why(error)}") from error

    async def _fetch(self, now_ms: Millis) -> Finding:
        url = self._url
        # A client for each look: no cookie and no connection outlives it. Its own time limits are per chunk.
        timeout = self._settings.timeout_ms / 1000
        async with httpx.AsyncClient(verify=self._tls, follow_redirects=False, timeout=timeout) as client:
            for _ in range(REDIRECTS_MAX + 1):
                async with client.stream("GET", url, headers=self._headers()) as answer:
                    if answer.status_code not in _MOVED:
                        return await self._read(answer, now_ms)
                    url = self._next(url, answer)
        raise Away(f"more than {REDIRECTS_MAX} redirects")

    def _headers(self) -> dict[str, str]:
        token = {"Authorization": f"Bearer {self._token}"} if self._token else {}
        return {"Accept-Encoding": "gzip, identity", "User-Agent": "hourbook-supply", **self._known, **token}

    def _next(self, url: httpx.URL, answer: httpx.Response) -> httpx.URL:
        """Raises Away unless it stays where we were told to ask."""
        to = url.join(answer.headers.get("Location", ""))
        upgraded = (url.scheme, to.scheme, url.port, to.port) == ("http", "https", None, None)
        if to.host != url.host or not (upgraded or (to.scheme, to.port) == (url.scheme, url.port)):
            raise Away(
                f"it redirects to {ascii(to.scheme + '://' + to.host)[1:-1]}, which is not followed; is that its address now?"
            )
        return to

    async def _read(self, answer: httpx.Response, now_ms: Millis) -> Finding:
        """Raises Away."""
        if answer.status_code == httpx.codes.NOT_MODIFIED and self._known:
            return Same(self._settings.name)
        if answer.status_code != httpx.codes.OK:
            wanted_ms = _retry_after_ms(answer) if answer.status_code in _BUSY else 0
            raise Away(f"it answers {answer.status_code}", wanted_ms)
        data = bytearray()
        async for chunk in answer.aiter_bytes():
            data += chunk
            if len(data) > self._bytes_max:
                raise Away(f"more than {self._bytes_max} bytes")
        self._known = {
            ask: answer.headers[said]
            for ask, said in (("If-None-Match", "ETag"), ("If-Modified-Since", "Last-Modified"))
            if said in answer.headers
        }
        # Without the query: it may hold a key.
        label = str(self._url.copy_with(query=None, fragment=None))
        return Document(
            name=self._settings.name, catalogue=self._settings.catalogue, label=label,
            as_of_ms=_changed_ms(answer, now_ms), data=bytes(data),
        )  # fmt: skip


def _why(error: Exception) -> str:
    """What the network said. Other errors may quote the address, with a secret in its query: of these the kind has to do."""
    if not isinstance(error, (httpx.TransportError, httpx.DecodingError, OSError)) or not str(error):
        return ""
    text = str(error)[:120]
    return f": {text if text.isprintable() else ascii(text)}"


def _changed_ms(answer: httpx.Response, now_ms: Millis) -> Millis:
    """What the server says; now, where it says nothing."""
    try:
        changed = parsedate_to_datetime(answer.headers["Last-Modified"])
        return max(0, int(changed.timestamp() * 1000))
    except (KeyError, ValueError, TypeError, OverflowError, OSError):
        return now_ms


def _retry_after_ms(answer: httpx.Response) -> Millis:
    """0 where it does not say, or says a date."""
    text = answer.headers.get("Retry-After", "")
    return int(text) * 1000 if text.isascii() and text.isdigit() and len(text) < 8 else 0
