"""Rentals: standing instructions that keep hours bought. The router keeps them; what it need not know is added here."""

from __future__ import annotations

import asyncio
from datetime import datetime
from typing import Annotated, Final

import msgspec
from litestar import get, patch, post
from litestar.params import JSONBody, PathParameter

from schemas import http, rental
from schemas.router_key import IDEMPOTENCY_HEADER
from services.gateway.errors import ApiError
from services.gateway.requests import own_key
from services.gateway.times import parse_hour
from services.gateway.values import decimal
from services.gateway.wiring import Gateway, IdempotencyKey, Known, Wired, member

RentalId = Annotated[str, PathParameter(pattern=rental.RENTAL)]


@post("/v1/rentals")
async def post_rental(
    gateway: Wired, caller: Known, data: JSONBody[rental.RentalRequest], key: IdempotencyKey = ""
) -> rental.RentalAnswer:
    """Rent: hours are bought now and from then on, until it is stopped or its hours are over."""
    account = member(caller, "trade")
    named = {IDEMPOTENCY_HEADER: own_key(key)}
    await _check(gateway, account, data)
    return await gateway.router.of(account, "POST", "rentals", rental.RentalAnswer, data, named)


@post("/v1/rentals/preview", status_code=200)
async def post_rental_preview(
    gateway: Wired, caller: Known, data: JSONBody[rental.RentalRequest]
) -> rental.RentalPreviewAnswer:
    """What a rental would buy first, of which class, and what it costs; nothing changes."""
    account = member(caller, "read")
    await _check(gateway, account, data)
    told = await gateway.router.of(account, "POST", "rentals/preview", rental.RentalPreviewAnswer, data)
    options = await asyncio.gather(*(_completed(gateway, option) for option in told.options))
    handovers = await _handovers(gateway, account, data, told)
    return msgspec.structs.replace(told, options=tuple(options), handovers=handovers)


@get("/v1/rentals")
async def get_rentals(gateway: Wired, caller: Known) -> list[rental.RentalAnswer]:
    """The account's rentals, newest first."""
    return await gateway.router.of(member(caller, "read"), "GET", "rentals", list[rental.RentalAnswer])


@get("/v1/rentals/{rental_id:str}")
async def get_rental(gateway: Wired, caller: Known, rental_id: RentalId) -> rental.RentalAnswer:
    """A rental as it stands, hour by hour."""
    return await gateway.router.of(member(caller, "read"), "GET", f"rentals/{rental_id}", rental.RentalAnswer)


@patch("/v1/rentals/{rental_id:str}")
async def patch_rental(
    gateway: Wired, caller: Known, rental_id: RentalId, data: JSONBody[rental.RentalChange]
) -> rental.RentalAnswer:
    """Other limits from now on; what is bought stays bought."""
    account = member(caller, "trade")
    for amount in (data.max_price, data.max_spend):
        if amount:
            decimal(amount)
    return await gateway.router.of(account, "PATCH", f"rentals/{rental_id}", rental.RentalAnswer, data)


@post("/v1/rentals/{rental_id:str}/stop", status_code=200)
async def post_rental_stop(
    gateway: Wired, caller: Known, rental_id: RentalId, data: JSONBody[rental.RentalStop]
) -> rental.RentalAnswer:
    """Buy no more; later hours are sold again or kept."""
    account = member(caller, "trade")
    return await gateway.router.of(account, "POST", f"rentals/{rental_id}/stop", rental.RentalAnswer, data)


async def _check(gateway: Gateway, account: int, body: rental.RentalRequest) -> None:
    """Text that is none of what it should be, and what is named and is not there. Raises ApiError."""
    decimal(body.max_price)
    if body.max_spend:
        decimal(body.max_spend)
    if body.from_hour:
        parse_hour(body.from_hour)
    for class_id in body.classes:
        await gateway.classes.get(class_id)
    if body.launch != rental.DEFAULT_LAUNCH:
        known = await gateway.delivery.of(account, "GET", "launches", list[rental.LaunchAnswer])
        if body.launch not in {each.name for each in known}:
            raise ApiError("unknown_launch", f"make {body.launch} first: PUT /v1/launches/{body.launch}")


async def _handovers(
    gateway: Gateway, account: int, body: rental.RentalRequest, told: rental.RentalPreviewAnswer
) -> http.HandoversPreview | None:
    """In the hours of the window, were all of them of the class that is taken first. None: nobody knows."""
    if not told.options or not told.options[0].hours_found:
        return None
    best = told.options[0]
    first = int(datetime.fromisoformat(told.starts_at).timestamp()) // 3600
    hours = [(first + number, body.gpus) for number in range(best.hours_wanted)]
    return await gateway.delivery.handovers(account, best.class_id, hours)


async def _completed(gateway: Gateway, option: rental.RentalOption) -> rental.RentalOption:
    """With what its class's specification says, and what the cheapest cloud asks."""
    specification = await gateway.classes.specification(option.class_id)
    cloud = gateway.offers.cheapest(option.class_id)
    return msgspec.structs.replace(
        option,
        cloud_price=cloud.price if cloud else "",
        cloud_provider=cloud.cloud if cloud else "",
        region=specification.hardware.region,
        tier=specification.service.tier,
        minutes_to_ssh=specification.service.setup_minutes,
    )


ROUTES: Final = [
    post_rental,
    post_rental_preview,
    get_rentals,
    get_rental,
    patch_rental,
    post_rental_stop,
]
