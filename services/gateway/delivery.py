"""What the delivery room answers, passed on under the gateway's address to whoever the key belongs to.

Delivery is a process of its own: while it is away these routes answer `not_ready`, and everything else goes on.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any, Final, TypeVar

import httpx
import msgspec

from schemas import http, rental
from schemas.delivery_key import HEADER, derive_delivery_key, room_token
from schemas.units import Gpus, Hour
from services.gateway.errors import ApiError, refusal

T = TypeVar("T")
ANSWER_S: Final = 10.0
"""A heartbeat is answered after four seconds where nothing is new."""
FORESIGHT_S: Final = 2.0
"""A preview goes without it after so long."""


class DeliveryRoom:
    """The room behind these routes. `url` empty: this exchange runs none."""

    def __init__(self, url: str, master_key: bytes, client: httpx.AsyncClient) -> None:
        self._url = url
        self._headers = {HEADER: room_token(derive_delivery_key(master_key))}
        self._client = client

    async def ask(self, method: str, path: str, kind: type[T], body: Any = None) -> T:  # noqa: ANN401 # any struct
        """What it answers, decoded. Raises ApiError."""
        if not self._url:
            raise ApiError("not_ready", "this exchange runs no delivery")
        content = b"" if body is None else msgspec.json.encode(body)
        headers = self._headers | ({"Content-Type": "application/json"} if content else {})
        try:
            answer = await self._client.request(
                method, f"{self._url}{path}", content=content, headers=headers, timeout=ANSWER_S
            )
        except (httpx.ConnectError, httpx.ConnectTimeout):
            raise ApiError("not_ready", "delivery does not answer") from None
        except httpx.HTTPError:
            if method == "GET":
                raise ApiError("not_ready", "delivery does not answer") from None
            # Each of these requests may be sent again as it is: it says how things are to be, not by how much they change.
            raise ApiError("outcome_unknown", "delivery did not answer in time") from None
        if answer.is_success:
            return msgspec.json.decode(answer.content, type=kind)
        raise refusal("delivery", answer.content)

    async def served(self) -> list[str]:
        """Ids of classes that machines serve; none where this exchange runs no delivery. Raises ApiError."""
        return await self.ask("GET", "/served", list[str]) if self._url else []

    async def name_launch(self, account: int, client_id: str, launch: str, hour: Hour) -> None:
        """What this order buys, in hours up to `hour`, begins with that specification; before it is sent. Raises ApiError."""
        if launch in ("", rental.DEFAULT_LAUNCH):
            return
        asked = rental.LaunchNaming(client_order_id=client_id, launch=launch, hour=hour)
        try:
            await self.of(account, "POST", "named", dict[str, str], asked)
        except ApiError as error:
            if error.code != "outcome_unknown":
                raise
            detail = "delivery did not answer in time: the order was not sent; send it again"
            raise ApiError("not_ready", detail) from error

    async def handovers(
        self, account: int, class_id: str, hours: Iterable[tuple[Hour, Gpus]]
    ) -> http.HandoversPreview | None:
        """To be expected, were so many GPUs bought in these hours now. None: nobody knows, or delivery does not answer."""
        if not self._url:
            return None
        asked = rental.Foresight(class_id=class_id, hours=tuple(hours))
        try:
            async with asyncio.timeout(FORESIGHT_S):
                return (await self.of(account, "POST", "foresee", rental.ForesightAnswer, asked)).handovers
        except (ApiError, TimeoutError):
            return None

    async def of(self, account: int, method: str, path: str, kind: type[T], body: Any = None) -> T:  # noqa: ANN401 # any struct
        """Likewise, of an account's own. Raises ApiError."""
        return await self.ask(method, f"/accounts/{account}/{path}", kind, body)
