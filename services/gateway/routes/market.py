"""What is open to all."""

from __future__ import annotations

from typing import Final

from litestar import get

from schemas import http
from schemas.edge import iso
from schemas.ids import is_class_id
from services.gateway.classes import class_answer
from services.gateway.errors import ApiError
from services.gateway.wiring import ClassId, ClassQuery, Limit, SymbolQuery, Wired


@get("/v1/time")
async def get_time(gateway: Wired) -> http.TimeAnswer:
    """Our clock."""
    now_ms = gateway.clock.now_ms()
    return http.TimeAnswer(now=iso(now_ms), market=iso(gateway.market.market_ms(now_ms)), rate=gateway.market.rate)


@get("/v1/status")
async def get_status(gateway: Wired) -> http.StatusAnswer:
    """Whether orders are accepted, and how far settlement is."""
    shards = tuple(
        http.ShardStatus(
            shard=door.shard,
            seq=door.seq,
            settled_seq=gateway.progress.settled[door.shard],
            settlement_lag_ms=gateway.progress.lag_ms(door.shard),
        )
        for door in gateway.shards.doors
    )
    accepting = not any(gateway.shards.refusal(door.shard) for door in gateway.shards.doors)
    return http.StatusAnswer(accepting_orders=accepting, sandbox=gateway.market.sandbox, shards=shards)


@get("/v1/classes")
async def get_classes(gateway: Wired) -> list[http.ClassAnswer]:
    """All listed classes."""
    await gateway.classes.refresh()
    return [class_answer(row) for row in gateway.classes.by_id.values()]


@get("/v1/classes/{class_id:str}")
async def get_class(gateway: Wired, class_id: ClassId) -> http.ClassAnswer:
    """One class with its contract specification."""
    await gateway.classes.refresh()
    return class_answer(await gateway.classes.get(class_id), specification=True)


@get("/v1/contracts")
async def get_contracts(gateway: Wired, class_id: ClassQuery) -> list[http.ContractAnswer]:
    """Hours of a class that have not ended."""
    await gateway.classes.refresh()
    return await gateway.reads.contracts(await gateway.classes.get(class_id))


@get("/v1/trades")
async def get_trades(gateway: Wired, contract: SymbolQuery, limit: Limit = 100) -> list[http.TradeAnswer]:
    """Newest public trades of one contract."""
    _, number = await gateway.classes.contract(contract)
    return await gateway.reads.trades(contract, number, limit)


@get("/v1/supply")
async def get_supply(gateway: Wired, class_id: ClassQuery = "") -> http.SupplyAnswer:
    """What clouds list, and references per class."""
    if class_id and not is_class_id(class_id):
        raise ApiError("unknown_class")
    return gateway.offers.answer(class_id)


@get("/v1/volume")
async def get_volume(gateway: Wired) -> http.VolumeAnswer:
    """How much was traded, and the desk's part of it."""
    return await gateway.volume.answer()


@get("/v1/corrections")
async def get_corrections(gateway: Wired, limit: Limit = 100) -> list[http.CorrectionAnswer]:
    """Clear errors put right in cash, newest first, without names."""
    return await gateway.reads.corrections(limit)


ROUTES: Final = [
    get_time,
    get_status,
    get_classes,
    get_class,
    get_contracts,
    get_trades,
    get_supply,
    get_volume,
    get_corrections,
]
