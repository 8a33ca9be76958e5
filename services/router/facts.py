"""What a preview says of classes beside their books: their specifications and clouds' prices, as the gateway tells everybody."""

from __future__ import annotations

import asyncio
from typing import Final

from schemas import http
from schemas.specifications import BadSpecification, Specification, parse
from schemas.units import parse_usd
from services.router.gateway import GatewayClient
from services.router.previewing import NOTHING, Facts

FIRM: Final = "on_demand"


class Catalogue:
    """Specifications never change under a class, so each is read once."""

    def __init__(self, gateway: GatewayClient) -> None:
        self._gateway = gateway
        self._known: dict[str, Specification] = {}

    async def facts(self, account: int, class_ids: tuple[str, ...]) -> dict[str, Facts]:
        """By class. What cannot be read just now is left empty."""
        return dict(zip(class_ids, await asyncio.gather(*(self._of(account, each) for each in class_ids)), strict=True))

    async def _of(self, account: int, class_id: str) -> Facts:
        specification, supply = await asyncio.gather(
            self._specification(account, class_id), self._gateway.supply(account, class_id)
        )
        if specification is None:
            return NOTHING
        cheapest = _cheapest(supply)
        return Facts(
            region=specification.hardware.region,
            tier=specification.service.tier,
            minutes_to_ssh=specification.service.setup_minutes,
            cloud_price=cheapest.price if cheapest is not None else "",
            cloud_provider=cheapest.cloud if cheapest is not None else "",
        )

    async def _specification(self, account: int, class_id: str) -> Specification | None:
        if class_id not in self._known:
            answer = await self._gateway.class_answer(account, class_id)
            try:
                if answer is not None and answer.specification:
                    self._known[class_id] = parse(answer.specification.encode())
            except BadSpecification:
                return None
        return self._known.get(class_id)


def _cheapest(supply: http.SupplyAnswer | None) -> http.OfferAnswer | None:
    firm = [offer for offer in supply.offers if offer.kind == FIRM] if supply is not None else []
    return min(firm, key=lambda offer: (parse_usd(offer.price), offer.cloud), default=None)
