"""The delivery room, behind the routes of machines, leases and launch specifications."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Final

import httpx

from schemas import http, rental
from schemas.delivery_key import HEADER, derive_delivery_key, room_token
from schemas.units import Gpus, Hour
from services.gateway.errors import ApiError
from services.gateway.rooms import Room

FORESIGHT_S: Final = 2.0
"""A preview goes without it after so long."""


class DeliveryRoom(Room):
    """`url` empty: this exchange runs none."""

    def __init__(self, url: str, master_key: bytes, client: httpx.AsyncClient) -> None:
        super().__init__("delivery", url, {HEADER: room_token(derive_delivery_key(master_key))}, client)

    async def served(self) -> list[str]:
        """Ids of classes that machines serve; none where this exchange runs no delivery. Raises ApiError."""
        return await self.ask("GET", "/served", list[str]) if self.runs else []

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
        if not self.runs:
            return None
        asked = rental.Foresight(class_id=class_id, hours=tuple(hours))
        try:
            async with asyncio.timeout(FORESIGHT_S):
                return (await self.of(account, "POST", "foresee", rental.ForesightAnswer, asked)).handovers
        except (ApiError, TimeoutError):
            return None
