"""A shard to measure: one class, funded accounts with backing, and books of a wanted depth. Shared by the benches."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count

from schemas.commands import (
    Command,
    Credit,
    Fees,
    Ground,
    PlaceOrder,
    Role,
    SetAccount,
    SetBacking,
    SetClass,
    Side,
    StartShard,
    Tif,
)
from schemas.ids import contract_of
from schemas.units import MS_PER_HOUR

T0_MS = 1_790_000_000_000
VALIDITY_MS = 600_000
VALID_MS = T0_MS + VALIDITY_MS
CLASS_NO = 1
TICK = 1_000
LIST_PRICE = 2_000_000
RICH = 10**15


def first_hour(t0_ms: int) -> int:
    """The first of the hours that are traded in a shard that starts at `t0_ms`."""
    return t0_ms // MS_PER_HOUR + 2


FIRST_HOUR = first_hour(T0_MS)


def opening(
    accounts: int, hours: int = 24, backing: int = 1_000_000, *, tick: int = TICK, t0_ms: int = T0_MS
) -> Iterator[list[Command]]:
    """Frames that start a shard at `t0_ms` with `accounts` rich providers (own owners) and `hours` contracts."""
    outbox = count(1)
    yield [StartShard(0, 2, t0_ms)]
    yield [
        SetClass(
            next(outbox), CLASS_NO, "BENCH.80.US", 1, tick, LIST_PRICE, Fees(0, 0, 50, 50), horizon_hours=hours + 2
        )
    ]
    contracts = tuple(range(first_hour(t0_ms), first_hour(t0_ms) + hours))
    for account in range(1, accounts + 1):
        yield [
            SetAccount(next(outbox), account, account, Role.PROVIDER, 0),
            Credit(next(outbox), account, RICH),
            SetBacking(next(outbox), account, CLASS_NO, contracts, Ground.DECLARED, backing, 0, 1),
        ]


def resting_orders(
    orders: int, accounts: int, hours: int = 24, per_frame: int = 64, *, t0_ms: int = T0_MS
) -> Iterator[list[Command]]:
    """Frames of bids and asks that never meet, spread over accounts, hours and 200 prices a side."""
    first, valid_ms = first_hour(t0_ms), t0_ms + VALIDITY_MS
    frame: list[Command] = []
    for number in range(orders):
        bid = number % 2 == 0
        step = number // 2 % 200
        price = LIST_PRICE - (step + 1) * TICK if bid else LIST_PRICE + step * TICK
        contract = contract_of(CLASS_NO, first + number // 400 % hours)
        side = Side.BUY if bid else Side.SELL
        account = number % accounts + 1
        frame.append(PlaceOrder(account, contract, side, 1 + number % 8, price, Tif.GTC, 0, f"r{number}", valid_ms))
        if len(frame) == per_frame:
            yield frame
            frame = []
    if frame:
        yield frame


def trades(pairs: int, accounts: int, hours: int = 24, per_frame: int = 64) -> Iterator[list[Command]]:
    """Frames of asks that an order of another account buys at once: `pairs` fills, and nothing is left in the books."""
    frame: list[Command] = []
    for number in range(pairs):
        contract = contract_of(CLASS_NO, FIRST_HOUR + number % hours)
        qty, seller = 1 + number % 8, number % accounts + 1
        buyer = (number * 7 + 3 + number % (accounts - 1)) % accounts + 1
        buyer = buyer if buyer != seller else seller % accounts + 1
        frame += [
            PlaceOrder(seller, contract, Side.SELL, qty, LIST_PRICE, Tif.GTC, 0, f"s{number}", VALID_MS),
            PlaceOrder(buyer, contract, Side.BUY, qty, LIST_PRICE, Tif.IOC, 0, f"b{number}", VALID_MS),
        ]
        if len(frame) >= per_frame:
            yield frame
            frame = []
    if frame:
        yield frame
