"""The delivery room, behind the routes of machines, leases and launch specifications."""

from __future__ import annotations

import httpx

from schemas.delivery_key import HEADER, derive_delivery_key, room_token
from services.gateway.rooms import Room


class DeliveryRoom(Room):
    """`url` empty: this exchange runs none."""

    def __init__(self, url: str, master_key: bytes, client: httpx.AsyncClient) -> None:
        super().__init__("delivery", url, {HEADER: room_token(derive_delivery_key(master_key))}, client)

    async def served(self) -> list[str]:
        """Ids of classes that machines serve; none where this exchange runs no delivery. Raises ApiError."""
        return await self.ask("GET", "/served", list[str]) if self.runs else []
