"""Another room of the exchange, asked over HTTP inside the cluster on behalf of whoever the key belongs to.

A room is a process of its own: while it is away its routes answer `not_ready`, and everything else goes on.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, TypeVar

import httpx
import msgspec

from services.gateway.errors import ApiError, refusal

T = TypeVar("T")
ANSWER_S: Final = 10.0
"""A heartbeat is answered after four seconds where nothing is new."""


class Room:
    """The room behind some routes. `url` empty: this exchange runs none. `headers`: by which it knows gateways."""

    def __init__(self, name: str, url: str, headers: Mapping[str, str], client: httpx.AsyncClient) -> None:
        self._name = name
        self._url = url
        self._headers = headers
        self._client = client

    @property
    def runs(self) -> bool:
        """In this exchange."""
        return bool(self._url)

    async def ask(
        self,
        method: str,
        path: str,
        kind: type[T],
        body: Any = None,  # noqa: ANN401 # any struct
        headers: Mapping[str, str] | None = None,
    ) -> T:
        """What it answers, decoded. Raises ApiError."""
        if not self._url:
            raise ApiError("not_ready", f"this exchange runs no {self._name}")
        content = b"" if body is None else msgspec.json.encode(body)
        sent = {**self._headers, **(headers or {}), **({"Content-Type": "application/json"} if content else {})}
        try:
            answer = await self._client.request(
                method, f"{self._url}{path}", content=content, headers=sent, timeout=ANSWER_S
            )
        except (httpx.ConnectError, httpx.ConnectTimeout):
            raise ApiError("not_ready", f"{self._name} does not answer") from None
        except httpx.HTTPError:
            if method == "GET":
                raise ApiError("not_ready", f"{self._name} does not answer") from None
            # Each of these requests may be sent again as it is: it says how things are to be, not by how much they change, or
            # has a name of its own.
            raise ApiError("outcome_unknown", f"{self._name} did not answer in time") from None
        if answer.is_success:
            return msgspec.json.decode(answer.content, type=kind)
        raise refusal(self._name, answer.content)

    async def of(
        self,
        account: int,
        method: str,
        path: str,
        kind: type[T],
        body: Any = None,  # noqa: ANN401 # any struct
        headers: Mapping[str, str] | None = None,
    ) -> T:
        """Likewise, of an account's own. Raises ApiError."""
        return await self.ask(method, f"/accounts/{account}/{path}", kind, body, headers)
